"""
Who may do what: every address of the shop, every kind of caller, and what each gets.

`docs/access-matrix.md` is made from these tables (`make access-matrix`), and the two `test_access_matrix*.py` ask the
real handlers whether they are true. A route that has no row here fails them.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "access-matrix.md"

# --- the API --------------------------------------------------------------------------------------------------------

CALLERS = ("anonymous", "disabled", "other", "clerk", "finance", "owner")
"""
`owner` has the objects that are asked for, `other` is another customer. `disabled` had a good token and objects of
their own until a moment ago. `clerk` is staff without a permission, `finance` belongs to the group Finance.
"""
NO_TOKEN, DEAD_TOKEN = "401 not_authenticated", "401 invalid_token"
OWN, NOTHING = "200 own", "200 nothing of the owner"
OUTSIDE = {"anonymous": NO_TOKEN, "disabled": DEAD_TOKEN}


@dataclass(frozen=True, slots=True)
class Row:
    """One operation: what each caller gets; `note` sets it apart from another row of the same operation."""

    method: str
    route: str
    gets: dict[str, str]
    note: str = ""


def everybody(outcome: str) -> dict[str, str]:
    return dict.fromkeys(CALLERS, outcome)


def for_oneself(outcome: str) -> dict[str, str]:
    """Whoever has a token acts for themselves; staff are customers here."""
    return everybody(outcome) | OUTSIDE


def only_the_owner(outcome: str, refusal: str) -> dict[str, str]:
    return everybody(refusal) | OUTSIDE | {"owner": outcome}


def owner_and_staff(outcome: str) -> dict[str, str]:
    return only_the_owner(outcome, "403 not_your_account") | {"clerk": outcome, "finance": outcome}


API = [
    Row("GET", "/products", everybody("200")),
    Row("GET", "/products/{product_id}", everybody("200")),
    Row("GET", "/products/top-selling", everybody("200")),
    Row("GET", "/balance/{user_id}", owner_and_staff("200")),
    Row("GET", "/balance/{user_id}/transfers", owner_and_staff("200")),
    Row("POST", "/balance/charge", for_oneself("200"), "one's own wallet"),
    Row("POST", "/balance/charge", owner_and_staff("200"), "the owner's wallet, by `user_id`"),
    Row("GET", "/coupons", everybody("200")),
    Row("GET", "/coupons/{coupon_id}", everybody("200")),
    Row("POST", "/coupons/issue", for_oneself("202")),
    Row("GET", "/coupons/mine", only_the_owner(OWN, NOTHING)),
    Row("GET", "/coupons/issuances/{issuance_id}", only_the_owner("200", "404 issuance_not_found")),
    Row("POST", "/orders", for_oneself("202")),
    Row("POST", "/orders", only_the_owner("202", "409 issuance_not_usable"), "with the owner's coupon"),
    Row("GET", "/orders", only_the_owner(OWN, NOTHING)),
    Row("GET", "/orders/{order_id}", only_the_owner("200", "404 order_not_found")),
    Row("POST", "/orders/{order_id}/cancel", only_the_owner("200", "404 order_not_found")),
    Row("POST", "/auth/signup", everybody("201"), "a new name"),
    Row(
        "POST",
        "/auth/token",
        everybody("200") | {"anonymous": "401 invalid_credentials", "disabled": "401 invalid_credentials"},
        "with one's own password",
    ),
    Row(
        "POST",
        "/auth/token/refresh",
        everybody("200") | {"anonymous": DEAD_TOKEN, "disabled": DEAD_TOKEN},
        "with one's own refresh token",
    ),
    Row("GET", "/livez", everybody("200")),
    Row("GET", "/readyz", everybody("200")),
    Row("GET", "/openapi.json", everybody("200")),
    Row("GET", "/docs", everybody("200")),
    Row("GET", "/docs/problems", everybody("200")),
]

# --- the admin ------------------------------------------------------------------------------------------------------

OPERATORS = (
    "anonymous", "customer", "disabled", "clerk", "Viewer", "Support", "Merchandiser", "Finance", "superuser"
)  # fmt: skip
"""`disabled` was a superuser; `clerk` is staff in no group; then the groups the migration makes."""
YES, NO, MISSING, SIGN_IN = "yes", "403", "404", "sign in"
OUT = dict.fromkeys(("anonymous", "customer", "disabled"), SIGN_IN)
SEEING_ALL = ("Viewer", "Support", "Finance")


def operators(*names: str, else_: str = NO) -> dict[str, str]:
    """These and superusers; other staff get `else_`, whoever is no operator is asked to sign in."""
    return dict.fromkeys(OPERATORS, else_) | dict.fromkeys((*names, "superuser"), YES) | OUT


EVERY_OPERATOR = operators("clerk", *SEEING_ALL, "Merchandiser")
EVERYBODY = dict.fromkeys(OPERATORS, YES)
NOBODY = dict.fromkeys(OPERATORS, NO) | OUT
SEEN_BY_ALL_BUT_GOODS = operators(*SEEING_ALL)
SEEN_WITH_GOODS = operators(*SEEING_ALL, "Merchandiser")


@dataclass(frozen=True, slots=True)
class Model:
    """What operators may do with the rows of one model; `actions` are by the name of their address."""

    see: dict[str, str]
    add: dict[str, str] = field(default_factory=lambda: NOBODY)
    change: dict[str, str] = field(default_factory=lambda: NOBODY)
    delete: dict[str, str] = field(default_factory=lambda: NOBODY)
    actions: dict[str, dict[str, str]] = field(default_factory=dict)


ADDRESSES = {
    "index": EVERY_OPERATOR,
    "login": EVERYBODY,
    "logout": EVERYBODY,
    "password_change": EVERY_OPERATOR,
    "password_change_done": EVERY_OPERATOR,
    "second_factor": EVERY_OPERATOR,
    "set_language": EVERYBODY,
    "search": EVERY_OPERATOR,
    "jsi18n": EVERY_OPERATOR,
    "autocomplete": NOBODY,  # no page has a field that asks it
    "view_on_site": dict.fromkeys(OPERATORS, MISSING) | OUT,  # no model has an address in the shop
    "app_list": operators(*SEEING_ALL, "Merchandiser", else_=MISSING),  # of `catalog`
}  # fmt: skip

GOODS = {
    "import": operators("Merchandiser"),
    "process_import": operators("Merchandiser"),
    "export": SEEN_WITH_GOODS,
}
MODELS = {
    "orders.order": Model(SEEN_BY_ALL_BUT_GOODS, actions={"cancel": operators("Support")}),
    "orders.orderline": Model(SEEN_BY_ALL_BUT_GOODS),
    "orders.orderhistory": Model(SEEN_BY_ALL_BUT_GOODS),
    "balance.wallet": Model(SEEN_BY_ALL_BUT_GOODS, actions={"adjust": operators("Finance")}),
    "balance.transfer": Model(SEEN_BY_ALL_BUT_GOODS),
    "balance.account": Model(SEEN_BY_ALL_BUT_GOODS),
    "catalog.product": Model(
        SEEN_WITH_GOODS,
        add=operators("Merchandiser"),
        change=operators("Merchandiser"),
        actions={"restock": operators("Merchandiser"), **GOODS},
    ),
    "catalog.stock": Model(SEEN_WITH_GOODS),
    "catalog.stockmovement": Model(SEEN_WITH_GOODS),
    "catalog.dailysales": Model(SEEN_WITH_GOODS),
    "coupons.campaign": Model(
        SEEN_WITH_GOODS,
        add=operators("Merchandiser"),
        change=operators("Merchandiser"),
        actions={"close": operators("Merchandiser"), **GOODS},
    ),
    "coupons.issuance": Model(SEEN_WITH_GOODS),
    "shop.user": Model(
        SEEN_BY_ALL_BUT_GOODS,
        add=operators(),
        change=operators("Support"),
        actions={
            "password_change": operators("Support"),
            "sign_out": operators("Support"),
            "remove_second_factor": NOBODY,  # customers have none
        },
    ),
    "auth.group": Model(SEEN_BY_ALL_BUT_GOODS, add=operators(), change=operators(), delete=operators()),
    "shop.operatoraction": Model(SEEN_BY_ALL_BUT_GOODS),
    "shop.idempotencyrecord": Model(SEEN_BY_ALL_BUT_GOODS),
    "shop.stagerun": Model(SEEN_BY_ALL_BUT_GOODS),
    "shop.parkeditem": Model(SEEN_BY_ALL_BUT_GOODS),
    "admin.logentry": Model(SEEN_BY_ALL_BUT_GOODS),
}
RETRY = operators("Support")  # of parked items; sent to their list
OF_STAFF = {
    "change": operators(),
    "password_change": operators(),
    "sign_out": operators(),
    "remove_second_factor": operators(),
}
"""What may be done to the row of an operator instead of a customer's."""


