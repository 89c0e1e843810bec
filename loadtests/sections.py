"""The report's first page: verdict, objectives, the original's tables beside ours, endpoints, settling."""

from loadtests import original_report, verdict
from loadtests.document import Block, Bullets, Heading, Table, Text, precise, share, tidy, whole
from loadtests.original_report import FIGURES, Original
from loadtests.outcomes import OUTCOMES, UNEXPECTED
from loadtests.results import Endpoint, Run, Settlement
from loadtests.texts import label, labels, phrase, say

TONE = {True: "good", False: "bad", None: ""}
WRITES = ("order", "charge", "coupon")


def objectives(run: Run, language: str) -> list[Block]:
    """Every promise, its limit and what was measured."""
    rows, tones = [], []
    for item in verdict.objectives(run):
        is_share = item.name.endswith("_share")
        limit, measured = (
            (f"{value:.2%}" if is_share else tidy(value)) if value is not None else "–"
            for value in (item.limit, item.measured)
        )
        state = {True: "met", False: "missed", None: "not_measured"}[item.met]
        rows.append([label(item.name, language), limit, measured, label(state, language)])
        tones.append(TONE[item.met])
    if run.audit is not None:
        clean = not run.audit.violations
        state = label("met" if clean else "missed", language)
        rows.append([label("audit_clean", language), "0", whole(len(run.audit.violations)), state])
        tones.append(TONE[clean])
    head = labels(["objective", "limit", "measured", "state"], language)
    return [Heading(label("objectives", language)), Table(head, rows, words=(0, 3), tones=tones)]


def endpoints(run: Run, language: str) -> list[Block]:
    """Counts, rates, latencies and outcomes per endpoint."""
    head = labels(["endpoint", "requests", "tps", "p50", "p95", "p99", "max", *OUTCOMES], language)
    rows = [_endpoint(item, run, language) for item in [*run.parts, run.total]]
    tones = ["bad" if item.count(*UNEXPECTED) else "" for item in run.parts] + ["total"]
    blocks: list[Block] = [Heading(label("endpoints", language)), Table(head, rows, tones=tones)]
    codes = [f"{label(item.name, language)}: {_counted(item.codes)}" for item in run.parts if any(item.codes)]
    return [*blocks, Bullets(codes)] if codes else blocks


def _endpoint(item: Endpoint, run: Run, language: str) -> list[str]:
    latency = item.latency
    return [
        label(item.name, language),
        whole(item.requests),
        precise(item.requests / run.seconds if run.seconds else None),
        *(precise(value) for value in (latency.p50, latency.p95, latency.p99, latency.max)),
        *(whole(item.count(outcome)) for outcome in OUTCOMES),
    ]


def _counted(counts: object) -> str:
    items = dict(counts).items() if isinstance(counts, dict) else ()
    return ", ".join(f"{name} {count:,}" for name, count in items if name)


def settlement(run: Run, language: str) -> list[Block]:
    """How long accepted orders and coupons took, and how they ended."""
    pairs = [("orders", run.orders), ("coupons", run.coupons)]
    rows = [_settled(name, item, language) for name, item in pairs if item is not None]
    if not rows:
        return []
    head = labels(["item", "accepted", "settled", "timed", "p50", "p95", "p99", "max", "results"], language)
    return [Heading(label("settlement", language)), Table(head, rows, words=(0, 8))]


def _settled(name: str, item: Settlement, language: str) -> list[str]:
    latency = item.latency
    return [
        label(name, language),
        whole(item.accepted),
        whole(item.accepted - item.unsettled),
        whole(item.measured),
        *(precise(value) for value in (latency.p50, latency.p95, latency.p99, latency.max)),
        _counted(dict(item.results)),
    ]


# --- beside the original --------------------------------------------------------------------------------------------


