"""The rules of the house that a machine can check; each checker is also shown something it must find."""

import ast
import builtins
import inspect
import re
from collections.abc import Callable, Iterable
from fnmatch import fnmatch
from importlib import import_module
from textwrap import dedent
from typing import Any

import django.db
import pytest
from celery import Celery, Task

from config.celery import QUEUES
from config.celery import app as celery_app
from config.tests import sources
from config.tests.sources import name_of
from shop import errors, problems

FILES = sources.files()
TREES = {name_of(path): ast.parse(path.read_text()) for path in FILES}


def faults(checker: sources.Checker, *, allowed: Iterable[str] = ()) -> list[str]:
    """Return what a checker finds in the shop's files; `allowed` are file names or patterns."""
    patterns = tuple(allowed)
    return [
        f"{name}:{fault}"
        for name, tree in TREES.items()
        if not any(fnmatch(name, pattern) for pattern in patterns)
        for fault in checker(tree)
    ]


def found_in(checker: sources.Checker, text: str) -> list[str]:
    """Return what a checker finds in a few lines: the negative control."""
    return list(checker(ast.parse(dedent(text).strip("\n"))))


def test_the_shops_files_are_looked_at() -> None:
    assert {"orders/flows.py", "shop/db.py", "config/settings.py", "balance/models.py"} <= set(TREES)


# --- size -----------------------------------------------------------------------------------------------------------


def test_files_stay_small() -> None:
    assert [name_of(path) for path in FILES if len(path.read_text().splitlines()) > sources.LONGEST_FILE] == []


def test_functions_stay_small() -> None:
    assert faults(sources.too_long) == []
    assert found_in(sources.too_long, "def long():\n" + "    x = 1\n" * 60) == ["1: long has 61 lines"]


# --- transactions ---------------------------------------------------------------------------------------------------

OPENERS = {
    "*/flows.py": "what can happen",
    "shop/accounts.py": "signing up and refreshing tokens are the kernel's flows",
    "shop/pipeline.py": "the runner's notes about batches and parked items",
    "shop/tasks.py": "forgetting old keys, a flow of one line",
    "shop/seeding.py": "loading demo data, a chunk at a time",
    "shop/invariants.py": "audit reads everything in one snapshot",
    "shop/roles.py": "the rights of all roles change at once",
}


def test_only_flows_open_transactions() -> None:
    assert faults(sources.opens_transaction, allowed=OPENERS) == []
    assert found_in(sources.opens_transaction, "with db.transaction(), once(key):\n    pass") == [
        "1: opens a transaction"
    ]


def test_every_exception_to_that_is_still_needed() -> None:
    opening = {fault.partition(":")[0] for fault in faults(sources.opens_transaction)}
    assert [pattern for pattern in OPENERS if not any(fnmatch(name, pattern) for name in opening)] == []


def test_nobody_uses_djangos_transactions_directly() -> None:
    assert faults(sources.raw_atomic, allowed=["shop/db.py"]) == []
    assert found_in(
        sources.raw_atomic,
        """
        from django.db import connection, transaction
        with transaction.atomic():
            transaction.on_commit(print)
        from django.db.transaction import atomic as block
        """,
    ) == [
        "1: imports transaction of django.db",
        "4: imports atomic of django.db.transaction",
        "2: uses transaction.atomic",
        "3: uses transaction.on_commit",
    ]


def test_no_database_error_is_caught_inside_a_transaction() -> None:
    assert faults(sources.caught_inside_transaction) == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            """
            with db.transaction():
                try:
                    insert()
                except IntegrityError:
                    pass
            """,
            ["4: catches IntegrityError inside a transaction"],
        ),
        (
            """
            @db.transaction_required
            def add():
                for item in items:
                    try:
                        insert(item)
                    except (ValueError, db.TROUBLE):
                        pass
            """,
            ["6: catches TROUBLE inside a transaction"],
        ),
        (
            """
            with db.transaction():
                try:
                    insert()
                except:
                    pass
            """,
            ["4: catches BaseException inside a transaction"],
        ),
        (
            "with db.transaction(), db.constraint_errors(names):\n    insert()",
            ["1: converts constraint errors inside a transaction"],
        ),
        (
            "with db.transaction():\n    with db.constraint_errors(names):\n        insert()",
            ["2: converts constraint errors inside a transaction"],
        ),
        (
            """
            with db.transaction():
                try:
                    with db.savepoint(IntegrityError):
                        insert()
                except IntegrityError:
                    pass
            """,
            [],
        ),
        ("with db.constraint_errors(names), db.transaction():\n    insert()", []),
        (
            """
            try:
                with db.transaction():
                    insert()
            except IntegrityError:
                pass
            """,
            [],
        ),
    ],
)
def test_caught_database_errors_are_found(text: str, expected: list[str]) -> None:
    assert found_in(sources.caught_inside_transaction, text) == expected


