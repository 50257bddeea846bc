"""Price terms: what a price says, as immutable values that read from and dump to plain JSON.

The shape is the catalogue file's. Amounts are in major units (12.00 dollars) and may be finer than
the currency, down to 12 decimals: only the finished line is rounded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar, TypeVar

from apps.engine.decimals import EXACT, ZERO, NotADecimal, decimal_of, places_of, plain

MAX_PLACES = 12
MAX_AMOUNT = Decimal(10) ** 15
MAX_UNITS = Decimal(10) ** 24

T = TypeVar("T")
Choice = TypeVar("Choice", bound=StrEnum)


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
        check_amount(self.amount, "amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"model": self.model, "amount": plain(self.amount)}


@dataclass(frozen=True, slots=True)
class PerUnit:
    """The same amount for every unit, fractions of a unit included."""

    model: ClassVar[str] = "per_unit"
    unit_amount: Decimal

    def __post_init__(self) -> None:
        check_amount(self.unit_amount, "unit_amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"model": self.model, "unit_amount": plain(self.unit_amount)}


class PackageRounding(StrEnum):
    """What becomes of a package that is not full: `up` bills it whole, `down` not at all."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Package:
    """An amount for every package begun; with `rounding` down, for every package filled."""

    model: ClassVar[str] = "package"
    package_size: Decimal
    unit_amount: Decimal
    rounding: PackageRounding = PackageRounding.UP

    def __post_init__(self) -> None:
        check_units(self.package_size, "package_size")
        check_amount(self.unit_amount, "unit_amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings; the rounding is named when it is down."""
        terms: dict[str, object] = {
            "model": self.model,
            "package_size": plain(self.package_size),
            "unit_amount": plain(self.unit_amount),
        }
        return terms if self.rounding is PackageRounding.UP else terms | {"rounding": "down"}


@dataclass(frozen=True, slots=True)
class Tier:
    """The units above the tier before, up to and including `up_to`; None leaves it open."""

    up_to: Decimal | None
    unit_amount: Decimal
    flat_amount: Decimal = ZERO

    def __post_init__(self) -> None:
        if self.up_to is not None:
            check_units(self.up_to, "up_to")
        check_amount(self.unit_amount, "unit_amount")
        check_amount(self.flat_amount, "flat_amount")

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
    `bounded`: the last tier has an end too. Beyond it a volume price has no answer, and a
    graduated one bills the units that its tiers cover.
    """

    model: ClassVar[str]
    tiers: tuple[Tier, ...]
    zero_quantity_flat: bool = True
    bounded: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(self.tiers))
        _check_tiers(self.tiers, bounded=self.bounded)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON; a flag is named only when it is not as usual."""
        return _tiers_dict(self)


@dataclass(frozen=True, slots=True)
class Graduated(Tiered):
    """Each unit costs what its own tier says."""

    model: ClassVar[str] = "graduated"


@dataclass(frozen=True, slots=True)
class Volume(Tiered):
    """All units cost what the tier of the whole quantity says; more may cost less."""

    model: ClassVar[str] = "volume"


@dataclass(frozen=True, slots=True)
class RateTier:
    """The money above the tier before, up to and including `up_to`, and its share in percent."""

    up_to: Decimal | None
    rate_percent: Decimal
    flat_amount: Decimal = ZERO

    def __post_init__(self) -> None:
        if self.up_to is not None:
            check_units(self.up_to, "up_to")
        check_amount(self.rate_percent, "rate_percent")
        check_amount(self.flat_amount, "flat_amount")

    @property
    def unit_amount(self) -> Decimal:
        """What one unit of money costs: 1.3 percent are 0.013."""
        return percent(self.rate_percent)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings, `up_to` null for the open tier."""
        return {
            "up_to": None if self.up_to is None else plain(self.up_to),
            "rate_percent": plain(self.rate_percent),
            "flat_amount": plain(self.flat_amount),
        }


@dataclass(frozen=True, slots=True)
class GraduatedPercentage:
    """Each part of a volume of money costs the percentage that its own tier says.

    The quantity is money in major units. Tiers and flags are those of `Graduated`.
    """

    model: ClassVar[str] = "graduated_percentage"
    tiers: tuple[RateTier, ...]
    zero_quantity_flat: bool = True
    bounded: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(self.tiers))
        _check_tiers(self.tiers, bounded=self.bounded)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON; a flag is named only when it is not as usual."""
        return _tiers_dict(self)


@dataclass(frozen=True, slots=True)
class Percentage:
    """A share of every event's amount, and a fixed fee for every event that is not wholly free.

    The first `free_events` events are free, and the first `free_amount` of money; the allowance
    ends as soon as either is used up, within an event too. What a paying event owes, its fixed fee
    included, lies between `event_minimum` and `event_maximum`.
    """

    model: ClassVar[str] = "percentage"
    rate_percent: Decimal
    fixed_amount: Decimal = ZERO
    free_events: int | None = None
    free_amount: Decimal | None = None
    event_minimum: Decimal | None = None
    event_maximum: Decimal | None = None

    def __post_init__(self) -> None:
        check_amount(self.rate_percent, "rate_percent")
        check_amount(self.fixed_amount, "fixed_amount")
        if self.free_events is not None and self.free_events < 1:
            raise InvalidTerms("must be a whole number above zero", "free_events")
        if self.free_amount is not None:
            check_units(self.free_amount, "free_amount")
        for name in ("event_minimum", "event_maximum"):
            if (bound := getattr(self, name)) is not None:
                check_amount(bound, name)
        low, high = self.event_minimum, self.event_maximum
        if low is not None and high is not None and low > high:
            raise InvalidTerms(f"must not be below the minimum of {plain(low)}", "event_maximum")

    @property
    def by_the_sum(self) -> bool:
        """Whether the sum of the events says it all, so that they need not be looked at."""
        allowances = (self.free_events, self.free_amount, self.event_minimum, self.event_maximum)
        return self.fixed_amount == 0 and all(one is None for one in allowances)

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings; only what the price uses is named."""
        amounts = {
            "free_amount": self.free_amount,
            "event_minimum": self.event_minimum,
            "event_maximum": self.event_maximum,
        }
        terms: dict[str, object] = {"model": self.model, "rate_percent": plain(self.rate_percent)}
        if self.fixed_amount:
            terms["fixed_amount"] = plain(self.fixed_amount)
        if self.free_events is not None:
            terms["free_events"] = self.free_events
        return terms | {key: plain(value) for key, value in amounts.items() if value is not None}


@dataclass(frozen=True, slots=True)
class Dynamic:
    """Every event carries its own amount in major units; `multiplier` is the margin on it."""

    model: ClassVar[str] = "dynamic"
    multiplier: Decimal = Decimal(1)

    def __post_init__(self) -> None:
        check_amount(self.multiplier, "multiplier")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"model": self.model, "multiplier": plain(self.multiplier)}


class BlockMode(StrEnum):
    """Whether blocks are counted tier by tier, or all of them by the tier that is reached."""

    GRADUATED = "graduated"
    VOLUME = "volume"


@dataclass(frozen=True, slots=True)
class BlockTier:
    """Blocks of `block_size` units at an amount each; the tier holds `max_blocks`, or no end."""

    block_size: Decimal
    max_blocks: Decimal | None
    block_amount: Decimal

    def __post_init__(self) -> None:
        check_units(self.block_size, "block_size")
        if self.max_blocks is not None:
            check_units(self.max_blocks, "max_blocks")
        check_amount(self.block_amount, "block_amount")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings, `max_blocks` null for the open tier."""
        return {
            "block_size": plain(self.block_size),
            "max_blocks": None if self.max_blocks is None else plain(self.max_blocks),
            "block_amount": plain(self.block_amount),
        }


@dataclass(frozen=True, slots=True)
class Blocks:
    """Packages whose size changes from tier to tier; a block begun is paid whole.

    Graduated: each tier fills its own blocks, and units beyond a bounded last tier are not billed.
    Volume: all units in blocks of the tier reached; beyond a bounded last tier, of that one.
    """

    model: ClassVar[str] = "blocks"
    tiers: tuple[BlockTier, ...]
    mode: BlockMode = BlockMode.GRADUATED

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(self.tiers))
        if not self.tiers:
            raise InvalidTerms("needs at least one tier", "tiers")
        for i, tier in enumerate(self.tiers[:-1]):
            if tier.max_blocks is None:
                raise InvalidTerms("only the last tier may be open", f"tiers[{i}].max_blocks")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        tiers = [tier.as_dict() for tier in self.tiers]
        return {"model": self.model, "mode": self.mode.value, "tiers": tiers}


