"""Bulk demo data, generated inside PostgreSQL: a million of each kind in a few minutes."""

import json
import os
import sys
import time
from argparse import ArgumentTypeError
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO

from django.conf import settings
from django.core.management.base import CommandParser
from django.db import connection
from django.utils import timezone

from shop.auth import access_token_for
from shop.commands import CommandFailed, Exit, ShopCommand
from shop.seeding import CannotSeed, Wish, check, seed, tidy

LARGEST = 20_000_000  # rows of one kind; more than any disk this is meant for
LARGEST_BALANCE = 1_000_000_000  # API.md "Balance": the wallet's limit
TOKEN_LIFETIME = timedelta(days=1)  # API.md "Commands"


def whole_number(largest: int) -> Callable[[str], int]:
    """Return an argument type: 0 .. largest, with `_` or `,` between thousands if you like."""

    def parse(text: str) -> int:
        digits = text.replace(",", "").replace("_", "")
        if not digits.isascii() or not digits.isdigit() or int(digits) > largest:
            raise ArgumentTypeError(f"{text!r} is not a whole number from 0 to {largest:,}")
        return int(digits)

    return parse


class Command(ShopCommand):
    help = "Add demo data: users with wallets, products with stock, open coupon campaigns, settled orders."
    examples = """
  python manage.py seed --products 1000 --users 1000 --coupons 2 --orders 5000
  python manage.py seed --users 10000 --tokens tokens.json      access tokens for a load test
  python manage.py seed --products 1000000 --users 1000000 --orders 1000000
"""

    def add_options(self, parser: CommandParser) -> None:
        count, money = whole_number(LARGEST), whole_number(LARGEST_BALANCE)
        add = parser.add_argument
        add("--products", type=count, default=0, metavar="N", help="products with stock")
        add("--users", type=count, default=0, metavar="N", help="users with a wallet (user0000001, …; no password)")
        add("--coupons", type=count, default=0, metavar="N", help="coupon campaigns, open now for 30 days")
        add("--coupon-quantity", type=count, default=100, metavar="N", help="coupons per campaign (default: 100)")
        add("--orders", type=count, default=0, metavar="N", help="settled orders of the last 90 days")
        add("--balance", type=money, default=1_000_000, metavar="N", help="opening balance (default: 1000000)")
        add("--stock", type=money, metavar="N", help="first stock per product (default: 100 to 10000, by product)")
        add("--seed", type=whole_number(1_000_000), default=1, metavar="N", help="other dice, other data (default: 1)")
        add("--tokens", type=Path, metavar="FILE", help="write access tokens, good for a day, of the users added")
        add("--dry-run", action="store_true", help="say what would be added and change nothing")

    def run(self, **options: Any) -> None:
        wish = Wish(
            counts={name: options[name] for name in ("users", "products", "coupons", "orders")},
            options={name: options[name] for name in ("balance", "stock", "coupon_quantity")},
            seed=options["seed"],
        )
        if not any(wish.counts.values()):
            raise CommandFailed("nothing to add: see python manage.py seed --help", exit_code=Exit.USAGE)
        with self._refusals():
            check(wish)
        if options["dry_run"]:
            connection.ensure_connection()
            self.stdout.write(f"would add {in_words(wish.counts)}")
            return
        began = time.monotonic()
        with ExitStack() as stack:  # opened first: who learns after minutes that it cannot be written has no tokens
            out = stack.enter_context(open_for_tokens(options["tokens"])) if options["tokens"] else None
            blocks = self._load(wish)
            if out:
                self._write_tokens(out, blocks.get("users", range(0)))
        seconds = time.monotonic() - began
        self.stdout.write(f"added {in_words(wish.counts)} in {seconds:.1f} s; next: python manage.py audit")

    @contextmanager
    def _refusals(self) -> Iterator[None]:
        try:
            yield
        except CannotSeed as error:
            raise CommandFailed(str(error), exit_code=Exit.USAGE) from error

    def _load(self, wish: Wish) -> dict[str, range]:
        with Bars(self) as bars:
            with self._refusals():
                blocks = seed(wish=wish, now=timezone.now(), progress=bars)
            tidy(bars)
        return blocks

    def _write_tokens(self, out: TextIO, user_ids: range) -> None:
        """Write one user a line: a million tokens are 250 MB and need not be in memory."""
        with self.progress("tokens", len(user_ids)) as advance:
            out.write("[")
            for position, user_id in enumerate(user_ids):
                token = {"user_id": user_id, "access": access_token_for(user_id=user_id, lifetime=TOKEN_LIFETIME)}
                out.write((",\n" if position else "\n") + json.dumps(token))
                advance(1)
            out.write("\n]\n")


class Bars:
    """One progress bar after the other on a terminal, one line per kind of row otherwise; always on stderr."""

    def __init__(self, command: ShopCommand) -> None:
        self.command, self.stack = command, ExitStack()
        self.name, self.done, self.began = "", 0, 0.0

    def __enter__(self) -> "Bars":
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def __call__(self, name: str, done: int, total: int) -> None:
        if name != self.name:
            self.stack.close()
            self.advance = self.stack.enter_context(self.command.progress(name, total))
            self.name, self.done, self.began = name, 0, time.monotonic()
        self.advance(done - self.done)
        self.done = done
        if done == total and not sys.stderr.isatty():
            self.command.stderr.write(f"{name}: {total:,} in {time.monotonic() - self.began:.1f} s")


def open_for_tokens(file: Path) -> TextIO:
    """
    Open a file only its owner may read: tokens are as good as passwords for a day.

    Raises: CommandFailed where it cannot be written, or where no part of the shop knows the key they are signed with.
    """
    if settings.WEAK_KEYS["SHOP_JWT_KEY"]:
        message = "tokens need the key the shop signs with: set SHOP_JWT_KEY, or start `python manage.py up`"
        raise CommandFailed(message, exit_code=Exit.USAGE)
    try:
        out = open(file, "w", opener=private, encoding="utf-8")  # noqa: SIM115 - the caller closes it
        if file.is_file():  # and no device
            os.fchmod(out.fileno(), 0o600)  # it may have been there, open to others
    except OSError as error:
        raise CommandFailed(f"cannot write {file}: {error.strerror}", exit_code=Exit.USAGE) from error
    return out


def private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def in_words(counts: Mapping[str, int]) -> str:
    """Return `1,000 users, 20 products`."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
