"""What ends a user's sessions, whoever does it; and that an access token ends with them, at no cost to a request."""

import math
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.db import OperationalError, connection
from django.test import RequestFactory
from django.utils import timezone

from shop import accounts, auth, db, pulse, revocations
from shop.errors import InvalidToken
from shop.models import User
from shop.postgresql.turnstile import Turnstile

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(revocations, "_first_good", {})
    monkeypatch.setattr(auth, "_verified", {})


@pytest.fixture
def user():
    return accounts.sign_up(username="somebody", password=PASSWORD, now=timezone.now())


def access(user):
    return auth.tokens_for(User.objects.get(pk=user.pk))["access"]


def caller(token):
    return auth.caller_of(RequestFactory().get("/", headers={"authorization": f"Bearer {token}"}))


def is_good(token):
    try:
        return bool(caller(token))
    except InvalidToken:
        return False


def raw(statement):
    return lambda user: db.rows(f"UPDATE shop_user SET {statement} WHERE id = %s", [user.pk])  # noqa: S608 - our own


def save(**values):
    def change(user):
        found = User.objects.get(pk=user.pk)
        for name, value in values.items():
            setattr(found, name, value)
        found.save()

    return change


ENDING = {
    "disabled in the database": raw("is_active = false"),
    "disabled by a form": save(is_active=False),
    "new password in the database": raw("password = 'x'"),
    "new password by a form": save(password="x"),
    "no staff any more": raw("is_staff = false"),
    "sessions ended": lambda user: accounts.end_sessions(user_id=user.pk),
}
NOT_ENDING = {
    "made staff": raw("is_staff = true, is_superuser = true"),
    "signed in": save(last_login=timezone.now()),
    "new name": save(first_name="Kim"),
    "nothing": raw("password = password"),
}


@pytest.mark.parametrize("what", ENDING)
def test_an_access_token_ends_with_the_sessions(user, what):
    User.objects.update(is_staff=True)
    token = access(user)
    assert is_good(token)
    ENDING[what](user)
    revocations.refresh()
    assert not is_good(token)
    if User.objects.get(pk=user.pk).is_active:
        assert is_good(access(user))


@pytest.mark.parametrize("what", NOT_ENDING)
def test_other_changes_end_nothing(user, what):
    token = access(user)
    NOT_ENDING[what](user)
    revocations.refresh()
    assert is_good(token)
    assert User.objects.values_list("token_generation", "sessions_ended_at").get() == (0, None)


def test_control_without_the_trigger_a_stolen_password_stays_good(user):
    db.rows("DROP TRIGGER user_end_sessions ON shop_user")
    token = access(user)
    ENDING["new password by a form"](user)
    revocations.refresh()
    assert is_good(token)


def test_control_without_the_list_a_disabled_user_goes_on(user, monkeypatch):
    monkeypatch.setattr(revocations, "first_good_generation", lambda user_id: 0)
    token = access(user)
    ENDING["disabled by a form"](user)
    revocations.refresh()
    assert is_good(token)


def test_a_stale_copy_does_not_bring_ended_sessions_back(user):
    stale = User.objects.get(pk=user.pk)
    accounts.end_sessions(user_id=user.pk)
    stale.save()
    assert User.objects.get(pk=user.pk).token_generation == 1


def test_other_users_go_on(user):
    other = accounts.sign_up(username="other", password=PASSWORD, now=timezone.now())
    token = access(other)
    accounts.end_sessions(user_id=user.pk)
    revocations.refresh()
    assert is_good(token)


def test_a_disabled_user_who_comes_back_needs_new_tokens(user):
    token = access(user)
    save(is_active=False)(user)
    save(is_active=True)(user)
    revocations.refresh()
    assert (is_good(token), is_good(access(user))) == (False, True)


