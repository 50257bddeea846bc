"""Charts as geometry for an SVG that the template draws: no script, no style.

Across, everything is a share of the width in hundredths of a percent, so that a chart fits any
window and its words keep their size; down, it is pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

WIDTH, HEIGHT = 100_00, 180
TOP, BOTTOM = 10, 26
STEPS = (Decimal(1), Decimal(2), Decimal("2.5"), Decimal(5), Decimal(10))
GRID_LINES = 4
MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Bar:
    """One column. `x` and `width` are hundredths of a percent; `hint` is what a pointer finds."""

    x: int
    y: int
    width: int
    height: int
    hint: str

    @property
    def left(self) -> str:
        """Where the column begins, for SVG."""
        return percent(self.x)

    @property
    def across(self) -> str:
        """How wide the column is, for SVG."""
        return percent(self.width)


@dataclass(frozen=True, slots=True)
class Tick:
    """A label on an axis: `at` pixels down, or hundredths of a percent across."""

    at: int
    text: str

    @property
    def left(self) -> str:
        """Where the label of a column is centred, for SVG."""
        return percent(self.at)


@dataclass(frozen=True, slots=True)
class Chart:
    """A column chart, laid out."""

    bars: tuple[Bar, ...]
    rows: tuple[Tick, ...]
    columns: tuple[Tick, ...]
    height: int = HEIGHT
    right: int = WIDTH
    bottom: int = HEIGHT - BOTTOM


@dataclass(frozen=True, slots=True)
class Column:
    """One value to draw, its label under the axis, and its hint."""

    value: Decimal
    label: str
    hint: str


def columns(values: Sequence[Column], *, write: Sequence[str] | None = None) -> Chart:
    """Lay out the values; `write` names the grid lines from zero up, see `grid`."""
    top = grid([one.value for one in values])[-1]
    plot = HEIGHT - TOP - BOTTOM
    pitch = WIDTH // max(1, len(values))
    gap = min(60, pitch // 4)
    bars = tuple(
        Bar(
            x=index * pitch + gap // 2,
            y=HEIGHT - BOTTOM - _scaled(one.value, top, plot),
            width=pitch - gap,
            height=_scaled(one.value, top, plot),
            hint=one.hint,
        )
        for index, one in enumerate(values)
    )
    return Chart(bars, _rows(write or (), plot), _labels(values, pitch))


def percent(hundredths: int) -> str:
    """Write hundredths of a percent: 12.05%."""
    return f"{hundredths // 100}.{hundredths % 100:02d}%"


def grid(values: Sequence[Decimal]) -> tuple[Decimal, ...]:
    """Return round numbers from zero to above the largest value, evenly spaced."""
    largest = max([*values, Decimal(0)])
    if largest <= 0:
        return tuple(Decimal(k) for k in range(GRID_LINES + 1))
    rough = largest / GRID_LINES
    power = Decimal(1).scaleb(rough.adjusted())
    step = next(power * factor for factor in STEPS if power * factor >= rough)
    return tuple(step * k for k in range(GRID_LINES + 1))


def _scaled(value: Decimal, top: Decimal, pixels: int) -> int:
    """Return a value's height; something small but not nothing stays visible."""
    if value <= 0:
        return 0
    return max(1, int(value * pixels / top))


def _rows(texts: Sequence[str], plot: int) -> tuple[Tick, ...]:
    last = max(1, len(texts) - 1)
    return tuple(
        Tick(HEIGHT - BOTTOM - plot * index // last, text) for index, text in enumerate(texts)
    )


def _labels(values: Sequence[Column], pitch: int) -> tuple[Tick, ...]:
    every = -(-len(values) // MOST_LABELS)
    return tuple(
        Tick(index * pitch + pitch // 2, one.label)
        for index, one in enumerate(values)
        if index % every == 0
    )


def share(part: Decimal, whole: Decimal) -> int:
    """Return the part of the whole in percents, for a bar: 0 only for nothing, at most 100."""
    if whole <= 0:
        return 100 if part > 0 else 0
    return max(1 if part > 0 else 0, min(100, int(part * 100 / whole)))