def beside(run: Run, language: str) -> list[Block]:
    """The original report's own tables with ours beside them; nothing for scenarios it does not have."""
    said = FIGURES.get(run.scenario)
    if said is None:
        return []
    theirs = original_report.judged(run.scenario)
    word = theirs.verdict.word if theirs.verdict else ""
    rows = [*_totals(run, said, language), [label("verdict_by_our_rules", language), word, _word(run)]]
    head = labels(["item", "theirs", "ours"], language)
    return [
        Heading(label("beside", language)),
        Table(head, rows),
        Table(_row_head(language), [row for item in said.rows for row in _rows(run, item, language)], words=(0, 1)),
    ]


def _word(run: Run) -> str:
    return run.verdict.word if run.verdict else ""


def _totals(run: Run, said: Original, language: str) -> list[list[str]]:
    """The tables of the report's sections 5 to 7."""
    total = run.total
    sound = total.count("done", "refused")
    rows = [
        [label("total_requests", language), whole(said.requests), whole(run.requests)],
        [label("tps", language), precise(said.requests / said.minutes / 60), precise(run.tps)],
        [label("success_rate", language), f"{said.success:.2f}%", share(sound, total.requests)],
        [label("failure_rate", language), f"{said.failure:.2f}%", share(total.requests - sound, total.requests)],
    ]
    for item in said.rows:
        if item.endpoint in WRITES:
            named = {"endpoint": label(item.endpoint, language)}
            rows.append([phrase("success_of", language, named), f"{item.success:.0f}%", _success(run, item.endpoint)])
            refused = sum(part.count("refused") for part in _matching(run, item.endpoint))
            asked = sum(part.requests for part in _matching(run, item.endpoint))
            if refused:
                rows.append([phrase("refused_of", language, named), "–", share(refused, asked)])
    latency = run.overall
    return [
        *rows,
        [label("avg_time", language), f"{said.avg_ms:,.0f} ms", f"{precise(latency.avg)} ms"],
        [label("max_time", language), f"{said.max_ms:,.0f} ms", f"{precise(latency.max)} ms"],
    ]


def _matching(run: Run, name: str) -> list[Endpoint]:
    """The original counts product list, detail and best sellers as one."""
    wanted = ("list", "detail", "top_selling") if name == "products" else (name,)
    return [item for item in run.parts if item.name in wanted]


def _success(run: Run, name: str) -> str:
    """Return done and refused as designed, of all."""
    found = _matching(run, name)
    return share(sum(item.count("done", "refused") for item in found), sum(item.requests for item in found))


def _row_head(language: str) -> list[str]:
    return labels(["endpoint", "test", "requests", "success_rate", "avg_time", "p95", "max_time"], language)


def _rows(run: Run, item: original_report.Row, language: str) -> list[list[str]]:
    """The tables of the report's section 8: their line, then ours."""
    found = _matching(run, item.endpoint)
    weights = [(part.latency.avg or 0.0) * part.requests for part in found]
    requests = sum(part.requests for part in found)
    worst = [max((getattr(part.latency, name) or 0.0 for part in found), default=None) for name in ("p95", "max")]
    name = label(item.endpoint, language)
    theirs = [name, label("theirs", language), whole(item.requests), f"{item.success:.0f}%"]
    ours = [name, label("ours", language), whole(requests), _success(run, item.endpoint)]
    mean = sum(weights) / requests if requests else None
    return [
        [*theirs, f"{item.avg_ms:,.0f} ms", "–", f"{item.max_ms:,.0f} ms"],
        [*ours, f"{precise(mean)} ms", f"{precise(worst[0])} ms", f"{precise(worst[1])} ms"],
    ]


def original_findings(run: Run, language: str) -> list[Block]:
    """What the original's figures say when they are asked."""
    if run.scenario not in FIGURES:
        return []
    theirs = original_report.judged(run.scenario)
    return [
        Heading(label("original", language)),
        Text(f"{label('verdict_by_our_rules', language)}: {_word(theirs)}"),
        Bullets([say(finding, language) for finding in theirs.diagnosis]),
    ]
