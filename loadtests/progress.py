"""The live line of a run: rewritten in place on a terminal, one line each ten seconds elsewhere."""

import time
from typing import TextIO

from loadtests.results import Sample
from loadtests.scenarios import Plan

QUIET_SECONDS = 10.0


class LiveLine:
    """What happens now, on one line of stderr."""

    def __init__(self, out: TextIO) -> None:
        self.out = out
        self.is_terminal = out.isatty()
        self._shown_at = 0.0

    def show(self, text: str) -> None:
        """Show a state that the next one replaces."""
        if self.is_terminal:
            self.out.write(f"\r\x1b[2K{text}")
        elif time.monotonic() - self._shown_at >= QUIET_SECONDS:
            self._shown_at = time.monotonic()
            self.out.write(f"{text}\n")
        self.out.flush()

    def say(self, text: str) -> None:
        """Leave a line that stays."""
        self.out.write(f"\r\x1b[2K{text}\n" if self.is_terminal else f"{text}\n")
        self.out.flush()


def line_of(plan: Plan, seconds: float, sample: Sample | None) -> str:
    """Return `load 01:23/05:00  748/s of 750  p95 41 ms …`."""
    clock = f"{_clock(min(seconds, plan.seconds))}/{_clock(plan.seconds)}"
    if sample is None or "tps" not in sample.values:
        return f"{plan.scenario} {clock}  k6 is making its {plan.virtual_users:,} users"
    values = sample.values
    parts = [
        f"{plan.scenario} {clock}",
        f"{values['tps']:,.0f}/s",
        f"p95 {values['p95']:,.0f} ms" if "p95" in values else "",
        f"busy VUs {values['vus']:.0f}",
        f"CPU {values['cpu_machine']:.1f}" if "cpu_machine" in values else "",
        f"orders waiting {values.get('orders_waiting', 0):.0f}",
        f"claims waiting {values.get('claims_waiting', 0):.0f}",
        f"UNEXPECTED {values['unexpected']:.0f}" if values.get("unexpected") else "",
        f"DROPPED {values['dropped']:.0f}" if values.get("dropped") else "",
    ]
    return "  ".join(part for part in parts if part)


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60:02d}:{int(seconds) % 60:02d}"