@dataclass(frozen=True, slots=True)
class Limit:
    """How much of one unit a capacity tier holds, inclusive; None is no limit."""

    unit: str
    up_to: Decimal | None

    def __post_init__(self) -> None:
        if self.up_to is not None:
            check_units(self.up_to, self.unit)


@dataclass(frozen=True, slots=True)
class CapacityTier:
    """One amount for any usage within all the limits."""

    amount: Decimal
    limits: tuple[Limit, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "limits", tuple(self.limits))
        check_amount(self.amount, "amount")

    def limits_dict(self) -> dict[str, str | None]:
        """The limits by unit, null where there is none."""
        return {one.unit: None if one.up_to is None else plain(one.up_to) for one in self.limits}

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"amount": plain(self.amount), "limits": self.limits_dict()}


@dataclass(frozen=True, slots=True)
class Capacity:
    """The amount of the first tier whose limits hold every unit; no usage at all owes nothing."""

    model: ClassVar[str] = "capacity"
    tiers: tuple[CapacityTier, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "tiers", tuple(self.tiers))
        if not self.tiers:
            raise InvalidTerms("needs at least one tier", "tiers")
        units = {limit.unit for limit in self.tiers[0].limits}
        for i, tier in enumerate(self.tiers):
            if {limit.unit for limit in tier.limits} != units:
                named = ", ".join(sorted(units))
                raise InvalidTerms(f"must limit {named} like the first tier", f"tiers[{i}].limits")

    def as_dict(self) -> dict[str, object]:
        """Plain JSON, decimals as canonical strings."""
        return {"model": self.model, "tiers": [tier.as_dict() for tier in self.tiers]}


