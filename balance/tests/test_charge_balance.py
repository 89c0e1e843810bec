"""Charging a wallet: what changes, what never does, and what a repeated key answers."""

import pytest
from django.utils import timezone

from balance import flows, operations
from balance.errors import BalanceLimitExceeded, InsufficientBalance
from balance.models import HOUSE_CASH_ID, Transfer, Wallet
from config.tests.building import (
    assert_sound,
    balance_of,
    charge,
    everything,
    make_key,
    make_operator,
    make_user,
)
from shop import db, idempotency
from shop.errors import IdempotencyKeyInFlight, IdempotencyKeyReused, UserNotFound
from shop.idempotency import lock_of
from shop.models import IdempotencyRecord
from shop.testing import Running, holding, race, wait_until_blocked

pytestmark = pytest.mark.usefixtures("committed_db")


def keyed(user_id, amount, *, body="", key="one"):
    now = timezone.now()
    return flows.charge_balance(user_id=user_id, amount=amount, key=make_key(user_id, body=body, key=key), now=now)


def test_charge_moves_the_amount_from_house_cash_into_the_wallet():
    user_id, now = make_user(), timezone.now()
    charged = flows.charge_balance(user_id=user_id, amount=700, key=None, now=now)

    transfer = Transfer.objects.get()
    wallet = Wallet.objects.get(user_id=user_id)
    assert charged == operations.Charged(transfer_id=transfer.pk, user_id=user_id, amount=700, balance=700)
    assert (transfer.kind, transfer.amount, transfer.balance_after, transfer.order_id) == ("charge", 700, 700, None)
    assert (transfer.debit_account_id, transfer.credit_account_id) == (HOUSE_CASH_ID, wallet.account_id)
    assert (wallet.balance, wallet.updated_at, transfer.created_at) == (700, now, now)
    assert_sound()


def test_charges_without_a_key_each_count():
    user_id = make_user()
    for amount in (100, 20, 3):
        charge(user_id, amount)
    assert list(Transfer.objects.order_by("pk").values_list("amount", "balance_after")) == [
        (100, 100),
        (20, 120),
        (3, 123),
    ]
    assert_sound()


def test_charge_up_to_the_limit_passes_and_one_more_changes_nothing():
    user_id = make_user(balance=operations.WALLET_LIMIT - 5)
    charge(user_id, 5)
    before = everything()
    with pytest.raises(BalanceLimitExceeded) as refusal:
        charge(user_id, 1)
    assert refusal.value.facts() == {"limit": operations.WALLET_LIMIT}
    assert everything() == before


def test_charge_of_nobody_changes_nothing():
    before = everything()
    with pytest.raises(UserNotFound):
        charge(987_654, 1)
    assert everything() == before


def test_same_key_answers_the_same_and_charges_once():
    user_id = make_user()
    first, again = keyed(user_id, 700), keyed(user_id, 700)
    assert first == again
    assert (balance_of(user_id), Transfer.objects.count(), IdempotencyRecord.objects.count()) == (700, 1, 1)


def test_same_key_with_another_request_is_refused_and_changes_nothing():
    user_id = make_user()
    keyed(user_id, 700, body="700")
    before = everything()
    with pytest.raises(IdempotencyKeyReused):
        keyed(user_id, 800, body="800")
    assert everything() == before


def test_a_refusal_is_remembered_even_when_it_would_pass_later():
    user_id = make_user(balance=operations.WALLET_LIMIT)
    before = everything(but=["shop_idempotencyrecord"])
    with pytest.raises(BalanceLimitExceeded):
        keyed(user_id, 1)
    assert everything(but=["shop_idempotencyrecord"]) == before
    flows.adjust_balance(user_id=user_id, amount=-10, reason="room", operator_id=make_operator(), now=timezone.now())
    with pytest.raises(BalanceLimitExceeded) as again:
        keyed(user_id, 1)
    assert again.value.facts() == {"limit": operations.WALLET_LIMIT}
    assert balance_of(user_id) == operations.WALLET_LIMIT - 10


@pytest.mark.parametrize("amount", [250, -250])
def test_adjustment_moves_either_way(amount):
    user_id = make_user(balance=1_000)
    flows.adjust_balance(
        user_id=user_id, amount=amount, reason="a mistake", operator_id=make_operator(), now=timezone.now()
    )
    transfer = Transfer.objects.get(kind="adjustment")
    assert (transfer.amount, transfer.balance_after, transfer.reason) == (250, 1_000 + amount, "a mistake")
    assert_sound()


def test_adjustment_below_zero_changes_nothing():
    user_id = make_user(balance=1_000)
    operator_id, now = make_operator(), timezone.now()
    before = everything()
    with pytest.raises(InsufficientBalance):
        flows.adjust_balance(user_id=user_id, amount=-1_001, reason="too much", operator_id=operator_id, now=now)
    assert everything() == before


