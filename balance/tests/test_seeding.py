"""The wallets of seeded users."""

from datetime import UTC, datetime

import pytest

from balance.models import Transfer, Wallet
from shop.seeding import Wish, seed

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.mark.django_db
@pytest.mark.parametrize(("balance", "charges"), [(5_000, 3), (0, 0)])
def test_each_user_has_a_wallet_charged_with_the_opening_balance(balance, charges):
    blocks = seed(wish=Wish(counts={"users": 3}, options={"balance": balance}), now=NOW, progress=lambda *_: None)

    wallets = Wallet.objects.order_by("user_id").values_list("user_id", "balance")
    assert list(wallets) == [(user_id, balance) for user_id in blocks["users"]]
    assert Transfer.objects.filter(kind="charge", amount=balance, balance_after=balance).count() == charges
    assert Transfer.objects.count() == charges