Terms = (
    Flat
    | PerUnit
    | Graduated
    | Volume
    | Package
    | Percentage
    | GraduatedPercentage
    | Dynamic
    | Blocks
    | Capacity
)


def percent(rate: Decimal) -> Decimal:
    """A percentage as a factor, exact: 1.3 → 0.013."""
    return EXACT.divide(rate, Decimal(100))


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
    only(raw, "model", "amount")
    return Flat(required_decimal(raw, "amount"))


def _per_unit(raw: Mapping[str, object]) -> PerUnit:
    only(raw, "model", "unit_amount")
    return PerUnit(required_decimal(raw, "unit_amount"))


def _package(raw: Mapping[str, object]) -> Package:
    only(raw, "model", "package_size", "unit_amount", "rounding")
    return Package(
        required_decimal(raw, "package_size"),
        required_decimal(raw, "unit_amount"),
        one_of(PackageRounding, raw.get("rounding", PackageRounding.UP), "rounding"),
    )


def _graduated(raw: Mapping[str, object]) -> Graduated:
    return Graduated(_tiers(raw, _tier), *_flags(raw))


def _volume(raw: Mapping[str, object]) -> Volume:
    return Volume(_tiers(raw, _tier), *_flags(raw))


def _graduated_percentage(raw: Mapping[str, object]) -> GraduatedPercentage:
    return GraduatedPercentage(_tiers(raw, _rate_tier), *_flags(raw))


