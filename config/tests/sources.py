"""
What the sources may not look like, as checkers over syntax trees: each yields `line: fault` for one file.

They read text and import nothing, so each is tried on a few bad lines as easily as on the shop.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Callable, Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent
ROOMS = ("config", "orders", "balance", "catalog", "coupons", "shop", "loadtests")
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
HTTP_CLIENTS = ("urllib.request", "http.client", "requests", "httpx", "urllib3")
DATABASE_ERRORS = {
    *("DatabaseError", "IntegrityError", "OperationalError", "InterfaceError", "DataError", "InternalError"),
    *("ProgrammingError", "NotSupportedError", "TROUBLE", "EXPECTED", "Exception", "BaseException"),
}

Function = ast.FunctionDef | ast.AsyncFunctionDef
Checker = Callable[[ast.Module], Iterator[str]]


def files() -> list[Path]:
    """Return the shop's own files: neither tests nor migrations."""
    found = [path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py"))]
    return [path for path in found if not {"tests", "migrations"} & set(path.parts)]


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[Function]:
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def is_public(function: Function) -> bool:
    return not function.name.startswith("_")


def called(node: ast.AST) -> str:
    """Return the dotted name of what a call calls, or nothing."""
    return ast.unparse(node.func) if isinstance(node, ast.Call) else ""


# --- size -----------------------------------------------------------------------------------------------------------


def too_long(tree: ast.Module) -> Iterator[str]:
    for function in functions(tree):
        lines = (function.end_lineno or function.lineno) - function.lineno + 1
        if lines > LONGEST_FUNCTION:
            yield f"{function.lineno}: {function.name} has {lines} lines"


# --- transactions ---------------------------------------------------------------------------------------------------


def raw_atomic(tree: ast.Module) -> Iterator[str]:
    """Find Django's own transaction functions, under any name they are imported by."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module in ("django.db", "django.db.transaction"):
            for alias in node.names:
                if alias.name in ("transaction", "atomic", "on_commit"):
                    yield f"{node.lineno}: imports {alias.name} of {node.module}"
        elif isinstance(node, ast.Attribute) and node.attr in ("atomic", "on_commit"):
            yield f"{node.lineno}: uses {ast.unparse(node)}"


def opens_transaction(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) == "db.transaction":
            yield f"{node.lineno}: opens a transaction"


def _is_block(statement: ast.With | ast.AsyncWith, names: tuple[str, ...]) -> bool:
    return any(called(item.context_expr) in names for item in statement.items)


def _caught(handler: ast.ExceptHandler) -> set[str]:
    if handler.type is None:
        return {"BaseException"}
    return {
        node.attr if isinstance(node, ast.Attribute) else node.id
        for node in ast.walk(handler.type)
        if isinstance(node, ast.Attribute | ast.Name)
    }


def _has_own_savepoint(statement: ast.Try) -> bool:
    body = statement.body
    return len(body) == 1 and isinstance(body[0], ast.With) and _is_block(body[0], ("db.savepoint",))


def caught_inside_transaction(tree: ast.Module) -> Iterator[str]:
    """
    Find database errors caught where the transaction is already broken by them: only a savepoint makes it whole again.

    Inside: the body of `with db.transaction()`, and of functions that require a transaction.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.With) and _is_block(node, ("db.transaction", "db.savepoint")):
            yield from _caught_in(node.body)
            yield from _converted_inside(node)
        elif isinstance(node, Function) and any("transaction_required" in ast.unparse(d) for d in node.decorator_list):
            yield from _caught_in(node.body)


def _caught_in(body: list[ast.stmt]) -> Iterator[str]:
    for statement in body:
        for node in ast.walk(statement):
            if isinstance(node, ast.Try) and not _has_own_savepoint(node):
                for handler in node.handlers:
                    if names := sorted(_caught(handler) & DATABASE_ERRORS):
                        yield f"{handler.lineno}: catches {', '.join(names)} inside a transaction"
            elif isinstance(node, ast.With) and _is_block(node, ("db.constraint_errors",)):
                yield f"{node.lineno}: converts constraint errors inside a transaction"