# --- at once --------------------------------------------------------------------------------------------------------


def test_charges_at_once_all_count():
    user_id = make_user()
    outcomes = race(*[lambda: charge(user_id, 10)] * 12)
    assert outcomes == [None] * 12
    assert sorted(Transfer.objects.values_list("balance_after", flat=True)) == list(range(10, 121, 10))
    assert_sound()


def adjust(user_id, amount):
    return flows.adjust_balance(
        user_id=user_id, amount=amount, reason="race", operator_id=make_operator(), now=timezone.now()
    )


def test_two_adjustments_at_once_wait_for_each_other():
    user_id = make_user(balance=1_000)
    with holding("balance.operations.lock_wallets") as holder:
        first = Running(lambda: adjust(user_id, -600))
        holder.wait()
        second = Running(lambda: adjust(user_id, -600))
        wait_until_blocked(1)
        holder.let_go()
        assert isinstance(first.outcome(), int)
        assert isinstance(second.outcome(), InsufficientBalance)
    assert balance_of(user_id) == 400
    assert_sound()


def test_control_without_the_wallet_lock_two_adjustments_spend_the_same_balance(monkeypatch):
    def look(user_ids):
        rows = db.rows(
            "SELECT user_id, account_id, balance, ctid FROM balance_wallet WHERE user_id = ANY(%s)", [user_ids]
        )
        return {user_id: operations.LockedWallet(*wallet) for user_id, *wallet in rows}

    user_id = make_user(balance=1_000)
    monkeypatch.setattr(operations, "lock_wallets", look)
    with holding("balance.operations.lock_wallets") as holder:
        first = Running(lambda: adjust(user_id, -600))
        holder.wait()
        assert isinstance(adjust(user_id, -600), int)
        holder.let_go()
        outcome = first.outcome()
    assert isinstance(outcome, RuntimeError)  # only its place stood between these two
    assert str(outcome) == "1 of 1 rows of balance_wallet are not where they were locked"
    assert balance_of(user_id) == 400
    assert_sound()


def test_one_key_forty_times_at_once_charges_once():
    user_id = make_user()
    outcomes = race(*[lambda: keyed(user_id, 700)] * 40)
    answers = {outcome for outcome in outcomes if not isinstance(outcome, Exception)}
    assert len(answers) == 1
    refused = {type(outcome) for outcome in outcomes if isinstance(outcome, Exception)}
    assert refused <= {IdempotencyKeyInFlight}
    assert keyed(user_id, 700) == answers.pop()
    assert (balance_of(user_id), Transfer.objects.count()) == (700, 1)
    assert_sound()


def test_a_key_in_flight_is_said_at_once_and_is_free_after_a_crash():
    user_id = make_user()
    with holding("balance.operations.charge") as holder:
        first = Running(lambda: keyed(user_id, 700))
        holder.wait()
        with pytest.raises(IdempotencyKeyInFlight):
            keyed(user_id, 700)
        db.rows(  # of this database alone: others on the server belong to tests that run at the same time
            """
            SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND pid <> pg_backend_pid()
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
            """
        )
        holder.let_go()
        assert isinstance(first.outcome(), db.TROUBLE)
    assert balance_of(user_id) == 0
    assert keyed(user_id, 700).balance == 700


def overtaken_without_the_lock(monkeypatch, user_id):
    """Charge under one key twice at once, with no lock on it; return what became of the one that was overtaken."""
    monkeypatch.setattr("shop.idempotency.LOCK", "SELECT true")
    with holding("shop.idempotency.take") as holder:
        first = Running(lambda: keyed(user_id, 700))
        holder.wait()
        assert keyed(user_id, 700).balance == 700
        holder.let_go()
        return first.outcome()


def test_two_processes_that_do_not_know_each_others_lock_charge_once(monkeypatch, lock_recorder):
    """A release before this one, or another secret key: the record itself says that somebody was faster."""
    user_id = make_user()
    assert isinstance(overtaken_without_the_lock(monkeypatch, user_id), IdempotencyKeyInFlight)
    assert (balance_of(user_id), Transfer.objects.count()) == (700, 1)
    lock_recorder.violations.clear()


def test_control_without_the_key_lock_one_key_charges_twice(monkeypatch, lock_recorder):
    monkeypatch.setattr("shop.idempotency.REFUSE", idempotency.REPLACE)
    assert overtaken_without_the_lock(monkeypatch, make_user()).balance == 1_400
    assert Transfer.objects.count() == 2
    assert len(lock_recorder.violations) == 2
    lock_recorder.violations.clear()


def test_no_client_can_compute_the_lock_of_a_key(settings):
    """The pipeline's locks are numbers of the same kind: a key that hits one would keep its stage waiting."""
    key = make_key(7)
    first = lock_of(key)
    settings.SECRET_KEY = "another"
    assert lock_of(key) != first