def admin_rows() -> Iterator[tuple[str, str, dict[str, str]]]:
    """Yield what is asked for, what for, and who gets it."""
    for name, gets in ADDRESSES.items():
        yield name, "open", gets
    for label, model in MODELS.items():
        yield label, "see list, row and history", model.see
        yield label, "add", model.add
        yield label, "change", model.change
        yield label, "delete", model.delete
        for name, gets in model.actions.items():
            yield label, name.replace("_", " "), gets
    yield "shop.parkeditem", "retry", RETRY
    for name, gets in OF_STAFF.items():
        yield "shop.user, an operator's", name.replace("_", " "), gets


# --- the page -------------------------------------------------------------------------------------------------------

HEAD = """\
# Who may do what

Made by `make access-matrix` from `config/tests/access_matrix.py`; a test asks the real handlers for every cell, and a
route without a row fails it. How each guard works: [security.md](security.md).

## The API

*owner* has the objects that are asked for, *other* is another customer, *clerk* is staff without a permission,
*finance* belongs to the group Finance. *disabled* held a good token until the account was disabled, at most two seconds
ago. "own" means the caller's own rows and no others.
"""
ADMIN_HEAD = """
## The admin

*clerk* is staff in no group, *disabled* was a superuser. `sign in` leads to the login page. Where nobody may write, not
even a superuser may: those rows are written by the shop's own flows only.
"""


def table(heads: list[str], rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]
    return "\n".join(lines) + "\n"


def page() -> str:
    """Return docs/access-matrix.md."""
    api = [
        [f"`{row.method} {row.route}`{', ' * bool(row.note)}{row.note}", *(row.gets[name] for name in CALLERS)]
        for row in API
    ]
    admin = [[f"`{what}`" if "," not in what else what, act, *(gets[name] for name in OPERATORS)]
             for what, act, gets in admin_rows()]  # fmt: skip
    return "\n".join(
        [
            HEAD,
            table(["operation", *CALLERS], api),
            ADMIN_HEAD.strip("\n") + "\n",
            table(["page", "to", *OPERATORS], admin),
        ]
    )


if __name__ == "__main__":
    PAGE.write_text(page())
