"""Load tests run for the benchmark, and what they say is wrong."""

from pathlib import Path

from loadtests import results
from loadtests.bench.shops import NotMeasured, Shop
from loadtests.results import Run


def report_of(shop: Shop, *arguments: str, directory: Path) -> Run:
    """Run a load test and return its report. Raises NotMeasured."""
    shop.manage("loadtest", *arguments, "--report", str(directory))
    try:
        return results.read(directory)
    except results.Unreadable as error:
        raise NotMeasured(str(error)) from error


def wrong_in(run: Run, what: str) -> list[str]:
    """Return what makes a run wrong rather than slow: violations, and what was acknowledged and is not there."""
    violations = run.audit.violations if run.audit else ["nobody audited"]
    lost = [
        f"{line.subject}: {line.k6} acknowledged, {line.database} there" for line in run.lines if line.state == "lost"
    ]
    return [f"{what}: {said}" for said in [*violations, *lost]]