def _percentage(raw: Mapping[str, object]) -> Percentage:
    amounts = ("free_amount", "event_minimum", "event_maximum")
    only(raw, "model", "rate_percent", "fixed_amount", "free_events", *amounts)
    free_events = raw.get("free_events")
    if free_events is not None and type(free_events) is not int:
        raise InvalidTerms("must be a whole number above zero", "free_events")
    return Percentage(
        required_decimal(raw, "rate_percent"),
        required_decimal(raw, "fixed_amount") if "fixed_amount" in raw else ZERO,
        free_events,
        *(optional_decimal(raw, key) for key in amounts),
    )


def _dynamic(raw: Mapping[str, object]) -> Dynamic:
    only(raw, "model", "multiplier")
    return Dynamic(required_decimal(raw, "multiplier")) if "multiplier" in raw else Dynamic()


def _blocks(raw: Mapping[str, object]) -> Blocks:
    only(raw, "model", "mode", "tiers")
    mode = one_of(BlockMode, raw.get("mode", BlockMode.GRADUATED), "mode")
    return Blocks(_tiers(raw, _block_tier), mode)


def _capacity(raw: Mapping[str, object]) -> Capacity:
    only(raw, "model", "tiers")
    return Capacity(_tiers(raw, _capacity_tier))


_PARSERS: dict[str, Callable[[Mapping[str, object]], Terms]] = {
    "flat": _flat,
    "per_unit": _per_unit,
    "graduated": _graduated,
    "volume": _volume,
    "package": _package,
    "percentage": _percentage,
    "graduated_percentage": _graduated_percentage,
    "dynamic": _dynamic,
    "blocks": _blocks,
    "capacity": _capacity,
}


def _flags(raw: Mapping[str, object]) -> tuple[bool, bool]:
    only(raw, "model", "tiers", "zero_quantity_flat", "bounded")
    return (
        boolean(raw, "zero_quantity_flat", default=True),
        boolean(raw, "bounded", default=False),
    )


def _tiers(raw: Mapping[str, object], read: Callable[[Mapping[str, object]], T]) -> tuple[T, ...]:
    tiers = raw.get("tiers")
    if not isinstance(tiers, Sequence) or isinstance(tiers, str):
        raise InvalidTerms("must be a list of tiers", "tiers")
    return tuple(_read_tier(tier, f"tiers[{i}]", read) for i, tier in enumerate(tiers))


def _read_tier(raw: object, path: str, read: Callable[[Mapping[str, object]], T]) -> T:
    if not isinstance(raw, Mapping):
        raise InvalidTerms("must be a mapping", path)
    try:
        return read(raw)
    except InvalidTerms as error:
        raise error.under(path) from error


def _tier(raw: Mapping[str, object]) -> Tier:
    only(raw, "up_to", "unit_amount", "flat_amount")
    return Tier(_bound(raw, "up_to"), required_decimal(raw, "unit_amount"), _flat_amount(raw))


def _rate_tier(raw: Mapping[str, object]) -> RateTier:
    only(raw, "up_to", "rate_percent", "flat_amount")
    return RateTier(_bound(raw, "up_to"), required_decimal(raw, "rate_percent"), _flat_amount(raw))


def _block_tier(raw: Mapping[str, object]) -> BlockTier:
    only(raw, "block_size", "max_blocks", "block_amount")
    size = required_decimal(raw, "block_size")
    return BlockTier(size, _bound(raw, "max_blocks"), required_decimal(raw, "block_amount"))


def _capacity_tier(raw: Mapping[str, object]) -> CapacityTier:
    only(raw, "amount", "limits")
    limits = raw.get("limits")
    if not isinstance(limits, Mapping) or not limits:
        raise InvalidTerms("must name a limit, or null, for every unit", "limits")
    try:
        read = tuple(Limit(str(unit), _bound(limits, unit)) for unit in limits)
    except InvalidTerms as error:
        raise error.under("limits") from error
    return CapacityTier(required_decimal(raw, "amount"), read)


