"""The command, the demo shop, and the block of ids a run takes."""

import json
from datetime import UTC, datetime

import pytest
from django.core.management import call_command
from rest_framework_simplejwt.tokens import AccessToken

from balance.models import Wallet
from catalog.models import Product
from coupons.models import Campaign
from shop import db, seeding
from shop.commands import CommandFailed, Exit
from shop.invariants import find_violations
from shop.models import User

NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)


@pytest.fixture
def untidied(monkeypatch):
    """VACUUM cannot run in the transaction of a test; test_seed_in_two_lanes runs it."""
    monkeypatch.setattr("shop.management.commands.seed.tidy", lambda progress: None)


@pytest.mark.django_db
@pytest.mark.usefixtures("untidied")
def test_seed_command_reports_and_writes_tokens_only_their_owner_can_read(tmp_path, capsys, settings):
    settings.WEAK_KEYS = {"SHOP_JWT_KEY": ""}
    file = tmp_path / "tokens.json"
    file.touch(mode=0o644)  # also one that was there
    call_command("seed", "--users", "3", "--products=1,000", "--tokens", str(file))

    out = capsys.readouterr()
    assert out.out.startswith("added 3 users, 1,000 products in ")
    assert out.out.endswith("; next: python manage.py audit\n")
    assert [line.partition(" in ")[0] for line in out.err.splitlines()] == ["users: 3", "products: 1,000"]
    tokens = json.loads(file.read_text())
    assert [token["user_id"] for token in tokens] == list(User.objects.order_by("pk").values_list("pk", flat=True))
    claims = AccessToken(tokens[0]["access"])
    assert (int(claims["user_id"]), claims["exp"] - claims["iat"]) == (tokens[0]["user_id"], 86_400)
    assert file.stat().st_mode & 0o777 == 0o600


@pytest.mark.django_db
def test_seed_dry_run_changes_nothing(capsys):
    call_command("seed", "--users", "3", "--dry-run")
    assert capsys.readouterr().out == "would add 3 users\n"
    assert User.objects.count() == 0


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [[], ["--orders", "5"]])
def test_seed_of_nothing_or_of_orders_alone_is_a_usage_error(arguments):
    with pytest.raises(CommandFailed) as failure:
        call_command("seed", *arguments)
    assert failure.value.exit_code == Exit.USAGE


@pytest.mark.django_db
def test_seeded_users_have_no_password():
    seeding.seed(wish=seeding.Wish(counts={"users": 1}), now=NOW, progress=lambda *_: None)
    user = User.objects.get()
    assert user.username == "user0000001"
    assert not user.has_usable_password()
    assert user.is_active
    assert not user.is_staff


@pytest.mark.django_db
def test_seed_demo_fills_an_empty_shop_once():
    first = {"demo_password": "first-secret", "operator_password": "other-secret"}
    assert seeding.seed_demo(**first, now=NOW)
    assert not seeding.seed_demo(**dict.fromkeys(first, "changed"), now=NOW)

    demo, operator = User.objects.get(username="demo"), User.objects.get(username="operator")
    assert demo.check_password("first-secret")
    assert operator.check_password("other-secret")
    assert (demo.is_superuser, operator.is_superuser, operator.is_staff) == (False, True, True)
    assert dict(Wallet.objects.values_list("user__username", "balance")) == {"demo": 1_000_000, "operator": 0}
    assert Product.objects.count() == 200
    assert sorted(Campaign.objects.values_list("discount_type", "total_quantity")) == [
        ("fixed", 500),
        ("fixed", 1_000),
        ("percent", 100),
    ]
    assert Campaign.objects.filter(opens_at__gt=NOW).count() == 1
    assert find_violations(drained=True) == []


@pytest.mark.django_db
def test_reserved_ids_are_a_block_nobody_else_gets():
    block = seeding.reserve_ids("shop_user", 10)
    after = User.objects.create_user("someone", password=None)
    assert len(block) == 10
    assert after.pk == block.stop
    assert seeding.reserve_ids("shop_user", 1) == range(after.pk + 1, after.pk + 2)
    assert db.rows("SELECT count(*) FROM shop_user") == [(1,)]


@pytest.mark.django_db
def test_tokens_that_cannot_be_written_or_used_are_refused_before_anything_is_added(tmp_path, settings):
    settings.WEAK_KEYS = {"SHOP_JWT_KEY": ""}
    with pytest.raises(CommandFailed, match=r"cannot write .*/nowhere/tokens.json: No such file"):
        call_command("seed", "--users", "1", "--tokens", str(tmp_path / "nowhere" / "tokens.json"))
    settings.WEAK_KEYS = {"SHOP_JWT_KEY": "missing"}
    with pytest.raises(CommandFailed, match="tokens need the key the shop signs with"):
        call_command("seed", "--users", "1", "--tokens", str(tmp_path / "tokens.json"))
    assert not User.objects.exists()


@pytest.mark.django_db
def test_dry_run_refuses_what_the_run_would():
    with pytest.raises(CommandFailed):
        call_command("seed", "--orders", "10", "--dry-run")
