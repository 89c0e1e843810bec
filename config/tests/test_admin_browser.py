"""An operator's walk through the admin of a running shop, in a real browser."""

import base64
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest
from django_otp.oath import TOTP
from playwright.sync_api import Browser, Page, expect, sync_playwright

from shop.testing_shop import ROOT, RunningShop

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [
    pytest.mark.xdist_group("shop"),
    pytest.mark.skipif(CHROMIUM is None, reason="needs a browser on the machine: chromium or google-chrome"),
]
NAME, PASSWORD = "walker", "four-horses-9-boats"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def account(running_shop: RunningShop) -> None:
    subprocess.run(
        [sys.executable, "manage.py", "createsuperuser", "--noinput", f"--username={NAME}", "--email=a@shop.example"],
        cwd=ROOT,
        env=running_shop.env | {"DJANGO_SUPERUSER_PASSWORD": PASSWORD},
        check=True,
    )


@pytest.fixture
def page(browser: Browser, running_shop: RunningShop, account: None) -> Iterator[Page]:
    """A signed-in operator in Seoul; whatever the browser complains about fails the test."""
    context = browser.new_context(base_url=running_shop.base_url, locale="en", timezone_id="Asia/Seoul")
    page = context.new_page()
    complaints: list[str] = []
    page.on("console", lambda it: complaints.append(it.text) if it.type in ("error", "warning") else None)
    page.on("pageerror", lambda it: complaints.append(str(it)))
    page.on("response", lambda it: complaints.append(f"{it.status} {it.url}") if it.status >= 400 else None)
    page.goto("/admin/")
    page.fill("#id_username", NAME)
    page.fill("#id_password", PASSWORD)
    page.click("button[type=submit]")
    expect(page.locator("#cards")).to_be_visible()
    yield page
    context.close()
    assert complaints == []


def test_overview_shows_five_cards_that_lead_to_their_lists(page: Page) -> None:
    cards = page.locator("#cards > a")
    assert cards.count() == 5
    cards.filter(has_text="Sold-out products").click()
    expect(page).to_have_url(re.compile(r"/admin/catalog/stock/\?sold=out$"))


def test_a_product_is_made_and_restocked(page: Page) -> None:
    page.goto("/admin/catalog/product/add/")
    page.fill("#id_sku", "WALK-1")
    page.fill("#id_name", "무선 이어폰")
    page.fill("#id_category", "audio")
    page.fill("#id_price", "12000")
    page.click("button[name=_continue]")
    page.get_by_role("link", name="Restock").click()
    page.fill("#id_quantity", "40")
    page.fill("#id_reason", "first delivery")
    page.get_by_role("button", name="Continue").click()
    expect(page.locator("#changes")).to_contain_text("40")
    page.get_by_role("button", name="Restock").click()
    expect(page.get_by_text("Done: Restock")).to_be_visible()
    page.locator("a[href$='/history/']").click()
    expect(page.get_by_text("Restock: first delivery")).to_be_visible()


def test_a_campaign_is_made_and_closed(page: Page) -> None:
    page.goto("/admin/coupons/campaign/add/")
    page.fill("#id_name", "Spring")
    page.select_option("#id_discount_type", "fixed")
    page.fill("#id_discount_value", "500")
    page.fill("#id_total_quantity", "100")
    for name, day in (("opens", "2026-01-01"), ("closes", "2036-01-01")):
        page.fill(f"#id_{name}_at_0", day)
        page.fill(f"#id_{name}_at_1", "09:00:00")
    page.click("button[name=_continue]")
    expect(page.get_by_text("0 / 100")).to_be_visible()
    page.get_by_role("link", name="Close now").click()
    page.get_by_role("button", name="Close now").click()  # without a reason the browser itself refuses
    assert page.url.endswith("/close/")
    page.fill("#id_reason", "sold by mistake")
    page.get_by_role("button", name="Close now").click()
    expect(page.get_by_text("Done: Close now")).to_be_visible()
    page.goto("/admin/coupons/campaign/?state=closed")
    expect(page.get_by_role("link", name="Spring")).to_be_visible()


def test_language_switch_speaks_korean(page: Page) -> None:
    page.locator("#nav-sidebar").get_by_text(NAME).click()
    page.get_by_role("button", name="한국어").click()
    expect(page.locator("html")).to_have_attribute("lang", "ko")
    page.goto("/admin/coupons/campaign/add/")
    expect(page.get_by_role("button", name="저장", exact=True)).to_be_visible()


def code_for(page: Page, *, steps: int = 0) -> str:
    """Return the code an authenticator app would show for the key on the page; `steps` of 30 s from now."""
    totp = TOTP(base64.b32decode(page.locator("#secret").inner_text().replace(" ", "")))
    totp.time = time.time() + 30 * steps
    return f"{totp.token():06}"


def test_a_second_factor_is_set_up_and_removed(page: Page) -> None:
    page.locator("#nav-sidebar").get_by_text(NAME).click()
    page.get_by_role("link", name="Second factor").click()
    expect(page.locator("#qr svg")).to_be_visible()
    now, later = code_for(page), code_for(page, steps=1)  # each is good once
    page.fill("#id_code", now)
    page.get_by_role("button", name="Set up").click()
    expect(page.get_by_text("From now on you sign in with a code.")).to_be_visible()
    page.goto("/admin/second-factor/")
    expect(page.locator("#qr")).to_have_count(0)
    page.fill("#id_code", later)
    page.get_by_role("button", name="Remove second factor").click()
    expect(page.get_by_text("You sign in without a code again.")).to_be_visible()


def test_interactive_documentation_runs_under_its_policy(page: Page) -> None:
    page.goto("/docs")
    expect(page.locator(".opblock").first).to_be_visible()
