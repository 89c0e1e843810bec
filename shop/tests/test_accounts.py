"""Users and tokens: a name once, a refresh token once, whoever asks at the same time."""

from datetime import timedelta
from functools import partial

import pytest
from django.db import DatabaseError, connection
from django.utils import timezone
from rest_framework_simplejwt.token_blacklist.models import BlacklistedToken, OutstandingToken
from rest_framework_simplejwt.tokens import AccessToken

from balance.models import Wallet
from config.tests.building import assert_sound, everything, make_user
from shop import accounts, auth, tasks
from shop.errors import InvalidCredentials, InvalidInput, InvalidToken, UsernameTaken
from shop.models import IdempotencyRecord, User
from shop.testing import Running, holding, race, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")
PASSWORD = "correct horse battery"


def sign_up(name="somebody", password=PASSWORD):
    return accounts.sign_up(username=name, password=password, now=timezone.now())


def tokens(name="somebody", password=PASSWORD):
    return accounts.obtain_tokens(username=name, password=password)


def refresh(token):
    return accounts.refresh_tokens(refresh=token)


def test_new_user_has_an_empty_wallet_and_a_hashed_password():
    user = sign_up(" ｓomebody ")
    assert user.username == "somebody"
    assert Wallet.objects.values_list("user_id", "balance").get() == (user.pk, 0)
    stored = User.objects.get()
    assert PASSWORD not in stored.password
    assert stored.check_password(PASSWORD)
    assert_sound()


@pytest.mark.parametrize("name", ["somebody", "SomeBody", "ｓｏｍｅｂｏｄｙ"])
def test_taken_name_in_any_spelling_is_refused_and_nothing_changes(name):
    sign_up()
    before = everything()
    with pytest.raises(UsernameTaken):
        sign_up(name)
    assert everything() == before


def test_taken_name_fails_no_statement():
    """PostgreSQL logs statements that fail, and this one holds a password's hash."""
    sign_up()
    failed = []

    def watch(execute, sql, params, many, context):
        try:
            return execute(sql, params, many, context)
        except DatabaseError:
            failed.append(sql)
            raise

    with connection.execute_wrapper(watch), pytest.raises(UsernameTaken):
        sign_up("SomeBody")
    assert failed == []


@pytest.mark.parametrize(
    ("name", "password", "pointer"),
    [
        ("", PASSWORD, "/username"),
        ("two words", PASSWORD, "/username"),
        ("ﬃ" * 51, PASSWORD, "/username"),  # 51 characters as sent, 153 as stored
        ("someone", "short", "/password"),
        ("someone", "12345678901", "/password"),
        ("someone", "password123", "/password"),
        ("someone-special", "someone-special", "/password"),
    ],
)
def test_bad_name_or_password_is_refused_and_nothing_changes(name, password, pointer):
    before = everything()
    with pytest.raises(InvalidInput) as refusal:
        sign_up(name, password)
    assert {error["pointer"] for error in refusal.value.errors} == {pointer}
    assert everything() == before


def test_sign_up_that_fails_half_way_leaves_nothing(monkeypatch):
    def fail(**_):
        raise ZeroDivisionError

    monkeypatch.setattr(accounts, "on_signup", [*accounts.on_signup, fail])
    before = everything()
    with pytest.raises(ZeroDivisionError):
        sign_up()
    assert everything() == before


def test_one_name_signed_up_by_many_at_once_is_given_once():
    outcomes = race(*[partial(sign_up, name) for name in ("somebody", "SOMEBODY", "Somebody", "somebody")])
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["User"] + ["UsernameTaken"] * 3
    assert (User.objects.count(), Wallet.objects.count()) == (1, 1)
    assert_sound()


# --- tokens ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "password", "active"),
    [("somebody", "wrong", True), ("nobody", PASSWORD, True), ("somebody", PASSWORD, False)],
)
def test_wrong_password_unknown_name_and_disabled_user_are_refused_alike(name, password, active):
    sign_up()
    User.objects.update(is_active=active)
    with pytest.raises(InvalidCredentials):
        tokens(name, password)


