"""
The points the code has, read from its syntax trees: named transactions, the operations called inside, `hit`.

An operation is what requires a transaction (`shop.db`); one is found through the helpers of its flow's own module and
through `shop.idempotency`, by the name it is called by.
"""

import ast
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any

from config.tests.sources import ROOT, Function, called, files, functions, name_of

SILENT = ("lock_", "claim_")  # what only locks is no point (shop/failpoints.py)
ROOMS = ("orders", "balance", "coupons")
Step = tuple[str, str]


def operations() -> set[str]:
    """Return the names of everything that requires a transaction and writes."""
    return {
        function.name
        for path in files()
        for function in functions(ast.parse(path.read_text()))
        if any("transaction_required" in ast.unparse(decorator) for decorator in function.decorator_list)
        and not function.name.startswith(SILENT)
    }


def steps_in(body: ast.AST, helpers: Mapping[str, Function], names: set[str]) -> set[str]:
    """Return the operations called in `body`, also by the helpers it calls."""
    found, seen, open_bodies = set(), set(), [body]
    for node in (node for part in open_bodies for node in ast.walk(part)):  # grows while it is read
        owner, _dot, name = called(node).rpartition(".")
        if owner == "slot":  # holds an answer, changes no row
            continue
        if name in names:
            found.add(name)
        elif name in helpers and name not in seen:
            seen.add(name)
            open_bodies.append(helpers[name])
    return found


def points_in(
    tree: ast.Module, constants: Mapping[str, Any], names: set[str], shared: list[Function]
) -> Iterator[Step]:
    """Yield (flow, step) of one module; an unnamed transaction is ("", function)."""
    helpers = {function.name: function for function in (*functions(tree), *shared)}
    for function in functions(tree):
        for node in ast.walk(function):
            if isinstance(node, ast.Call) and called(node) == "failpoints.hit":
                flow, _dot, step = _text(node.args[0], constants).rpartition(".")
                yield flow, step
            elif isinstance(node, ast.With):
                yield from _points_of_block(node, function, constants, helpers, names)


def _points_of_block(
    block: ast.With, function: Function, constants: Mapping[str, Any], helpers: Mapping[str, Function], names: set[str]
) -> Iterator[Step]:
    calls = [item.context_expr for item in block.items if called(item.context_expr) == "db.transaction"]
    for call in calls:
        assert isinstance(call, ast.Call)
        if not call.args:
            yield "", function.name
            continue
        flow = _text(call.args[0], constants)
        for step in ("begun", *sorted(steps_in(block, helpers, names)), "before_commit", "after_commit", "announced"):
            yield flow, step


def _text(node: ast.expr, constants: Mapping[str, Any]) -> str:
    return str(constants[node.id] if isinstance(node, ast.Name) else ast.literal_eval(node))


def points() -> Iterator[Step]:
    """Yield (flow, step) of every point in the flows of these rooms."""
    names = operations()
    shared = list(functions(ast.parse((ROOT / "shop/idempotency.py").read_text())))
    for path in files():
        if path.name == "flows.py" and path.parent.name in ROOMS:
            module = import_module(name_of(path).removesuffix(".py").replace("/", "."))
            yield from points_in(ast.parse(path.read_text()), vars(module), names, shared)