def test_later_looks_add_and_the_first_one_forgets(user):
    accounts.end_sessions(user_id=user.pk)
    revocations.refresh(since=timedelta(seconds=60))
    assert revocations.first_good_generation(user.pk) == 1
    db.rows("ALTER TABLE shop_user DISABLE TRIGGER user_end_sessions")
    db.rows("UPDATE shop_user SET sessions_ended_at = clock_timestamp() - %s", [timedelta(hours=26)])
    revocations.refresh(since=timedelta(seconds=60))
    assert revocations.first_good_generation(user.pk) == 1
    revocations.refresh()
    assert revocations.first_good_generation(user.pk) == 0


def test_the_list_is_read_through_its_index():
    db.rows("SET LOCAL enable_seqscan = off")
    plan = db.rows("EXPLAIN SELECT id FROM shop_user WHERE sessions_ended_at > clock_timestamp() - interval '60 s'")
    assert "user_sessions_ended" in str(plan)


def test_a_request_asks_nobody(user, django_assert_num_queries):
    token = access(user)
    with django_assert_num_queries(0):
        assert is_good(token)
        assert is_good(token)


def test_a_token_that_was_good_expires_all_the_same(user, time_machine):
    time_machine.move_to(timezone.now(), tick=False)
    token = access(user)
    assert is_good(token)
    time_machine.shift(timedelta(minutes=15, seconds=-1))
    assert is_good(token)
    time_machine.shift(timedelta(seconds=1))
    assert not is_good(token)


def test_remembered_tokens_are_bounded(user, monkeypatch):
    monkeypatch.setattr(auth, "VERIFIED_LIMIT", 3)
    assert [is_good(access(user)) for _ in range(10)] == [True] * 10
    assert len(auth._verified) <= 3


def test_a_password_stored_under_a_newer_hash_at_login_gives_good_tokens(user, monkeypatch):
    weak = {"argon2id": {"memory_cost": 8}}
    db.rows("UPDATE shop_user SET password = %s", [old_hash(weak, monkeypatch)])
    tokens = accounts.obtain_tokens(username="somebody", password=PASSWORD)
    assert User.objects.get().token_generation == 2
    revocations.refresh()
    assert is_good(tokens["access"])
    assert accounts.refresh_tokens(refresh=tokens["refresh"])


def old_hash(weak, monkeypatch):
    with monkeypatch.context() as before:
        before.setattr("shop.passwords.Argon2id.memory_cost", weak["argon2id"]["memory_cost"])
        return make_password(PASSWORD)


def test_what_was_missed_while_the_database_was_away_is_read_later(monkeypatch):
    asked = []

    def refresh(*, since):
        asked.append(since)
        if len(asked) == 1:
            raise OperationalError

    monkeypatch.setattr(revocations, "refresh", refresh)
    monkeypatch.setattr(revocations, "_read_at", -math.inf)
    monkeypatch.setattr(revocations, "_read_anew_at", -math.inf)
    with pytest.raises(OperationalError):
        revocations.look()
    revocations.look()
    revocations.look()
    assert asked[:2] == [revocations.REMEMBERED] * 2
    assert revocations.OVERLAP <= asked[2] < revocations.OVERLAP + timedelta(seconds=5)


def test_the_list_does_not_queue_with_the_requests(user, monkeypatch):
    """All places of the process are taken, as in a lock storm; the list is read all the same."""

    def read():
        pulse._connect()
        full = Turnstile(places=1)
        full.inside["a request that waits for a row"] = 0.0
        connection.connection.turnstile = full
        pulse._connect()
        revocations.refresh()
        return revocations.first_good_generation(user_id)

    user_id = user.pk
    accounts.end_sessions(user_id=user_id)
    monkeypatch.setattr(pulse, "close_old_connections", lambda: None)
    monkeypatch.setattr(connection.connection, "turnstile", connection.connection.turnstile)
    assert read() == 1


def test_control_who_queues_with_the_requests_is_refused(monkeypatch):
    full = Turnstile(places=1)
    full.inside["a request that waits for a row"] = 0.0
    monkeypatch.setattr(connection.connection, "turnstile", full)
    full.inside.pop(connection.connection, None)
    with pytest.raises(OperationalError, match="every place"):
        revocations.refresh()
