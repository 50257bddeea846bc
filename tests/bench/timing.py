"""Taking turns, medians and ratios."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Rate = Callable[[], float]


@dataclass(frozen=True, slots=True)
class Result:
    """A measurement, as it stands in `bench/results.json`: rates, so that more is better."""

    name: str
    unit: str
    ours: float
    limit: float
    baseline: float | None
    ratio_to_limit: float
    ratio_to_baseline: float | None


def table(results: list[Result]) -> str:
    """Return measurements as one table: ours, the limit, the typical way, and the ratios."""
    rows = [("", "ours", "limit", "typical", "of limit", "x typical", "")]
    rows += [
        (
            one.name,
            f"{one.ours:,.0f}",
            f"{one.limit:,.0f}",
            "" if one.baseline is None else f"{one.baseline:,.0f}",
            f"{one.ratio_to_limit:.2f}",
            "" if one.ratio_to_baseline is None else f"{one.ratio_to_baseline:.1f}",
            one.unit,
        )
        for one in results
    ]
    return "\n".join("{:20}{:>12}{:>12}{:>12}{:>10}{:>11}  {}".format(*row) for row in rows)


def result(
    name: str, unit: str, ours: list[float], limit: list[float], baseline: list[float] | None = None
) -> Result:
    """Return the medians of rates that were measured in turns, and their ratios."""
    mine, most = statistics.median(ours), statistics.median(limit)
    typical = None if baseline is None else statistics.median(baseline)
    return Result(
        name,
        unit,
        round(mine, 1),
        round(most, 1),
        None if typical is None else round(typical, 1),
        round(mine / most, 3),
        None if typical is None else round(mine / typical, 2),
    )


def rate(count: int, work: Callable[[], object]) -> float:
    """Do the work, which does something `count` times, and return how often a second."""
    started = time.perf_counter()
    work()
    return count / (time.perf_counter() - started)
