"""The report's evidence: charts, steps, bottleneck, reconciliation, audit, conditions."""

from loadtests import bottleneck, sections_phases
from loadtests.charts import Chart, Line, clock, drawn
from loadtests.document import Block, Bullets, Code, Figures, Heading, Table, Text, plain, precise, whole
from loadtests.outcomes import percentile
from loadtests.results import Probe, Run, Sample, Saturation, highest, series
from loadtests.texts import label, labels, say, text, words

STATES = {"agrees": "good", "differs": "odd", "lost": "bad"}
HIDDEN_NUMBERS = ("mix", "base_url")


# --- charts ---------------------------------------------------------------------------------------------------------


def over_time(run: Run, language: str) -> list[Block]:
    """Everything that was sampled each second."""
    if len(run.samples) < 2:
        return []
    charts = [
        _rates(run, language),
        _latencies(run, language),
        _by_part(run, "cpu", language),
        _by_part(run, "memory", language),
        _chart(run, "connections", ["connections", "active"], language),
        _chart(run, "waits", ["lock_waits"], language, at_least=4),
        _chart(run, "queues", ["orders_waiting", "claims_waiting", "messages"], language, at_least=10),
        _oldest(run, language),
        _chart(run, "vus", ["vus"], language, at_least=10),
        _chart(run, "wait", ["wait_k6"], language, at_least=4),
    ]
    return [Heading(label("over_time", language)), Figures([chart for chart in charts if drawn(chart)])]


def _chart(run: Run, name: str, names: list[str], language: str, *, at_least: float = 0.0) -> Chart:
    lines = [Line(label=label(item, language), points=series(run.samples, item)) for item in names]
    return Chart(title=label(f"chart_{name}", language), lines=lines, at_least=at_least)


def _rates(run: Run, language: str) -> Chart:
    asked = [(sample.at, _asked(run, sample.at)) for sample in run.samples if sample.at <= run.plan["duration_s"]]
    odd = [(at, count) for at, count in series(run.samples, "unexpected") if count]
    return Chart(
        title=label("chart_tps", language),
        lines=[
            Line(label=label("asked", language), points=asked, style="asked"),
            Line(label=label("answered", language), points=series(run.samples, "tps"), style="c1"),
            Line(label=label("unexpected_now", language), points=odd, style="c4"),
        ],
        marks=[(item.at, resource_label(item.resource, language)) for item in run.saturations[:1]],
    )


