"""Start a shop with scratch data, send it what schemathesis thinks of, look at log and books, stop it."""

import argparse
import json
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import jwt
import psycopg

from config.tests import log_lines
from config.tests.fuzz.running import Persona, Tally, run
from shop.testing_shop import RunningShop, start_shop

DEFAULT_CASES, DEFAULT_SEED = 10_000, 20_261_122
SURPRISES = ("unexpected_error", "unvalidated_input", "item_parked", "process_died_in_batch")
SEED = ("--products=60", "--users=50", "--coupons=10", "--coupon-quantity=1000", "--orders=50", "--balance=1000000")


@contextmanager
def scratch_shop() -> Iterator[tuple[RunningShop, list[Persona]]]:
    """Run a shop whose data are gone afterwards; yield it with those who will send."""
    with tempfile.TemporaryDirectory(prefix="shop-fuzz-") as directory:
        Path(directory).chmod(0o755)  # the engines' account must pass
        # Without limits per user: one customer asks as thousands would.
        shop = start_shop(Path(directory) / "shop", SHOP_LIMIT_ORDERS="off", SHOP_LIMIT_CLAIMS="off")
        try:
            yield shop, _personas(shop, Path(directory) / "tokens.json")
        finally:
            shop.stop()


def _personas(shop: RunningShop, tokens_file: Path) -> list[Persona]:
    """Seed the shop; return a customer, an operator and a stranger."""
    seeded = shop.manage("seed", *SEED, f"--tokens={tokens_file}")
    if seeded.returncode:
        raise SystemExit(seeded.stderr)
    customer, operator, *_others = json.loads(tokens_file.read_text())
    return [
        Persona("customer", customer["access"], customer["user_id"]),
        Persona("operator", _promoted(shop, operator["user_id"]), operator["user_id"]),
        Persona("stranger"),
    ]


def _promoted(shop: RunningShop, user_id: int) -> str:
    """Make a user an operator who may charge others; return their token."""
    with psycopg.connect(shop.database_url) as database:
        database.execute("UPDATE shop_user SET is_staff = true WHERE id = %s", [user_id])
        database.execute(
            "INSERT INTO shop_user_groups (user_id, group_id) SELECT %s, id FROM auth_group WHERE name = 'Finance'",
            [user_id],
        )
    now = int(time.time())
    claims = {"token_type": "access", "exp": now + 86_400, "iat": now, "jti": uuid.uuid4().hex, "user_id": user_id}
    return jwt.encode(claims | {"is_staff": True}, shop.services["SHOP_JWT_KEY"], algorithm="HS256")


def fuzz(shop: RunningShop, personas: list[Persona], *, cases: int, seed: int) -> Tally:
    """Let the customer send most; systematic cases come on top of the random ones."""
    tally = Tally()
    for persona in personas:
        examples = max(1, cases // (30 if persona.name == "customer" else 120))
        tally.add(run(shop.base_url, persona, examples=examples, seed=seed))
    if tally.total < cases:
        tally.findings.append(f"only {tally.total} of {cases} cases were sent")
    return tally


def aftermath(shop: RunningShop) -> list[str]:
    """Return what the shop's log and books have to say against the run."""
    audit = shop.manage("audit", "--wait", "60")
    log = shop.log.read_text(errors="replace")
    found = [line for line in log.split("\n") if any(event in line for event in SURPRISES)]
    return found + log_lines.faults(log) + ([audit.stdout + audit.stderr] if audit.returncode else [])


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=DEFAULT_CASES, help="fail when fewer were sent")
    parser.add_argument("--seed", type=int, default=DEFAULT_SEED)
    chosen = parser.parse_args()
    began = time.monotonic()
    with scratch_shop() as (shop, personas):
        tally = fuzz(shop, personas, cases=chosen.cases, seed=chosen.seed)
        tally.findings += aftermath(shop)
    said = [*tally.findings, *tally.lines(), f"seed {chosen.seed}, {time.monotonic() - began:.0f} s"]
    sys.stdout.write("\n".join(said) + "\n")
    return 1 if tally.findings else 0


if __name__ == "__main__":
    sys.exit(main())
