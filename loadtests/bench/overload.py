"""
Does the shop keep its goodput when asked for two and three times what it can do? The shop has one CPU, the load the
others: it would take away the CPU that is measured. First the shop's capacity for the mix of the overload, then the
overload, then the same with admission off, which must fail: else the proof would prove nothing.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from loadtests import phases, verdict
from loadtests.bench import shops
from loadtests.bench.figures import AT_LEAST, AT_MOST, Figure, Part
from loadtests.bench.runs import report_of, wrong_in
from loadtests.bench.shops import Cpus, NotMeasured, Say, line_of
from loadtests.results import Phase, Run
from loadtests.texts import label

SERVER = "gunicorn"  # granian does not tell how long requests waited, so nothing is refused for that
SMALL = {"SHOP_WEB_PROCESSES": "1", "SHOP_WEB_THREADS": "4"}  # one CPU runs one interpreter, half as many threads
OPEN = {"SHOP_ADMISSION": "false"}
SEARCH = ("loadtest", "capacity", "--of", "overload", "--set", "first_rate=200")
ROUGH = ("--duration", "6s", "--set", "precision=0.1")
# Whoever lets everybody wait has everybody waiting at once: k6 then has none left to send, which is part of the answer.
UNBOUNDED = ("--set", "dropped_iterations=10000000")


def cpus_of(available: Sequence[int]) -> Cpus:
    """Return one CPU for the shop and the others for the load. Raises NotMeasured on a machine with one."""
    if len(available) < 2:
        raise NotMeasured("one CPU: a load on the shop's own CPU would take away what is measured; two are needed")
    return Cpus(shop=(available[0],), others=tuple(available[1:]))


def measure(*, quick: bool, directory: Path, say: Say) -> Part:
    """Find the capacity, overload the shop, and overload one that refuses nobody. Raises NotMeasured."""
    cpus = cpus_of(sorted(os.sched_getaffinity(0)))
    search = (*SEARCH, *(ROUGH if quick else ()))
    with shops.shop(say, server=SERVER, cpus=cpus, variables=SMALL) as shop:
        found = report_of(shop, *search[1:], directory=directory / "overload-capacity")
        rate = capacity(found)
        asked = ("loadtest", "overload", "--rate", str(rate), *(("--duration", "96s") if quick else ()))
        run = report_of(shop, *asked[1:], directory=directory / "overload")
    with shops.shop(say, server=SERVER, cpus=cpus, variables=SMALL | OPEN) as shop:
        control = report_of(shop, *asked[1:], *UNBOUNDED, directory=directory / "overload-control")
    return Part(
        name="overload",
        seconds=0,
        figures=[
            Figure(name="capacity on one CPU", measured=float(rate), unit="/s", command=line_of(search)),
            *figures(run, line_of(asked)),
            *control_figures(control, f"SHOP_ADMISSION=false {line_of((*asked, *UNBOUNDED))}"),
        ],
        wrong=[
            *wrong_in(found, "overload, its capacity"),
            *wrong_in(run, "overload"),
            *wrong_in(control, "overload, admission off"),
        ],
    )


def capacity(run: Run) -> int:
    """Return the highest rate that met everything. Raises NotMeasured."""
    rate = max((probe.rate for probe in run.probes if probe.met), default=0)
    if not rate:
        raise NotMeasured("no rate met every objective: there is no capacity to overload")
    return rate


def figures(run: Run, command: str) -> list[Figure]:
    """Return what was achieved at each factor, and every objective of the run with what was measured."""
    good = phases.by_factor(run.phases, _good_per_second)
    of_best = {phase.name: share for phase, share in phases.goodput_shares(run.phases)}
    shares = phases.by_factor(run.phases, lambda phase: of_best[phase.name])
    rows = []
    for factor, share in sorted(shares.items()):
        asked = f"asked for {factor:g}×"
        rows.append(Figure(name=f"{asked}: answered in time", measured=good[factor], unit="/s"))
        rows.append(Figure(name=f"{asked}: share of its round's best goodput", measured=share))
    rows += [
        Figure(name=label(item.name, "en"), measured=item.measured, bound=AT_MOST, limit=item.limit)
        for item in verdict.objectives(run)
        if item.measured is not None
    ]
    return [replace(row, command=command) for row in rows]


def _good_per_second(phase: Phase) -> float:
    return phase.per_second("good")


def control_figures(control: Run, command: str) -> list[Figure]:
    """Return what became of the shop that refuses nobody: held against nothing but that it must miss something."""
    own = phases.measured(control.phases)
    missed = [item.name for item in verdict.objectives(control) if item.name in own and item.met is False]
    rows = [replace(row, bound="", limit=None) for row in figures(control, command)]
    rows.append(
        Figure(name="objectives missed", measured=len(missed), bound=AT_LEAST, limit=1, command=command),
    )
    return [replace(row, name=f"admission off, {row.name}") for row in rows]
