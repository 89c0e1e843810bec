"""What a customer is told, and how long anybody waits before being told no."""

from dataclasses import dataclass

PATIENCE_SECONDS = 5.0
"""One patience for all: the wait time of the Redis locks, PostgreSQL's lock_timeout, the budget of optimistic retries.
Five seconds is the wait time Redisson aspects of this kind carry (docs/lock-lab.md)."""

PAID, ACCEPTED = "paid", "accepted"
OUT_OF_STOCK, COUPON_USED, NO_MONEY = "out_of_stock", "coupon_used", "no_money"
REFUSALS = (OUT_OF_STOCK, COUPON_USED, NO_MONEY)  # as designed: the order is settled
TIMED_OUT, DEADLOCK, GAVE_UP = "timed_out", "deadlock", "gave_up"
FAILURES = (TIMED_OUT, DEADLOCK, GAVE_UP)  # the strategy's own: nothing was sold


@dataclass(frozen=True, slots=True)
class Answer:
    """
    `retries` are attempts that had to begin again; `waited_seconds` went by in the queue for a Redis lock;
    `leases_lost` are locks that were not the order's own any more when its transaction had ended.
    """

    said: str
    retries: int = 0
    waited_seconds: float = 0.0
    leases_lost: int = 0


@dataclass(frozen=True, slots=True)
class Timed:
    """One order's answer with its moments by time.monotonic(), which all processes of a machine share."""

    number: int
    answer: Answer
    began: float
    ended: float