def _flat_amount(raw: Mapping[str, object]) -> Decimal:
    return required_decimal(raw, "flat_amount") if "flat_amount" in raw else ZERO


def _bound(raw: Mapping[str, object], key: str) -> Decimal | None:
    # An open end is said (null), never left out.
    open_ended = key in raw and raw[key] is None
    return None if open_ended else required_decimal(raw, key)


def _tiers_dict(terms: Tiered | GraduatedPercentage) -> dict[str, object]:
    found: dict[str, object] = {
        "model": terms.model,
        "tiers": [tier.as_dict() for tier in terms.tiers],
    }
    if not terms.zero_quantity_flat:
        found["zero_quantity_flat"] = False
    if terms.bounded:
        found["bounded"] = True
    return found


def optional_decimal(raw: Mapping[str, object], key: str) -> Decimal | None:
    """The decimal under the key, or None when it is null or not there."""
    return None if raw.get(key) is None else required_decimal(raw, key)


def boolean(raw: Mapping[str, object], key: str, *, default: bool) -> bool:
    """The flag under the key; raises InvalidTerms for anything but true and false."""
    flag = raw.get(key, default)
    if not isinstance(flag, bool):
        raise InvalidTerms("must be true or false", key)
    return flag


def one_of(kind: type[Choice], value: object, path: str) -> Choice:
    """The member with that value; raises InvalidTerms, naming all of them."""
    for member in kind:
        if member.value == value:
            return member
    raise InvalidTerms(f"must be one of {', '.join(kind)}, not {value!r}", path)


def only(raw: Mapping[str, object], *known: str) -> None:
    """Raise InvalidTerms for a key that is not known."""
    for key in raw:
        if key not in known:
            raise InvalidTerms(f"unknown key; known are {', '.join(known)}", str(key))


def required_decimal(raw: Mapping[str, object], key: str) -> Decimal:
    """The decimal under the key; raises InvalidTerms when it is missing or none."""
    if key not in raw:
        raise InvalidTerms("is required", key)
    return _exact(raw[key], key)


def _exact(value: object, path: str) -> Decimal:
    try:
        return decimal_of(value)
    except NotADecimal as error:
        raise InvalidTerms(str(error), path) from error


def check_amount(value: Decimal, path: str) -> None:
    """Raise InvalidTerms for an amount that is negative, too large or too fine."""
    if _exact(value, path) < 0:
        raise InvalidTerms("must not be negative", path)
    _check_size(value, MAX_AMOUNT, path)


def check_units(value: Decimal, path: str) -> None:
    """Raise InvalidTerms for units that are not above zero, too many or too fine."""
    if _exact(value, path) <= 0:
        raise InvalidTerms("must be above zero", path)
    _check_size(value, MAX_UNITS, path)


def _check_size(value: Decimal, below: Decimal, path: str) -> None:
    if value >= below:
        raise InvalidTerms(f"must be below {plain(below)}", path)
    if places_of(value) > MAX_PLACES:
        raise InvalidTerms(f"has more than {MAX_PLACES} decimal places", path)


def _check_tiers(tiers: Sequence[Tier | RateTier], *, bounded: bool) -> None:
    last = f"tiers[{len(tiers) - 1}].up_to" if tiers else "tiers"
    if not tiers or (tiers[-1].up_to is not None and not bounded):
        raise InvalidTerms("the last tier must be open (up_to: null)", last)
    if bounded and tiers[-1].up_to is None:
        raise InvalidTerms("the last tier of a bounded price must have an end", last)
    reached = ZERO
    for i, tier in enumerate(tiers if bounded else tiers[:-1]):
        if tier.up_to is None:
            raise InvalidTerms("only the last tier may be open", f"tiers[{i}].up_to")
        if tier.up_to <= reached:
            raise InvalidTerms(f"must be above {plain(reached)}", f"tiers[{i}].up_to")
        reached = tier.up_to