def _asked(run: Run, second: float) -> float:
    """The planned rate (as in scenarios.Plan; a report may be drawn when the plan's defaults have changed)."""
    if run.phases:
        return sections_phases.asked_at(run, second)
    rate, ramp, steps = (float(run.plan[name]) for name in ("rate", "ramp_s", "steps"))
    if ramp and second < ramp:
        return rate / steps * second / ramp
    length = (float(run.plan["duration_s"]) - ramp) / steps
    return rate * min(steps, 1 + (second - ramp) // length) / steps


def _latencies(run: Run, language: str) -> Chart:
    lines = [Line(label=name, points=series(run.samples, name)) for name in ("p50", "p95", "p99")]
    limit = float(run.objectives["p95_ms"])
    return Chart(title=label("chart_latency", language), lines=lines, limit=limit, at_least=20)


def _by_part(run: Run, kind: str, language: str) -> Chart:
    named = [(part, series(run.samples, f"{kind}_{part}")) for part in bottleneck.PARTS]
    lines = [
        Line(label=label(part, language), points=points if _worth_a_line(points) else []) for part, points in named
    ]
    if kind == "memory":
        return Chart(title=label("chart_memory", language), lines=lines)
    whole_machine = Line(label=label("machine", language), points=series(run.samples, "cpu_machine"), style="asked")
    cores = float(run.machine["cores"])
    return Chart(title=label("chart_cpu", language), lines=[*lines, whole_machine], at_least=cores, limit=cores)


def _worth_a_line(points: list[tuple[float, float]]) -> bool:
    """Parts that did next to nothing would only hide the others."""
    return max((value for _at, value in points), default=0.0) >= 0.05


def _oldest(run: Run, language: str) -> Chart:
    line = Line(label=label("oldest_order", language), points=series(run.samples, "oldest_order"))
    limit = float(run.objectives["orders_settled_p95_ms"]) / 1000
    return Chart(title=label("chart_oldest", language), lines=[line], limit=limit, at_least=limit)


# --- steps and probes -----------------------------------------------------------------------------------------------


def steps(run: Run, language: str) -> list[Block]:
    """What each step of a stepwise run did; nothing for others."""
    count = int(run.plan.get("steps", 1))
    if count < 2 or not run.samples:
        return []
    ramp = float(run.plan["ramp_s"])
    length = (float(run.plan["duration_s"]) - ramp) / count
    rows, tones = [], []
    for step in range(count):
        begin = ramp + step * length
        inside = [sample for sample in run.samples if begin < sample.at <= begin + length]
        p95 = percentile(_together(inside), 0.95)
        rows.append([f"{step + 1}", whole(run.plan["rate"] * (step + 1) / count), *_step(inside, p95)])
        tones.append("" if p95 is None else "good" if p95 <= run.objectives["p95_ms"] else "bad")
    names = ["step", "rate", "reached", "p50", "p95", "failures", "dropped", "oldest_order"]
    return [Heading(label("steps", language)), Table(labels(names, language), rows, tones=tones)]


def _together(samples: list[Sample]) -> list[int]:
    return [sum(column) for column in zip(*(sample.classes for sample in samples if sample.classes), strict=True)]


def _step(samples: list[Sample], p95: float | None) -> list[str]:
    rates = [value for _at, value in series(samples, "tps")]
    sums = [sum(value for _at, value in series(samples, name)) for name in ("unexpected", "dropped")]
    return [
        whole(sum(rates) / len(rates) if rates else None),
        precise(percentile(_together(samples), 0.5)),
        precise(p95),
        *(whole(value) for value in sums),
        f"{highest(samples, 'oldest_order'):.1f}",
    ]


def probes(run: Run, language: str) -> list[Block]:
    """The rates a capacity search tried, in order; nothing for others."""
    if not run.probes:
        return []
    names = ["rate", "p95", "settled_p95", "dropped", "state", "why"]
    rows = [_probe(probe, language) for probe in run.probes]
    tones = ["good" if probe.met else "bad" for probe in run.probes]
    points = sorted((float(probe.rate), probe.p95_ms or 0.0) for probe in run.probes)
    chart = Chart(
        title=label("chart_probes", language),
        lines=[Line(label="p95", points=points)],
        limit=float(run.objectives["p95_ms"]),
        is_time=False,
    )
    heading = Heading(label("probes", language))
    return [heading, Table(labels(names, language), rows, words=(4, 5), tones=tones), Figures([chart])]


def _probe(probe: Probe, language: str) -> list[str]:
    why = "; ".join(say(reason, language) for reason in probe.reasons) if not probe.met else ""
    state = label("met" if probe.met else "missed", language)
    return [whole(probe.rate), precise(probe.p95_ms), precise(probe.settled_p95_ms), whole(probe.dropped), state, why]


# --- bottleneck -----------------------------------------------------------------------------------------------------


def resource_label(resource: str, language: str) -> str:
    key = f"resource_{resource}"
    return label(key if key in words(language)["labels"] else resource, language)


def bottlenecks(run: Run, language: str) -> list[Block]:
    """Which resource was at its limit first, with the evidence, and what to do."""
    if len(run.samples) < bottleneck.WINDOW:
        return []
    heading = Heading(label("bottleneck", language))
    if not run.saturations:
        shares = _shares(bottleneck.cpu_shares(run.samples), language)
        used = text("advice", "shares_all", language).format(shares=shares, cores=run.machine["cores"])
        return [heading, Text(text("advice", "none", language)), Text(used)]
    first = run.saturations[0]
    shares = _shares(bottleneck.cpu_shares(run.samples, first.at), language)
    rows = [_saturation(item, language) for item in run.saturations]
    names = ["resource", "since", "level", "limit", "advice"]
    return [
        heading,
        Table(labels(names, language), rows, words=(0, 4), tones=["bad", *[""] * (len(rows) - 1)]),
        Text(text("advice", "shares", language).format(shares=shares)),
    ]


def _saturation(item: Saturation, language: str) -> list[str]:
    advice = text("advice", item.resource, language)
    return [resource_label(item.resource, language), clock(item.at), f"{item.level:.2f}", f"{item.limit:.2f}", advice]


def _shares(shares: dict[str, float], language: str) -> str:
    return ", ".join(f"{label(part, language)} {used:.2f}" for part, used in shares.items() if used >= 0.005)


def memory(run: Run, language: str) -> list[Block]:
    """What grew between the first and the last tenth of the run; what a soak is for."""
    grown = bottleneck.memory_growth(run.samples)
    if len(run.samples) < 60 or not grown:
        return []
    ends = {f"{label(part, language)} (MB)": values for part, values in grown.items()}
    for name, shown in (("connections", "chart_connections"), ("p95", "p95"), ("oldest_order", "oldest_order")):
        if values := bottleneck.drift(run.samples, name):
            ends[label(shown, language)] = values
    rows = [[name, whole(first), whole(last), f"{last - first:+,.0f}"] for name, (first, last) in ends.items()]
    names = ["part", "memory_first", "memory_last", "growth"]
    return [Heading(label("memory", language)), Table(labels(names, language), rows)]


# --- truth ----------------------------------------------------------------------------------------------------------


def diagnosis(run: Run, language: str) -> list[Block]:
    """What failures mean, and the odd answers word for word."""
    blocks: list[Block] = []
    if run.diagnosis:
        blocks += [Heading(label("diagnosis", language)), Bullets([say(item, language) for item in run.diagnosis])]
    if run.odd:
        rows = [[label(item["endpoint"], language), f"{item['status']}", item["said"]] for item in run.odd]
        table = Table(labels(["endpoint", "status", "said"], language), rows, words=(0, 1, 2))
        blocks += [Heading(label("odd", language)), table]
    return blocks


def reconciliation(run: Run, language: str) -> list[Block]:
    """k6, server and database, line by line."""
    rows = []
    for line in run.lines:
        endpoint, _space, status = line.subject.partition(" ")
        subject = f"{label(endpoint, language)} {status}".strip()
        counts = [whole(value) for value in (line.k6, line.server, line.database)]
        unknown = whole(line.unknown) if line.unknown else ""
        rows.append([label(f"fact_{line.fact}", language), subject, *counts, unknown, label(line.state, language)])
    names = ["fact", "endpoint", "k6", "server", "database", "unknown", "state"]
    tones = [STATES[line.state] for line in run.lines]
    return [
        Heading(label("reconciliation", language)),
        Table(labels(names, language), rows, words=(0, 1, 6), tones=tones),
    ]


def audit(run: Run, language: str) -> list[Block]:
    """What the audit checked and found."""
    if run.audit is None:
        return []
    found = f"{label('audit_clean', language)}: {len(run.audit.violations)} / {run.audit.checked}"
    blocks: list[Block] = [Heading(label("audit", language)), Text(found)]
    return [*blocks, Code("\n".join(run.audit.violations))] if run.audit.violations else blocks


def conditions(run: Run, language: str) -> list[Block]:
    """Every number of the plan, the mix, and the machine."""
    numbers = {name: value for name, value in run.plan.items() if name not in HIDDEN_NUMBERS}
    rows = [[name, plain(value)] for name, value in numbers.items()]
    rows += [[f"mix.{name}", plain(value)] for name, value in run.plan.get("mix", {}).items()]
    rows += [[name, plain(value)] for name, value in run.machine.items()]
    return [Heading(label("conditions", language)), Table(labels(["name", "number"], language), rows)]


def reading(run: Run, language: str) -> list[Block]:
    """Definitions, without which figures mislead."""
    said = [*words(language)["reading"].values(), *sections_phases.reading(run, language)]
    return [Heading(label("reading", language)), Bullets(said)]
