"""Price terms: what a price says, as immutable values that read from and dump to plain JSON.

The shape is the catalogue file's. Amounts are in major units (12.00 dollars) and may be finer than
the currency, down to 12 decimals: only the finished line is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar

from apps.engine.decimals import ZERO, NotADecimal, decimal_of, places_of, plain

MAX_PLACES = 12
MAX_AMOUNT = Decimal(10) ** 15
MAX_UNITS = Decimal(10) ** 24


class InvalidTerms(ValueError):
    """Terms that cannot be a price; `path` leads to the culprit, such as `tiers[1].up_to`."""

    def __init__(self, message: str, path: str = "") -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.message = message
        self.path = path

    def under(self, path: str) -> InvalidTerms:
        """The same complaint, seen from one level up."""
        return InvalidTerms(self.message, f"{path}.{self.path}" if self.path else path)


@dataclass(frozen=True, slots=True)
class Flat:
    """One amount, whatever the quantity."""

    model: ClassVar[str] = "flat"
    amount: Decimal

    def __post_init__(self) -> None:
        _check_amount(self.amount, "amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"model": self.model, "amount": plain(self.amount)}


@dataclass(frozen=True, slots=True)
class PerUnit:
    """The same amount for every unit, fractions of a unit included."""

    model: ClassVar[str] = "per_unit"
    unit_amount: Decimal

    def __post_init__(self) -> None:
        _check_amount(self.unit_amount, "unit_amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"model": self.model, "unit_amount": plain(self.unit_amount)}


@dataclass(frozen=True, slots=True)
class Package:
    """An amount for every package begun."""

    model: ClassVar[str] = "package"
    package_size: Decimal
    unit_amount: Decimal

    def __post_init__(self) -> None:
        _check_units(self.package_size, "package_size")
        _check_amount(self.unit_amount, "unit_amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {
            "model": self.model,
            "package_size": plain(self.package_size),
            "unit_amount": plain(self.unit_amount),
        }


@dataclass(frozen=True, slots=True)
class Tier:
    """The units above the tier before, up to and including `up_to`; None leaves it open."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = ZERO

    def __post_init__(self) -> None:
        if self.up_to is not None:
            _check_units(self.up_to, "up_to")
        _check_amount(self.unit_amount, "unit_amount")
        _check_amount(self.flat_amount, "flat_amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings, `up_to` null for the open tier."""
        return {
            "up_to": None if self.up_to is None else plain(self.up_to),
            "unit_amount": plain(self.unit_amount),
            "flat_amount": plain(self.flat_amount),
        }


@dataclass(frozen=True, slots=True)
class Tiered:
    """What graduated and volume prices share: tiers without gap or overlap, the last one open.

    `zero_quantity_flat`: zero units lie in the first tier and owe its flat amount.
    """

    model: ClassVar[str]
    tiers: tuple[Tier, ...]
    zero_quantity_flat: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(self.tiers))
        if not self.tiers or self.tiers[-1].up_to is not None:
            last = f"[{len(self.tiers) - 1}].up_to" if self.tiers else ""
            raise InvalidTerms("the last tier must be open (up_to: null)", f"tiers{last}")
        _check_rising(self.tiers)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON; the zero-quantity flag is named only when it is off."""
        terms: dict[str, object] = {
            "model": self.model,
            "tiers": [tier.as_dict() for tier in self.tiers],
        }
        return terms if self.zero_quantity_flat else terms | {"zero_quantity_flat": False}


@dataclass(frozen=True, slots=True)
class Graduated(Tiered):
    """Each unit costs what its own tier says."""

    model: ClassVar[str] = "graduated"


@dataclass(frozen=True, slots=True)
class Volume(Tiered):
    """All units cost what the tier of the whole quantity says; more may cost less."""

    model: ClassVar[str] = "volume"


Terms = Flat | PerUnit | Graduated | Volume | Package


def parse_terms(mapping: Mapping[str, object]) -> Terms:
    """Read terms from a plain mapping, such as a price of the catalogue file.

    Decimals may be strings, ints or Decimals. Raises InvalidTerms, with the path, for anything
    missing, unknown, negative, too fine or too large, and for tiers that do not rise to an open
    end. `parse_terms(terms.as_dict()) == terms`.
    """
    model = mapping.get("model")
    parse = _PARSERS.get(model) if isinstance(model, str) else None
    if parse is None:
        raise InvalidTerms(f"must be one of {', '.join(_PARSERS)}, not {model!r}", "model")
    return parse(mapping)


def _flat(raw: Mapping[str, object]) -> Flat:
    _only(raw, "model", "amount")
    return Flat(_decimal(raw, "amount"))


def _per_unit(raw: Mapping[str, object]) -> PerUnit:
    _only(raw, "model", "unit_amount")
    return PerUnit(_decimal(raw, "unit_amount"))


def _package(raw: Mapping[str, object]) -> Package:
    _only(raw, "model", "package_size", "unit_amount")
    return Package(_decimal(raw, "package_size"), _decimal(raw, "unit_amount"))


def _graduated(raw: Mapping[str, object]) -> Graduated:
    return Graduated(*_tiered(raw))


def _volume(raw: Mapping[str, object]) -> Volume:
    return Volume(*_tiered(raw))


_PARSERS: dict[str, Callable[[Mapping[str, object]], Terms]] = {
    "flat": _flat,
    "per_unit": _per_unit,
    "graduated": _graduated,
    "volume": _volume,
    "package": _package,
}


def _tiered(raw: Mapping[str, object]) -> tuple[tuple[Tier, ...], bool]:
    _only(raw, "model", "tiers", "zero_quantity_flat")
    tiers = raw.get("tiers")
    if not isinstance(tiers, Sequence) or isinstance(tiers, str):
        raise InvalidTerms("must be a list of tiers", "tiers")
    flag = raw.get("zero_quantity_flat", True)
    if not isinstance(flag, bool):
        raise InvalidTerms("must be true or false", "zero_quantity_flat")
    return tuple(_tier(tier, f"tiers[{i}]") for i, tier in enumerate(tiers)), flag


def _tier(raw: object, path: str) -> Tier:
    if not isinstance(raw, Mapping):
        raise InvalidTerms("must be a mapping with up_to, unit_amount and flat_amount", path)
    try:
        _only(raw, "up_to", "unit_amount", "flat_amount")
        open_ended = "up_to" in raw and raw["up_to"] is None
        return Tier(
            None if open_ended else _decimal(raw, "up_to"),
            _decimal(raw, "unit_amount"),
            _decimal(raw, "flat_amount") if "flat_amount" in raw else ZERO,
        )
    except InvalidTerms as error:
        raise error.under(path) from error


def _only(raw: Mapping[str, object], *known: str) -> None:
    for key in raw:
        if key not in known:
            raise InvalidTerms(f"unknown key; known are {', '.join(known)}", str(key))


def _decimal(raw: Mapping[str, object], key: str) -> Decimal:
    if key not in raw:
        raise InvalidTerms("is required", key)
    return _exact(raw[key], key)


def _exact(value: object, path: str) -> Decimal:
    try:
        return decimal_of(value)
    except NotADecimal as error:
        raise InvalidTerms(str(error), path) from error


def _check_amount(value: Decimal, path: str) -> None:
    if _exact(value, path) < 0:
        raise InvalidTerms("must not be negative", path)
    _check_size(value, MAX_AMOUNT, path)


def _check_units(value: Decimal, path: str) -> None:
    if _exact(value, path) <= 0:
        raise InvalidTerms("must be above zero", path)
    _check_size(value, MAX_UNITS, path)


def _check_size(value: Decimal, below: Decimal, path: str) -> None:
    if value >= below:
        raise InvalidTerms(f"must be below {plain(below)}", path)
    if places_of(value) > MAX_PLACES:
        raise InvalidTerms(f"has more than {MAX_PLACES} decimal places", path)


def _check_rising(tiers: tuple[Tier, ...]) -> None:
    reached = ZERO
    for i, tier in enumerate(tiers[:-1]):
        if tier.up_to is None:
            raise InvalidTerms("only the last tier may be open", f"tiers[{i}].up_to")
        if tier.up_to <= reached:
            raise InvalidTerms(f"must be above {plain(reached)}", f"tiers[{i}].up_to")
        reached = tier.up_to
