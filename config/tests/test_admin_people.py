"""Users, rights and passwords in the admin, and work that waits for a person."""

import uuid

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client

from balance.models import Wallet
from config.tests.admin_rows import Rows, make_rows
from config.tests.operating import history, permissions, said, signed_in
from shop import accounts, throttle
from shop.errors import InvalidCredentials
from shop.models import ParkedItem, User

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> Rows:
    rows = make_rows()
    LogEntry.objects.all().delete()
    return rows


@pytest.fixture
def operator() -> Client:
    return signed_in(User.objects.create_superuser("root"))


def test_retry_lets_a_parked_item_be_claimed_again(rows: Rows, operator: Client) -> None:
    fields = {"action": "retry", "_selected_action": [rows.parked.pk]}
    answer = operator.post("/admin/shop/parkeditem/", fields, follow=True)
    assert said(answer) == ["1 item will be tried again."]
    parked = ParkedItem.objects.get()
    assert parked.parked_until is not None
    assert parked.attempts == 0
    assert history() == [("parkeditem", "Retried by an operator.")]


def test_a_new_user_has_a_wallet(operator: Client) -> None:
    fields = {"username": "newcomer", "usable_password": "false"}
    assert operator.post("/admin/shop/user/add/", fields).status_code == 302
    assert Wallet.objects.get().user.username == "newcomer"


def test_a_name_in_other_case_is_taken(rows: Rows, operator: Client) -> None:
    answer = operator.post("/admin/shop/user/add/", {"username": "CUSTOMER1", "usable_password": "false"})
    assert list(answer.context["adminform"].form.errors) == ["username"]
    assert User.objects.filter(username__iexact="customer1").count() == 1


def test_disabling_a_user_ends_their_sessions(rows: Rows, operator: Client) -> None:
    operator.post(f"/admin/shop/user/{rows.user.pk}/change/", {"username": "customer1"})
    user = User.objects.get(pk=rows.user.pk)
    assert (user.is_active, user.token_generation) == (False, 1)


def test_a_new_password_ends_the_sessions_of_the_old_one(rows: Rows, operator: Client) -> None:
    word = "four-horses-9-boats"
    fields = {"password1": word, "password2": word, "usable_password": "true", "set-password": "yes"}
    assert operator.post(f"/admin/shop/user/{rows.user.pk}/password/", fields).status_code == 302
    user = User.objects.get(pk=rows.user.pk)
    assert (user.check_password(word), user.token_generation) == (True, 1)


def test_an_own_new_password_ends_the_sessions_of_the_old_one(rows: Rows) -> None:
    user = User.objects.create_user("clerk", password="old-boats-7-horses", is_staff=True)
    client, word = Client(), "four-horses-9-boats"
    client.force_login(user)
    wrong = {"old_password": "wrong", "new_password1": word, "new_password2": word}
    assert client.post("/admin/password_change/", wrong).status_code == 200
    assert User.objects.get(pk=user.pk).token_generation == 0
    assert client.post("/admin/password_change/", wrong | {"old_password": "old-boats-7-horses"}).status_code == 302
    assert User.objects.get(pk=user.pk).token_generation == 1


def test_the_admin_and_the_api_count_failed_logins_together() -> None:
    name, word = f"clerk-{uuid.uuid4().hex}", "four-horses-9-boats"
    User.objects.create_user(name, password=word, is_staff=True)
    for _ in range(throttle.LOGINS.burst - 1):
        with pytest.raises(InvalidCredentials):
            accounts.obtain_tokens(username=name.upper(), password="wrong")
    answers = [
        Client().post("/admin/login/", {"username": name, "password": password}) for password in (word, "wrong", word)
    ]
    assert [answer.status_code for answer in answers] == [302, 200, 200]
    [message] = answers[2].context["form"].non_field_errors()
    assert message.startswith("Too many failed tries. Wait ")


def test_only_a_superuser_hands_out_rights_or_touches_staff(rows: Rows) -> None:
    clerk = User.objects.create_user("clerk", is_staff=True)
    clerk.user_permissions.set(permissions("shop", "view_user", "change_user"))
    boss = User.objects.create_superuser("boss")
    client = signed_in(clerk)
    grab = {"username": "customer1", "is_active": "on", "is_staff": "on", "is_superuser": "on"}
    assert client.post(f"/admin/shop/user/{rows.user.pk}/change/", grab).status_code == 302
    user = User.objects.get(pk=rows.user.pk)
    assert (user.is_staff, user.is_superuser) == (False, False)
    for address in (f"/admin/shop/user/{boss.pk}/change/", f"/admin/shop/user/{boss.pk}/password/"):
        assert client.post(address, grab).status_code == 403, address
    assert client.post(f"/admin/shop/user/{clerk.pk}/change/", grab).status_code == 403