# --- states ---------------------------------------------------------------------------------------------------------


def test_only_advance_and_fail_change_an_orders_status() -> None:
    found = [fault for fault in faults(sources.assigns_status) if not fault.startswith("coupons/operations.py:")]
    operations = {function.name: function for function in sources.functions(TREES["orders/operations.py"])}
    allowed = [operations["advance"], operations["fail"]]
    places = [(fault.split(":")[0], int(fault.split(":")[1])) for fault in found]
    assert [place for place in places if place[0] != "orders/operations.py"] == []
    within = [[function.name for function in allowed if inside(function, line)] for _name, line in places]
    assert within == [["advance"], ["fail"]]


def test_only_advance_changes_an_issuances_status_but_for_the_clock() -> None:
    found = [fault for fault in faults(sources.assigns_status) if not fault.startswith("orders/operations.py:")]
    operations = {function.name: function for function in sources.functions(TREES["coupons/operations.py"])}
    places = [(fault.split(":")[0], int(fault.split(":")[1])) for fault in found]
    assert [place for place in places if place[0] != "coupons/operations.py"] == []
    names = {name for name, function in operations.items() for _name, line in places if inside(function, line)}
    assert names == {"_advance", "expire"}


def inside(function: sources.Function, line: int) -> bool:
    return function.lineno <= line <= (function.end_lineno or 0)


def test_assigned_states_are_found() -> None:
    assert found_in(
        sources.assigns_status,
        """
        order.status = "paid"
        Order.objects.filter(pk=1).update(status="paid")
        setattr(order, "status", "paid")
        Order.objects.bulk_update(orders, ["status"])
        db.rows("UPDATE orders_order SET total = 1, status = 'paid'")
        db.rows("SELECT status FROM orders_order WHERE status = 'paid'")
        Order.objects.filter(status="paid")
        order.status == "paid"
        """,
    ) == [
        "1: assigns .status",
        "2: update(status=…)",
        "3: setattr(…, 'status')",
        "4: bulk_update(…, 'status')",
        "5: sets status in SQL",
    ]


# --- imports and the clock ------------------------------------------------------------------------------------------


def test_no_room_speaks_http_to_anybody() -> None:
    assert faults(sources.speaks_http, allowed=["shop/local/*.py", "loadtests/*.py", "shop/testing*.py"]) == []
    assert found_in(
        sources.speaks_http,
        """
        import requests
        from urllib import request
        import urllib.parse
        from httpx import Client
        import urllib.request
        """,
    ) == [
        "1: imports requests",
        "2: imports urllib.request",
        "4: imports httpx.Client",
        "5: imports urllib.request",
    ]


def test_nobody_imports_the_load_tests() -> None:
    assert faults(sources.imports_load_tests, allowed=["loadtests/*.py"]) == []
    assert found_in(sources.imports_load_tests, "from loadtests.report import write\nimport loadtests") == [
        "1: imports loadtests.report.write",
        "2: imports loadtests",
    ]


CLOCK_READERS = {
    **dict.fromkeys(("*/api.py", "*/tasks.py", "*/admin.py", "*/gauges.py"), "something begins here"),
    **dict.fromkeys(("*/management/commands/*.py", "shop/backoffice/*.py", "shop/local/*.py"), "something begins here"),
    "loadtests/*.py": "a client of the shop",
    "*/benchmark.py": "a command's logic, which plays the customers",
    "shop/pipeline.py": "every batch begins at a moment of its own",
    "shop/health.py": "the age of a heartbeat at the moment of looking",
    "coupons/gate.py": "how long Redis keeps a gate counts from Redis' own present",
    "shop/testing*.py": "tests",
}


def test_now_is_read_where_something_begins_and_passed_down() -> None:
    assert faults(sources.reads_clock, allowed=CLOCK_READERS) == []
    assert found_in(sources.reads_clock, "now = timezone.now()\nthen = datetime.now(UTC)\nlater = now + day") == [
        "1: reads the clock",
        "2: reads the clock",
    ]


