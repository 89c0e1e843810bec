"""What the rows of the catalogue speak of, made when a row first names it and only once for that row."""

import base64
import json
import time
import uuid
from collections.abc import Callable
from typing import Any

import jwt

from config.tests.bad_input.rows import Made, Request
from config.tests.conftest import BALANCE, Customer, World

PASSWORD = "plum-tractor-59"
GONE = 2**40


def new_name() -> str:
    return f"kim{uuid.uuid4().hex[:12]}"


class Scene:
    """
    A stage of its own for each row: `scene["others_order"]` is the id of an order of another customer.

    Whatever a row does to it concerns no other row.
    """

    def __init__(self, world: World) -> None:
        self.world, self.client = world, world.client
        self._made: dict[str, Any] = {}
        self.me, self.somebody = world.customer(), world.customer()

    def __getitem__(self, name: str) -> Any:
        if name not in self._made:
            self._made[name] = MAKERS[name](self)
        return self._made[name]

    def put(self, name: str, value: Any) -> None:
        """Name something that was made elsewhere."""
        self._made[name] = value

    def token_of(self, who: str) -> str:
        """Return the access token of `customer`, `other`, `staff`, `gone`; none of `nobody`."""
        makers: dict[str, Callable[[], str]] = {
            "nobody": str,
            "customer": lambda: self.me.token,
            "other": lambda: self.somebody.token,
            "staff": lambda: str(self["staff"].token),
            "gone": lambda: self.world.token(GONE),
        }
        return makers[who]()

    def sign_up(self) -> dict[str, Any]:
        """Return a new user: name and tokens."""
        credentials = {"username": new_name(), "password": PASSWORD}
        assert self.client.post("/auth/signup", credentials).status == 201
        tokens: dict[str, Any] = self.client.post("/auth/token", credentials).json
        return credentials | tokens

    def campaign(self, **terms: Any) -> int:
        return self.world.campaign(**terms)

    def coupon(self, customer: Customer, **terms: Any) -> int:
        return self.world.coupon(customer, self.world.campaign(**terms))


def filled(value: Any, scene: Scene) -> Any:
    """Return a body with everything made that it names."""
    if isinstance(value, Made):
        return scene[value]
    if isinstance(value, dict):
        return {name: filled(item, scene) for name, item in value.items()}
    return [filled(item, scene) for item in value] if isinstance(value, list) else value


def completed(request: Request, scene: Scene) -> Request:
    """Return a request that names nothing any more."""
    return Request(
        request.method,
        request.path.format_map(scene),
        filled(request.body, scene),
        {name: text.format_map(scene) for name, text in request.headers.items()},
        request.who,
        request.raw.replace(b"{token}", scene.me.token.encode()),
    )


# --- tokens that must not work ---------------------------------------------------------------------------------------


def claims(scene: Scene) -> dict[str, Any]:
    now = int(time.time())
    user_id = scene.me.user_id
    return {"token_type": "access", "exp": now + 600, "iat": now, "jti": uuid.uuid4().hex, "user_id": user_id}