def _converted_inside(node: ast.With) -> Iterator[str]:
    calls = [called(item.context_expr) for item in node.items]
    if "db.constraint_errors" in calls and calls.index("db.constraint_errors") > calls.index("db.transaction"):
        yield f"{node.lineno}: converts constraint errors inside a transaction"


# --- states ---------------------------------------------------------------------------------------------------------

SQL_STATUS = re.compile(r"\bUPDATE\s+(?:orders_order|coupons_issuance)\s+SET\b[^;]*?\bstatus\s*=", re.IGNORECASE)
WRITERS = ("update", "bulk_update", "create", "bulk_create", "get_or_create", "update_or_create")


def assigns_status(tree: ast.Module) -> Iterator[str]:
    """Find every way to give a row another status: an attribute, a queryset, SQL."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(isinstance(target, ast.Attribute) and target.attr == "status" for target in targets):
                yield f"{node.lineno}: assigns .status"
        elif isinstance(node, ast.Call):
            yield from _status_in_call(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and SQL_STATUS.search(node.value):
            yield f"{node.lineno}: sets status in SQL"


def _status_in_call(node: ast.Call) -> Iterator[str]:
    name = called(node).rpartition(".")[2]
    words = [argument.value for argument in ast.walk(node) if isinstance(argument, ast.Constant)]
    if name in WRITERS and any(keyword.arg == "status" for keyword in node.keywords):
        yield f"{node.lineno}: {name}(status=…)"
    elif (name == "setattr" and "status" in words) or (name == "bulk_update" and "status" in words):
        yield f"{node.lineno}: {name}(…, 'status')"
    elif name in ("Order", "Issuance") and any(keyword.arg == "status" for keyword in node.keywords):
        yield f"{node.lineno}: {name}(status=…)"


# --- imports and the clock ------------------------------------------------------------------------------------------


def _imported(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything a file imports."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def speaks_http(tree: ast.Module) -> Iterator[str]:
    for line, name in _imported(tree):
        if any(name == client or name.startswith(f"{client}.") for client in HTTP_CLIENTS):
            yield f"{line}: imports {name}"


def imports_load_tests(tree: ast.Module) -> Iterator[str]:
    for line, name in _imported(tree):
        if name.partition(".")[0] == "loadtests":
            yield f"{line}: imports {name}"


def reads_clock(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and called(node) in ("timezone.now", "datetime.now", "datetime.utcnow", "now"):
            yield f"{node.lineno}: reads the clock"


# --- words ----------------------------------------------------------------------------------------------------------

IGNORED = re.compile(r"#\s*(?:noqa|type: ignore)")
EXPLAINED = re.compile(
    r"#\s*(?:noqa: [A-Z]+[0-9]+(?:, ?[A-Z]+[0-9]+)* - |type: ignore\[[a-z-]+(?:, ?[a-z-]+)*\] +(?:# |- ))\S"
)
CLASS_NAME = re.compile(r"\b(?:[A-Z][a-z0-9]+){2,}\b|\bBusy\b")


def unexplained_ignores(text: str) -> Iterator[str]:
    """Find `noqa` and `type: ignore` that name no rule or give no reason; the reason follows a dash or a second #."""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        is_ignore = token.type == tokenize.COMMENT and IGNORED.search(token.string)
        if is_ignore and not EXPLAINED.search(token.string):
            yield f"{token.start[0]}: {token.string}"


def raised_in_docstrings(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Yield (line and function, class) for every class a docstring says is raised."""
    for function in functions(tree):
        text = ast.get_docstring(function) or ""
        for part in re.findall(r"Raises:? ((?:[^.:]|\.(?=\w))+)", text):
            for name in CLASS_NAME.findall(part.partition(" when ")[0]):
                yield f"{function.lineno}: {function.name}", name


def main() -> int:
    """Check transactions and sizes of all files, without a database: for the hook before each commit."""
    checkers: tuple[Checker, ...] = (caught_inside_transaction, too_long)
    trees = [(name_of(path), ast.parse(path.read_text())) for path in files()]
    found = [f"{name}:{fault}\n" for name, tree in trees for checker in checkers for fault in checker(tree)]
    sys.stdout.write("".join(found))
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
