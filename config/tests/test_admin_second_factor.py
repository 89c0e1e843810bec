"""Signing in to the admin: few wrong tries, and the second factor that operators set up for themselves."""

import re
import time
import uuid

import pytest
from django.conf import settings
from django.test import Client
from django.urls import reverse
from django_otp.oath import TOTP
from django_otp.plugins.otp_totp.models import TOTPDevice

from config.tests.operating import said, send, signed_in
from shop import throttle
from shop.backoffice import second_factor
from shop.models import OperatorAction, User

pytestmark = pytest.mark.django_db
PASSWORD = "four-horses-9-boats"
ENROL = "/admin/second-factor/"


@pytest.fixture
def clerk() -> User:
    """An operator; the name is new each time, because failed tries are counted in Redis."""
    return User.objects.create_user(f"clerk-{uuid.uuid4().hex}", password=PASSWORD, is_staff=True)


@pytest.fixture
def device(clerk: User) -> TOTPDevice:
    return TOTPDevice.objects.create(user=clerk, name="app", confirmed=True)


@pytest.fixture
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ADMIN_TOTP", "required")


def code_of(device: TOTPDevice, *, steps: int = 0) -> str:
    """Return what the app shows now; `steps` of 30 s later or earlier."""
    totp = TOTP(device.bin_key)
    totp.time = time.time() + 30 * steps
    return f"{totp.token():06}"


def sign_in(user: User, password: str = PASSWORD, code: str = "", client: Client | None = None) -> Client:
    client = client or Client()
    client.post("/admin/login/", {"username": user.username, "password": password, "code": code})
    return client


def is_in(client: Client) -> bool:
    return client.get("/admin/").status_code == 200


def test_signing_in_leads_to_the_page_that_was_asked_for(clerk: User) -> None:
    for asked, place in (("/admin/login/", "/admin/"), ("/admin/login/?next=/admin/orders/", "/admin/orders/")):
        hidden = re.search(r'name="next" value="([^"]*)"', Client().get(asked).text)
        assert hidden is not None
        fields = {"username": clerk.username, "password": PASSWORD, "next": hidden[1]}
        assert Client().post("/admin/login/", fields).headers["Location"] == place


def test_signing_in_leads_nowhere_else(clerk: User) -> None:
    fields = {"username": clerk.username, "password": PASSWORD, "next": "https://elsewhere.example/admin/"}
    assert "elsewhere" not in Client().post("/admin/login/", fields).headers["Location"]


# --- wrong tries ----------------------------------------------------------------------------------------------------


def test_after_six_wrong_tries_the_right_password_has_to_wait(clerk: User) -> None:
    wrong = [is_in(sign_in(clerk, "wrong")) for _ in range(6)]
    assert (wrong, is_in(sign_in(clerk))) == ([False] * 6, False)
    answer = Client().post("/admin/login/", {"username": clerk.username, "password": PASSWORD})
    [message] = answer.context["form"].non_field_errors()
    assert message.startswith("Too many failed tries. Wait 1")
    other = User.objects.create_user("other", password=PASSWORD, is_staff=True)
    assert is_in(sign_in(other))


def test_control_without_the_limit_a_seventh_try_gets_in(clerk: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "ADMIN_LOGINS", None)
    for _ in range(6):
        sign_in(clerk, "wrong")
    assert is_in(sign_in(clerk))


def test_wrong_codes_are_wrong_tries(clerk: User, device: TOTPDevice) -> None:
    for _ in range(6):
        sign_in(clerk, code="000000")
    TOTPDevice.objects.update(throttling_failure_count=0)
    assert not is_in(sign_in(clerk, code=code_of(device)))


# --- with a second factor -------------------------------------------------------------------------------------------


def test_who_has_none_signs_in_without(clerk: User) -> None:
    assert is_in(sign_in(clerk))


def test_who_has_one_needs_it(clerk: User, device: TOTPDevice) -> None:
    assert [is_in(sign_in(clerk)), is_in(sign_in(clerk, code=code_of(device)))] == [False, True]


@pytest.mark.parametrize("code", ["", "abcdef", "000000", "１２３４５６", "-00001"])
def test_a_bad_code_says_what_a_wrong_password_says(clerk: User, device: TOTPDevice, code: str) -> None:
    fields = {"username": clerk.username, "password": PASSWORD, "code": code}
    [with_right] = Client().post("/admin/login/", fields).context["form"].non_field_errors()
    [with_wrong] = Client().post("/admin/login/", fields | {"password": "wrong"}).context["form"].non_field_errors()
    assert with_right == with_wrong


def test_a_code_is_good_once_and_not_long(clerk: User, device: TOTPDevice) -> None:
    assert not is_in(sign_in(clerk, code=code_of(device, steps=-3)))
    TOTPDevice.objects.update(throttling_failure_count=0)
    code = code_of(device)
    assert is_in(sign_in(clerk, code=code))
    assert not is_in(sign_in(clerk, code=code))


def test_guessing_codes_is_slowed_down_by_the_device(clerk: User, device: TOTPDevice) -> None:
    sign_in(clerk, code="000000")
    assert not is_in(sign_in(clerk, code=code_of(device)))  # for a second


