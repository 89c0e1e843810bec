"""What every answer carries for the browser, frozen; and that Django's own check of a deployment finds nothing."""

import os
import secrets
import subprocess
import sys
import uuid
from typing import Any

import pytest
from django.test import Client as Browser

from config import headers
from config.tests.client import Client
from config.tests.direct import Direct
from shop.backoffice.headers import POLICY
from shop.models import User
from shop.testing_shop import ROOT, RunningShop

COMMON = {"X-Content-Type-Options": "nosniff", "Strict-Transport-Security": None, "Set-Cookie": None}
API = COMMON | {
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Access-Control-Allow-Origin": None,
    "X-Powered-By": None,
}
DOCS = API | {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
}
ADMIN = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'self'; script-src 'self' 'unsafe-eval'; "
    "style-src 'self' 'unsafe-inline'; img-src 'self' data:; object-src 'none'; base-uri 'self'; form-action 'self'; "
    "frame-ancestors 'none'",
}
PATHS = {
    "/livez": API,
    "/readyz": API,
    "/products": API,
    "/balance/1": API,  # refused
    "/no/such/path": API,
    "/openapi.json": API,
    "/docs": DOCS,
    "/docs/problems": DOCS,
}


def seen(answer: Any, names: dict[str, str | None]) -> dict[str, str | None]:
    """Return the named headers of an answer; one that is sent twice shows both."""
    return {name: ", ".join(answer.headers.get_all(name) or []) or None for name in names}


@pytest.mark.django_db
@pytest.mark.parametrize("path", PATHS)
def test_an_answer_of_the_api_carries_these_headers(path: str) -> None:
    answer = Direct().request("GET", path, may_be_busy=True)
    assert seen(answer, PATHS[path]) == PATHS[path]


@pytest.mark.django_db
def test_control_an_answer_without_them_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(headers, "of", lambda path: [])
    assert seen(Direct().get("/products"), API)["X-Content-Type-Options"] is None


@pytest.mark.xdist_group("shop")
def test_the_server_adds_no_version_and_no_cookie(client: Client, running_shop: RunningShop) -> None:
    for path, expected in {"/products": API, "/livez": API, "/docs": DOCS}.items():
        answer = client.get(path)
        assert seen(answer, expected) == expected
        assert not any(character.isdigit() for character in answer.headers.get("Server", ""))


@pytest.mark.django_db
def test_every_page_of_the_admin_carries_these_headers() -> None:
    assert ADMIN["Content-Security-Policy"] == POLICY
    browser = Browser()
    pages = [browser.get("/admin/login/")]
    browser.force_login(User.objects.create_superuser("root"))
    pages += [browser.get(path) for path in ("/admin/", "/admin/orders/order/", "/admin/no/such/page")]
    for page in pages:
        assert {name: page.headers.get(name) for name in ADMIN} == ADMIN


@pytest.mark.django_db
def test_the_admins_cookies_stay_with_the_admin() -> None:
    name, word = f"clerk-{uuid.uuid4().hex}", "four-horses-9-boats"
    User.objects.create_user(name, password=word, is_staff=True)
    browser = Browser()
    browser.get("/admin/login/")
    browser.post("/admin/login/", {"username": name, "password": word})
    browser.post("/admin/language/", {"language": "ko"})
    assert set(browser.cookies) == {"sessionid", "csrftoken", "django_language"}
    for cookie in browser.cookies.values():
        assert (cookie["path"], cookie["httponly"], cookie["samesite"]) == ("/admin", True, "Lax"), cookie
        assert not cookie["secure"]  # without TLS; with it see the next test
    assert browser.cookies["sessionid"]["max-age"] == 8 * 3_600


PRODUCTION = {
    "SHOP_PART": "web",
    "SHOP_TRUSTED_PROXY": "1",
    "SHOP_ALLOWED_HOSTS": "shop.example",
    "SHOP_SECRET_KEY": secrets.token_urlsafe(50),
    "SHOP_JWT_KEY": secrets.token_urlsafe(50),
}


def check(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "manage.py", "check", "--deploy", "--fail-level", "WARNING"],
        cwd=ROOT, env=os.environ | PRODUCTION | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_djangos_check_of_a_deployment_finds_nothing() -> None:
    done = check()
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


def test_control_without_a_proxy_that_ends_tls_it_finds_what_is_missing() -> None:
    done = check(SHOP_TRUSTED_PROXY="0")
    found = [code for code in ("W004", "W012", "W016") if f"security.{code}" in done.stderr]
    assert (done.returncode, found) == (1, ["W004", "W012", "W016"])


def test_behind_a_proxy_that_ends_tls_browsers_are_told_to_stay_with_it() -> None:
    program = """
import config.wsgi
from django.conf import settings
from config import headers
print(dict(headers.of("/products"))["Strict-Transport-Security"])
print(settings.SESSION_COOKIE_SECURE, settings.CSRF_COOKIE_SECURE, settings.LANGUAGE_COOKIE_SECURE)
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT, env=os.environ | PRODUCTION | {"SHOP_PART": "command"}, capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["max-age=31536000", "True", "True", "True"]