# --- words ----------------------------------------------------------------------------------------------------------


def public(path: str) -> list[sources.Function]:
    return [node for node in TREES[path].body if isinstance(node, sources.Function) and sources.is_public(node)]


FLOWS = [(path, node) for path in TREES if fnmatch(path, "*/flows.py") for node in public(path)]
OPERATIONS = [(path, node) for path in TREES if fnmatch(path, "*/operations.py") for node in public(path)]
REQUIRING = [(path, node) for path, node in OPERATIONS if "transaction_required" in ast.unparse(node)]


def named(found: list[tuple[str, sources.Function]], is_wrong: Callable[[sources.Function], bool]) -> list[str]:
    return [f"{path}: {node.name}" for path, node in found if is_wrong(node)]


def text_of(function: sources.Function) -> str:
    return ast.get_docstring(function) or ""


def test_flows_take_keywords_only() -> None:
    assert len(FLOWS) > 15
    assert named(FLOWS, lambda node: bool(node.args.args or node.args.posonlyargs or node.args.vararg)) == []


def test_flows_say_what_they_do_to_transactions() -> None:
    assert named(FLOWS, lambda node: "Transaction:" not in text_of(node)) == []


def test_operations_that_require_a_transaction_say_so() -> None:
    assert len(REQUIRING) > 25
    assert named(REQUIRING, lambda node: "Transaction: requires one" not in text_of(node)) == []


def test_operations_that_write_require_a_transaction() -> None:
    writing = re.compile(r"db\.rows\(|\.(?:save|create|bulk_create|update|delete|select_for_update)\(")
    free = [item for item in OPERATIONS if item not in REQUIRING]
    assert named(free, lambda node: bool(writing.search(ast.unparse(node)))) == []
    assert len(named(REQUIRING, lambda node: bool(writing.search(ast.unparse(node))))) > 15


def test_docstrings_name_classes_that_exist() -> None:
    known = {node.name for tree in TREES.values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)}
    known |= set(vars(builtins)) | set(vars(django.db)) | {"RedisError", "ArgumentTypeError"}
    raised = [
        (f"{name}:{place}", kind) for name, tree in TREES.items() for place, kind in sources.raised_in_docstrings(tree)
    ]
    assert len(raised) > 60
    assert [(place, kind) for place, kind in raised if kind not in known] == []


def test_raised_classes_are_read_from_docstrings() -> None:
    text = '''
    def pay():
        """
        Pay. Raises UserNotFound.

        Raises: InsufficientBalance, Busy; IntegrityError `a_name` when nothing helps.
        Source: API.md.
        """
    '''
    assert [kind for _place, kind in sources.raised_in_docstrings(ast.parse(dedent(text)))] == [
        "UserNotFound",
        "InsufficientBalance",
        "Busy",
        "IntegrityError",
    ]


def test_every_ignored_rule_is_named_and_explained() -> None:
    texts = {name_of(path): path.read_text() for path in FILES}
    assert [f"{name}:{fault}" for name, text in texts.items() for fault in sources.unexplained_ignores(text)] == []


@pytest.mark.parametrize(
    ("line", "is_fault"),
    [
        ("x = 1  # noqa", True),
        ("x = 1  # noqa: S101", True),
        ("x = 1  # noqa: S101 - a reason", False),
        ("x = 1  # type: ignore", True),
        ("x = 1  # type: ignore[misc]", True),
        ("x = 1  # type: ignore[misc]  # a reason", False),
        ("x = 1  # type: ignore[misc] - a reason", False),
        ("x = '# noqa'", False),
    ],
)
def test_unexplained_ignores_are_found(line: str, is_fault: bool) -> None:
    assert bool(list(sources.unexplained_ignores(line))) == is_fault


# --- refusals -------------------------------------------------------------------------------------------------------

KINDS = {errors.Failure, errors.Invalid, errors.NotFound, errors.Refused}
"""What refusals are made of; they have no code of their own."""


def refusals() -> list[type[errors.Failure]]:
    for room in ("balance", "catalog", "coupons", "orders"):
        import_module(f"{room}.errors")
    kinds: list[type[errors.Failure]] = [errors.Failure]
    for kind in kinds:  # grows while it is read
        kinds.extend(kind.__subclasses__())
    return [kind for kind in dict.fromkeys(kinds) if kind not in KINDS and ".tests." not in kind.__module__]