def test_a_session_from_before_ends_when_a_second_factor_is_set_up(clerk: User) -> None:
    before = sign_in(clerk)
    assert is_in(before)
    device = TOTPDevice.objects.create(user=clerk, confirmed=True)
    assert not is_in(before)
    assert before.get(ENROL).status_code == 302  # nor may it replace the device
    assert is_in(sign_in(clerk, code=code_of(device)))


def test_control_without_the_sites_check_the_password_is_enough(
    clerk: User, device: TOTPDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(second_factor, "is_satisfied", lambda request: True)
    assert is_in(signed_in(clerk))


def test_switched_off_nobody_is_asked(clerk: User, device: TOTPDevice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "ADMIN_TOTP", "off")
    assert "code" not in Client().get("/admin/login/").context["form"].fields
    client = sign_in(clerk)
    assert is_in(client)
    assert client.get(ENROL).status_code == 302


# --- setting up -----------------------------------------------------------------------------------------------------


def enrol(client: Client) -> TOTPDevice:
    page = client.get(ENROL)
    assert "<svg" in page.text
    device = TOTPDevice.objects.get(confirmed=False)
    assert page.context["secret"].replace(" ", "") in device.config_url
    assert client.post(ENROL, {"code": "000000"}).context["form"].errors.keys() == {"code"}
    assert TOTPDevice.objects.filter(confirmed=True).count() == 0
    TOTPDevice.objects.update(throttling_failure_count=0)
    assert said(client.post(ENROL, {"code": code_of(device)}, follow=True)) == ["From now on you sign in with a code."]
    return device


def test_an_operator_sets_one_up_and_removes_it_with_a_code(clerk: User) -> None:
    client = sign_in(clerk)
    device = enrol(client)
    assert is_in(client)
    assert not is_in(sign_in(clerk))
    assert "<svg" not in client.get(ENROL).text  # the key is shown once
    client.post(ENROL, {"code": "000000"})
    assert TOTPDevice.objects.count() == 1
    TOTPDevice.objects.update(throttling_failure_count=0)
    client.post(ENROL, {"code": code_of(device, steps=1)})
    assert TOTPDevice.objects.count() == 0
    assert is_in(sign_in(clerk))


def test_where_it_is_required_every_page_leads_to_setting_one_up(clerk: User, required: None) -> None:
    client = sign_in(clerk)
    answer = client.get("/admin/orders/order/", follow=True)
    assert answer.redirect_chain[-1][0] == ENROL
    assert client.get("/admin/password_change/").status_code == 302
    device = enrol(client)
    assert is_in(client)
    client.post(ENROL, {"code": code_of(device, steps=1)})
    assert TOTPDevice.objects.count() == 1  # it cannot be removed


def test_customers_and_strangers_set_nothing_up() -> None:
    customer = signed_in(User.objects.create_user("customer", password=PASSWORD))
    for client in (Client(), customer):
        answer = client.get(ENROL)
        assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/admin/login/")
    assert TOTPDevice.objects.count() == 0


def test_setting_up_needs_the_form_of_our_own_page(clerk: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(clerk)
    assert client.post(ENROL, {"code": "000000"}).status_code == 403


# --- lost -----------------------------------------------------------------------------------------------------------


def test_a_superuser_removes_a_lost_one_with_a_reason(clerk: User, device: TOTPDevice) -> None:
    boss = User.objects.create_superuser("boss")
    address = reverse("admin:shop_user_remove_second_factor", args=[clerk.pk])
    assert send(signed_in(boss), address, reason="").context["form"].errors.keys() == {"reason"}
    assert TOTPDevice.objects.count() == 1
    assert said(send(signed_in(boss), address)) == ["Done: Remove second factor"]
    assert TOTPDevice.objects.count() == 0
    row = OperatorAction.objects.get()
    assert (row.operator_id, row.action, row.object_id) == (boss.pk, "shop.remove_second_factor", clerk.pk)
    assert is_in(sign_in(clerk))


def test_nobody_reads_the_keys(clerk: User, device: TOTPDevice) -> None:
    boss = signed_in(User.objects.create_superuser("boss"))
    assert boss.get("/admin/otp_totp/totpdevice/").status_code == 404
    assert device.key not in boss.get(f"/admin/shop/user/{clerk.pk}/change/").text


def test_signing_out_everywhere_ends_the_tokens_and_is_written_down() -> None:
    boss = User.objects.create_superuser("boss")
    customer = User.objects.create_user("customer")
    answer = send(signed_in(boss), reverse("admin:shop_user_sign_out", args=[customer.pk]))
    assert said(answer) == ["Done: Sign out everywhere"]
    assert User.objects.get(pk=customer.pk).token_generation == 1
    assert OperatorAction.objects.values_list("action", "object_id").get() == ("shop.sign_out", customer.pk)


def test_a_key_that_was_not_confirmed_is_new_each_time_it_is_shown(clerk: User) -> None:
    """Who saw it with a stolen password must not hold the factor that is set up after the password was changed."""
    thief, owner = sign_in(clerk), sign_in(clerk)
    seen = thief.get(ENROL).context["secret"]
    shown = owner.get(ENROL).context["secret"]
    assert shown != seen
    assert TOTPDevice.objects.count() == 1
    TOTPDevice.objects.create(user=clerk, confirmed=False, name="app")  # two first looks at once
    assert owner.get(ENROL).status_code == 200
    assert owner.post(ENROL, {"code": "000000"}).status_code == 200
    assert TOTPDevice.objects.count() == 1