def test_tokens_name_the_user_and_the_staff():
    user = sign_up()
    User.objects.update(is_staff=True)
    access = AccessToken(tokens()["access"])
    assert (int(access["user_id"]), access["is_staff"]) == (user.pk, True)


def test_refresh_token_is_spent_once():
    sign_up()
    first = tokens()["refresh"]
    second = refresh(first)["refresh"]
    before = everything()
    with pytest.raises(InvalidToken):
        refresh(first)
    assert everything() == before
    assert refresh(second)["access"]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda: accounts.end_sessions(user_id=User.objects.get().pk),
        lambda: User.objects.update(is_active=False),
        lambda: (Wallet.objects.all().delete(), User.objects.all().delete()),
    ],
    ids=["sessions ended", "disabled", "deleted"],
)
def test_refresh_token_dies_with_what_it_stood_for(spoil):
    sign_up()
    token = tokens()["refresh"]
    spoil()
    with pytest.raises(InvalidToken):
        refresh(token)


@pytest.mark.parametrize("token", ["", "x", "a.b.c"])
def test_text_that_is_no_token_is_refused(token):
    with pytest.raises(InvalidToken):
        refresh(token)


def test_access_token_does_not_refresh():
    sign_up()
    with pytest.raises(InvalidToken):
        refresh(tokens()["access"])


def test_refresh_token_spent_by_many_at_once_gives_one_pair():
    sign_up()
    token = tokens()["refresh"]
    outcomes = race(*[partial(refresh, token)] * 8)
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InvalidToken"] * 7 + ["dict"]
    assert BlacklistedToken.objects.count() == 1


def test_second_refresh_waits_for_the_first():
    sign_up()
    token = tokens()["refresh"]
    with holding("shop.auth.spend") as holder:
        first = Running(partial(refresh, token))
        holder.wait()
        second = Running(partial(refresh, token))
        wait_until_blocked(1)
        holder.let_go()
        assert set(first.outcome()) == {"access", "refresh"}
        assert isinstance(second.outcome(), InvalidToken)


def test_control_without_looking_at_the_blacklist_a_token_gives_two_pairs(monkeypatch):
    """The lock alone would only queue the second: what it sees under the lock refuses it."""
    monkeypatch.setattr(auth, "spend", lambda token: token.blacklist())
    sign_up()
    token = tokens()["refresh"]
    with holding("shop.auth.read_refresh") as holder:
        first = Running(partial(refresh, token))
        holder.wait()
        assert set(refresh(token)) == {"access", "refresh"}
        holder.let_go()
        assert set(first.outcome()) == {"access", "refresh"}


def test_password_change_that_comes_first_refuses_the_refresh_that_waits():
    sign_up()
    token = tokens()["refresh"]
    with holding("shop.auth.read_refresh") as holder:
        first = Running(partial(refresh, token))
        holder.wait()
        accounts.end_sessions(user_id=User.objects.get().pk)
        holder.let_go()
        assert isinstance(first.outcome(), InvalidToken)


def test_what_is_over_is_forgotten_piece_by_piece(monkeypatch):
    user = User.objects.get(pk=make_user())
    for _number in range(5):
        auth.tokens_for(user)
    spent = OutstandingToken.objects.earliest("pk")
    BlacklistedToken.objects.create(token=spent)
    past = timezone.now() - timedelta(seconds=1)
    OutstandingToken.objects.filter(pk__in=list(OutstandingToken.objects.values_list("pk", flat=True)[:4])).update(
        expires_at=past
    )
    for number, hours in enumerate((25, 25, 25, 25, 24)):
        made = past - timedelta(hours=hours)
        IdempotencyRecord.objects.create(user_id=user.pk, route="r", key=str(number), fingerprint=b"x", created_at=made)
    monkeypatch.setattr(tasks, "AT_ONCE", 3)
    tasks.flush_spent_tokens()
    tasks.forget_old_keys()
    left = [model.objects.count() for model in (OutstandingToken, BlacklistedToken, IdempotencyRecord)]
    assert left == [1, 0, 1]