def refusal_faults(kinds: Iterable[type[errors.Failure]]) -> list[str]:
    seen: dict[str, str] = {}
    found = []
    for kind in kinds:
        own = vars(kind)
        found += [f"{kind.__name__}: no {name}" for name in ("code", "title", "__doc__") if not own.get(name)]
        if re.fullmatch(r"[a-z]+(_[a-z]+)*", own.get("code", "")) is None:
            found.append(f"{kind.__name__}: code is not snake_case")
        if own.get("code") in seen:
            found.append(f"{kind.__name__}: code of {seen[own['code']]}")
        seen[own.get("code", "")] = kind.__name__
    return found


def test_every_refusal_has_a_code_of_its_own_a_title_and_a_docstring() -> None:
    assert len(refusals()) > 35
    assert refusal_faults(refusals()) == []


def test_every_refusal_has_a_status() -> None:
    assert {problems.status_of(kind) for kind in refusals()} == {
        *(400, 401, 403, 404, 405, 409, 413, 415, 422, 429, 500, 503)
    }


def test_incomplete_refusals_are_found() -> None:
    first = type("First", (errors.Failure,), {"code": "same", "title": "t", "__doc__": "d"})
    second = type("Second", (errors.Failure,), {"code": "same", "title": "", "__doc__": "d"})
    third = type("Third", (errors.Failure,), {"code": "Not-Snake", "title": "t"})
    assert refusal_faults([first, second, third]) == [
        "Second: no title",
        "Second: code of First",
        "Third: no __doc__",
        "Third: code is not snake_case",
    ]


# --- tasks ----------------------------------------------------------------------------------------------------------

PLAIN_TASK_NAME = re.compile(r"(orders|coupons|catalog|balance|shop)\.[a-z_]+")


def own_tasks(app: Celery) -> dict[str, Task[Any, Any]]:
    app.loader.import_default_modules()
    return {name: task for name, task in app.tasks.items() if not name.startswith("celery.")}


def task_faults(app: Celery) -> list[str]:
    """Return what is wrong with an application's tasks and its schedule."""
    tasks = own_tasks(app)
    found = []
    for name, task in tasks.items():
        kinds = {parameter.kind for parameter in inspect.signature(task.run).parameters.values()}
        if not kinds <= {inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.VAR_KEYWORD}:
            found.append(f"{name}: takes positional arguments")
        if task.acks_late:
            found.append(f"{name}: is acknowledged late; the sweep repeats what is lost")
        if PLAIN_TASK_NAME.fullmatch(name) is None:
            found.append(f"{name}: is not named after its room")
        if app.amqp.router.route({}, name)["queue"].name not in QUEUES:
            found.append(f"{name}: goes to no queue of ours")
    scheduled = {entry["task"] for entry in app.conf.beat_schedule.values()}
    return found + [f"{name}: scheduled, but no task" for name in sorted(scheduled - set(tasks))]


def test_tasks_are_named_routed_and_take_keywords_only() -> None:
    assert len(own_tasks(celery_app)) > 10
    assert task_faults(celery_app) == []


def test_stages_wake_tasks_that_exist_and_are_swept() -> None:
    from coupons.tasks import RECORD_CLAIMS  # noqa: PLC0415 - a task module; celery imports it first
    from orders.tasks import STAGES  # noqa: PLC0415 - likewise

    tasks = own_tasks(celery_app)
    names = {stage.name for stage in (RECORD_CLAIMS, *STAGES)}
    woken = {name for stage in (RECORD_CLAIMS, *STAGES) for name in (*stage.then, *stage.then_if_waiting)}
    assert names <= set(tasks)
    assert woken <= names


def test_faulty_tasks_are_found() -> None:
    app = Celery("faulty", set_as_current=False, task_queues=celery_app.conf.task_queues, task_default_queue="clock")

    @app.task(name="tidy", acks_late=True, shared=False)
    def tidy(order_id: int) -> None:
        """Nothing."""

    app.conf.task_routes = {"tidy": {"queue": "attic"}}
    app.conf.beat_schedule = {"x": {"task": "shop.nothing", "schedule": 1.0}}
    app.conf.task_create_missing_queues = True
    assert task_faults(app) == [
        "tidy: takes positional arguments",
        "tidy: is acknowledged late; the sweep repeats what is lost",
        "tidy: is not named after its room",
        "tidy: goes to no queue of ours",
        "shop.nothing: scheduled, but no task",
    ]