def encoded(part: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=").decode()


def unsigned(scene: Scene, algorithm: str, signature: str = "") -> str:
    return f"{encoded({'alg': algorithm, 'typ': 'JWT'})}.{encoded(claims(scene))}.{signature}"


def signed(scene: Scene, *, key: str = "", algorithm: str = "HS256", **changed: Any) -> str:
    wanted = {name: value for name, value in (claims(scene) | changed).items() if value is not None}
    return jwt.encode(wanted, key or scene.world.jwt_key, algorithm=algorithm)


def swapped(scene: Scene) -> str:
    """Return the good token with somebody else's name in it."""
    header, _claims, signature = scene.me.token.split(".")
    return f"{header}.{encoded(claims(scene) | {'user_id': scene.somebody.user_id, 'is_staff': True})}.{signature}"


def rs_for_hs(scene: Scene) -> str:
    """Return a token that says RS256 and is signed with the key of HS256."""
    header, body, signature = signed(scene).split(".")
    assert header
    return f"{encoded({'alg': 'RS256', 'typ': 'JWT'})}.{body}.{signature}"


# --- accounts and goods ----------------------------------------------------------------------------------------------


def disabled_name(scene: Scene) -> str:
    user = scene.sign_up()
    scene.world.rows("UPDATE shop_user SET is_active = false WHERE id = %s", user["user_id"])
    return str(user["username"])


def stale_refresh(scene: Scene) -> str:
    user = scene.sign_up()
    scene.world.rows("UPDATE shop_user SET password = 'another' WHERE id = %s", user["user_id"])
    return str(user["refresh"])


def paid_order(scene: Scene, customer: Customer, **body: Any) -> int:
    return int(scene.world.order(customer, {scene["product"]: 1}, **body)["order_id"])


def used_coupon(scene: Scene) -> int:
    issuance_id = scene.coupon(scene.me)
    paid_order(scene, scene.me, issuance_id=issuance_id)
    return issuance_id


def expired_coupon(scene: Scene) -> int:
    issuance_id = scene.coupon(scene.me)
    scene.world.rows("UPDATE coupons_issuance SET expires_at = now() - interval '1 s' WHERE id = %s", issuance_id)
    return issuance_id


def pending_coupon(scene: Scene) -> int:
    body = {"coupon_id": scene.campaign()}
    return int(scene.client.post("/coupons/issue", body, token=scene.somebody.token).json["issuance_id"])


def no_order_yet(scene: Scene) -> int:
    """Make what is to be ordered; the scenario that places the order puts its id here."""
    assert scene["product"]
    return 0


def cursor(scene: Scene) -> str:
    """Return a good cursor of `/products`, whatever the page size."""
    for _ in range(2):
        scene.world.product()
    link: str = scene.client.get("/products?size=1").json["next"]
    return link.partition("cursor=")[2].partition("&")[0]


def other_first_letter(text: str) -> str:
    return ("B" if text[0] == "A" else "A") + text[1:]


MAKERS: dict[str, Callable[[Scene], Any]] = {
    "token": lambda scene: scene.me.token,
    "token_none": lambda scene: unsigned(scene, "none"),
    "token_none_signed": lambda scene: unsigned(scene, "None", scene.me.token.split(".")[2]),
    "token_rs256": rs_for_hs,
    "token_hs512": lambda scene: signed(scene, algorithm="HS512"),
    "token_key": lambda scene: signed(scene, key="k" * 64),
    "token_expired": lambda scene: signed(scene, exp=1_000_000_000),
    "token_endless": lambda scene: signed(scene, exp=None),
    "token_early": lambda scene: signed(scene, nbf=9_999_999_999),
    "token_cut": lambda scene: scene.me.token[:-6] + "AAAAAA",
    "token_swapped": swapped,
    "token_refresh": lambda scene: signed(scene, token_type="refresh"),
    "token_untyped": lambda scene: signed(scene, token_type=None),
    "customer": lambda scene: scene.me.user_id,
    "other": lambda scene: scene.somebody.user_id,
    "staff": lambda scene: scene.world.staff(),
    "gone": lambda scene: GONE,
    "free_name": lambda scene: new_name(),
    "user": Scene.sign_up,
    "taken": lambda scene: scene["user"]["username"],
    "taken_upper": lambda scene: scene["taken"].upper(),
    "taken_wide": lambda scene: scene["taken"].replace("k", "\uff4b"),
    "taken_spaced": lambda scene: f" {scene['taken']} ",
    "disabled": disabled_name,
    "refresh": lambda scene: scene["user"]["refresh"],
    "refresh_cut": lambda scene: scene["user"]["refresh"][:-2],
    "refresh_stale": stale_refresh,
    "product": lambda scene: scene.world.product(),
    "other_product": lambda scene: scene.world.product(),
    "hidden": lambda scene: scene.world.product(hidden=True),
    "dear_product": lambda scene: scene.world.product(price=BALANCE),
    "scarce_product": lambda scene: scene.world.product(stock=2),
    "campaign": Scene.campaign,
    "other_campaign": Scene.campaign,
    "empty_campaign": lambda scene: scene.campaign(total_quantity=0),
    "last_coupon": lambda scene: scene.campaign(total_quantity=1),
    "early_campaign": lambda scene: scene.campaign(opens_in=3_600),
    "late_campaign": lambda scene: scene.campaign(opens_in=-7_200, closes_in=-1),
    "demanding_coupon": lambda scene: scene.coupon(scene.me, min_order_amount=1_000_000),
    "others_coupon": lambda scene: scene.coupon(scene.somebody),
    "others_pending_coupon": pending_coupon,
    "used_coupon": used_coupon,
    "expired_coupon": expired_coupon,
    "order": lambda scene: paid_order(scene, scene.me),
    "others_order": lambda scene: paid_order(scene, scene.somebody),
    "pending": no_order_yet,
    "cursor": cursor,
    "cursor_forged": lambda scene: other_first_letter(scene["cursor"]),
    "cursor_cut": lambda scene: scene["cursor"][:-3],
}
