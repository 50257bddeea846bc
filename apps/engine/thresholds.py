"""Progressive billing: bill in mid-period when usage passes a threshold, and credit it at the end.

Thresholds count over the life of a subscription. After the fixed ones a recurring step repeats,
counted from the highest fixed one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise

from apps.engine.money import Money


class InvalidThresholds(ValueError):
    """Thresholds that are not positive, do not rise, or step by nothing."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold that was passed: a fixed amount, or the recurring step; `level` is where it lay.

    A recurring one that was passed several times at once names the last level.
    """

    amount: Money
    level: Money
    recurring: bool = False


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Fixed amounts, rising, and the step that repeats above the highest of them (or above 0)."""

    currency: str
    fixed: tuple[Money, ...] = ()
    recurring: Money | None = None

    def __post_init__(self) -> None:
        if any(low >= high for low, high in pairwise((self.nothing, *self.fixed))):
            raise InvalidThresholds("fixed thresholds are positive and rise")
        if self.recurring is not None and self.recurring <= self.nothing:
            raise InvalidThresholds("a recurring threshold steps by more than nothing")

    @property
    def nothing(self) -> Money:
        """Zero, in the currency of the thresholds."""
        return Money.zero(self.currency)

    @property
    def highest(self) -> Money:
        """The highest fixed threshold, zero without any."""
        return self.fixed[-1] if self.fixed else self.nothing

    def level_below(self, usage: Money) -> Money | None:
        """The highest threshold that usage has reached, None below the first."""
        steps = self._steps(usage)
        if self.recurring is not None and steps:
            return self.highest + self.recurring.times(steps)
        return next((fixed for fixed in reversed(self.fixed) if fixed <= usage), None)

    def level_above(self, usage: Money) -> Money | None:
        """The threshold that usage reaches next, None above the last."""
        upcoming = next((fixed for fixed in self.fixed if fixed > usage), None)
        if upcoming is not None or self.recurring is None:
            return upcoming
        return self.highest + self.recurring.times(self._steps(usage) + 1)

    def _steps(self, usage: Money) -> int:
        """How many recurring steps the usage lies above the highest fixed threshold."""
        if self.recurring is None or usage < self.highest:
            return 0
        return (usage - self.highest).minor // self.recurring.minor


@dataclass(frozen=True, slots=True)
class LifetimeUsage:
    """What a subscription has used, in money: invoiced before, in this period, elsewhere before.

    `progressively_billed` is the part of this period's usage that thresholds have billed already.
    """

    invoiced: Money
    current: Money
    historical: Money
    progressively_billed: Money

    @property
    def before(self) -> Money:
        """Where usage stood when it was last billed."""
        return self.historical + self.invoiced + self.progressively_billed

    @property
    def reached(self) -> Money:
        """Where usage stands."""
        return self.historical + self.invoiced + self.current


@dataclass(frozen=True, slots=True)
class Progress:
    """Between two thresholds: the one behind, the one ahead, and the way made, from 0 to 1."""

    last: Money | None
    next: Money | None
    ratio: Fraction | None


@dataclass(frozen=True, slots=True)
class ProgressiveCredit:
    """What the period's invoice gives back for progressive ones: by line, and what no line took.

    `left_over` was billed too much and becomes a credit note.
    """

    parts: tuple[tuple[str, Money], ...]
    credit: Money
    left_over: Money


def crossed(thresholds: Thresholds, usage: LifetimeUsage) -> tuple[Threshold, ...]:
    """The thresholds t with before < t ≤ now; the recurring step stands once, however often.

    The whole usage is billed then, not the threshold.
    """
    before, now = usage.before, usage.reached
    passed = [Threshold(fixed, fixed) for fixed in thresholds.fixed if before < fixed <= now]
    level = thresholds.level_below(now)
    step = thresholds.recurring
    if step is not None and level is not None and level > max(before, thresholds.highest):
        passed.append(Threshold(step, level, recurring=True))
    return tuple(passed)


def progress(thresholds: Thresholds, usage: Money) -> Progress:
    """How far usage is from the threshold behind it, or from 0, to the one ahead."""
    last, ahead = thresholds.level_below(usage), thresholds.level_above(usage)
    if ahead is None:
        return Progress(last, None, None)
    start = last or thresholds.nothing
    return Progress(last, ahead, Fraction((usage - start).minor, (ahead - start).minor))


def progressive_credit(
    lines: Mapping[str, Money], billed: Sequence[Mapping[str, Money]], *, currency: str
) -> ProgressiveCredit:
    """Credit progressive invoices (line id → amount each, oldest first) against the final lines.

    Each of them bills the whole usage so far, so only the newest counts; a line's credit stops at
    the line, or at nothing where the line is a credit itself.
    """
    nothing = Money.zero(currency)
    newest = billed[-1] if billed else {}
    parts = tuple(
        (line, max(nothing, min(amount, lines.get(line, nothing))))
        for line, amount in newest.items()
    )
    credit = Money.sum((part for _, part in parts), currency)
    return ProgressiveCredit(parts, credit, Money.sum(newest.values(), currency) - credit)
