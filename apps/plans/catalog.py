"""The catalogue file: what may stand in it, read into typed values that know their places.

Everything that the text alone can show is checked here: shape, words, numbers, terms, doubles.
What needs the database (does the meter exist, is the feature a limit) is checked by the service.
The format is described in `docs/catalog.md`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Protocol

from apps.core.errors import Invalid
from apps.engine.aggregation import Aggregation
from apps.engine.calendar import Interval, Unit
from apps.engine.decimals import ZERO, places_of
from apps.engine.money import UnknownCurrency, exponent
from apps.engine.prices import Flat, InvalidTerms, Terms, parse_terms
from apps.plans.document import (
    ApplicationEntry,
    CatalogDocument,
    EntitlementEntry,
    FeatureEntry,
    MeterEntry,
    PlanEntry,
    PriceEntry,
    Value,
    label_of,
)
from apps.plans.errors import CatalogInvalid, Place, Problem, UnknownCatalog
from apps.plans.form import WORD, Form, one_of
from apps.plans.models import Feature, Plan, Price
from apps.plans.yaml_tree import Scalar, Unreadable, tree_of

SHIPPED = Path(__file__).parent / "catalogs"
MAX_BYTES = 256 * 1024

_TERMS_OF = {
    "flat": ("amount",),
    "per_unit": ("unit_amount",),
    "graduated": ("tiers", "zero_quantity_flat"),
    "volume": ("tiers", "zero_quantity_flat"),
    "package": ("package_size", "unit_amount"),
}
_BY_QUANTITY = tuple(model for model in _TERMS_OF if model != "flat")
_TIMINGS: dict[str, tuple[str, ...]] = {
    Price.Type.FLAT: (Price.Timing.ADVANCE, Price.Timing.ARREARS),
    Price.Type.LICENSED: (Price.Timing.ADVANCE, Price.Timing.ARREARS),
    Price.Type.METERED: (Price.Timing.ARREARS,),
}


def shipped() -> list[str]:
    """Return the names of the catalogues that come with the product."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_catalog(reference: str) -> CatalogDocument:
    """Read the file at a path, or else the shipped catalogue of that name.

    Raises UnknownCatalog, CatalogInvalid.
    """
    path = Path(reference)
    if not path.is_file() and reference in shipped():
        path = SHIPPED / f"{reference}.yaml"
    if not path.is_file():
        raise UnknownCatalog(
            f"There is no file '{reference}'; the shipped catalogues are {', '.join(shipped())}.",
            param="file",
        )
    return parse_catalog(_text_of(path), source=path.name)


def _text_of(path: Path) -> str:
    with path.open("rb") as file:
        content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        size = f"{MAX_BYTES // 1024} KiB"
        raise Invalid(f"{path.name} is larger than {size}; split it.", param="file")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = content[: error.start]
        place = Place(before.count(b"\n") + 1, error.start - before.rfind(b"\n"))
        problem = Problem(place, "not UTF-8 text; save the file as UTF-8")
        raise CatalogInvalid(path.name, [problem]) from error


def parse_catalog(text: str, *, source: str) -> CatalogDocument:
    """Read a catalogue from YAML text. Raises CatalogInvalid with every problem found."""
    try:
        tree = tree_of(text)
    except Unreadable as error:
        raise CatalogInvalid(source, [Problem(error.place, error.message)]) from error
    problems: list[Problem] = []
    document = _document(Form(tree, problems, "the catalogue"), source, problems)
    if problems:
        raise CatalogInvalid(source, problems)
    return document


def _document(form: Form, source: str, problems: list[Problem]) -> CatalogDocument:
    currency = _currency(form, required=False)
    plans = [
        _plan(plan, currency, position, problems)
        for position, plan in enumerate(form.forms("plans", "a plan"))
    ]
    document = CatalogDocument(
        source,
        tuple(_application(entry) for entry in form.forms("applications", "an application")),
        tuple(_feature(entry) for entry in form.forms("features", "a feature")),
        tuple(_meter(entry) for entry in form.forms("meters", "a meter")),
        tuple(plans),
    )
    form.close()
    problems += _doubles([(entry.slug, entry) for entry in document.applications], "application")
    problems += _doubles([(entry.key, entry) for entry in document.features], "feature")
    problems += _doubles([(entry.key, entry) for entry in document.meters], "meter")
    problems += _doubles([(entry.code, entry) for entry in document.plans], "plan")
    return document


class _Placed(Protocol):
    @property
    def place(self) -> Place: ...


def _doubles(entries: Sequence[tuple[str, _Placed]], what: str) -> Iterator[Problem]:
    first: dict[str, Place] = {}
    for key, entry in entries:
        if key in first:
            there = f"it is defined on line {first[key].line} already"
            yield Problem(entry.place, f"{what} {key!r} stands here again: {there}")
        elif key:
            first[key] = entry.place


def _application(form: Form) -> ApplicationEntry:
    entry = ApplicationEntry(
        form.place,
        form.word("slug"),
        form.text("name", required=True),
        form.optional_text("industry", limit=40),
    )
    form.close()
    return entry


def _feature(form: Form) -> FeatureEntry:
    entry = FeatureEntry(
        form.place,
        form.word("key"),
        form.choice("kind", Feature.Kind.values),
        form.optional_text("name"),
        form.optional_text("description", limit=2000),
    )
    form.close()
    return entry


def _meter(form: Form) -> MeterEntry:
    kind = form.choice("aggregation", [str(choice) for choice in Aggregation])
    aggregation = Aggregation(kind) if kind in list(Aggregation) else Aggregation.COUNT
    entry = MeterEntry(
        form.place,
        {key: form.place_of(key) for key in form.names()},
        form.word("key"),
        form.text("event_type", required=True, limit=128),
        aggregation,
        _value_path(form, aggregation),
        form.flag("allow_negative", default=False),
        form.optional_text("unit", limit=40),
        form.optional_text("description", limit=2000),
    )
    form.close()
    return entry


def _value_path(form: Form, aggregation: Aggregation) -> str:
    counts = aggregation is Aggregation.COUNT
    path = form.text("value", required=not counts, limit=128)
    if counts and form.has("value"):
        form.note(form.place_of("value"), "a meter that counts events has no 'value'; remove it")
    return path


def _plan(form: Form, currency: str, position: int, problems: list[Problem]) -> PlanEntry:
    custom = form.flag("custom", default=False)
    entry = PlanEntry(
        place=form.place,
        code=form.word("code"),
        name=form.text("name", required=True),
        description=form.text("description", limit=2000),
        application=form.word("application"),
        application_place=form.place_of("application"),
        kind=form.choice("kind", Plan.Kind.values, Plan.Kind.BASE),
        visibility=form.choice("visibility", Plan.Visibility.values, Plan.Visibility.PUBLIC),
        industries=form.words("industries"),
        custom=custom,
        position=position,
        currency=_currency(form, required=not currency) or currency,
        interval=_interval(form, problems),
        trial_days=form.whole("trial_days", 0, 0, 730),
        prices=_prices(form, custom, problems),
        entitlements=_entitlements(form, problems),
    )
    form.close()
    return entry


def _currency(form: Form, *, required: bool) -> str:
    code = form.text("currency", required=required, limit=3)
    if code:
        try:
            exponent(code)
        except UnknownCurrency as error:
            form.note(form.place_of("currency"), f"{error}; write it like USD")
    return code


def _interval(form: Form, problems: list[Problem]) -> Interval:
    node = form.take("interval", required=True)
    units = [str(unit) for unit in Unit]
    if node is None:
        return Interval(Unit.MONTH)
    if isinstance(node, Scalar):
        if node.text not in units:
            form.note(node.place, f"'interval' must be one of {one_of(units, node.text)}")
            return Interval(Unit.MONTH)
        return Interval(Unit(node.text))
    inner = Form(node, problems, "an interval")
    unit, count = inner.choice("unit", units), inner.whole("count", 1, 1, 366)
    inner.close()
    return Interval(Unit(unit) if unit in units else Unit.MONTH, max(1, count))


def _prices(form: Form, custom: bool, problems: list[Problem]) -> tuple[PriceEntry, ...]:
    if not custom and not form.has("prices"):
        advice = "a free one says [], a negotiated one custom: true"
        form.note(form.place, f"a plan needs 'prices'; {advice}")
    if custom and not form.has("prices"):
        return (_agreed_later(form),)
    prices = tuple(_price(price, problems) for price in form.forms("prices", "a price"))
    problems += _doubles([(price.key, price) for price in prices], "price")
    return prices


def _agreed_later(form: Form) -> PriceEntry:
    """Return the price of a negotiated plan that names none: a base fee still to be agreed."""
    return PriceEntry(
        place=form.place,
        key="base",
        type=Price.Type.FLAT,
        terms=Flat(ZERO),
        included=ZERO,
        timing=Price.Timing.ADVANCE,
        meter="",
        meter_place=form.place,
        name=label_of("base"),
        description="",
    )


def _price(form: Form, problems: list[Problem]) -> PriceEntry:
    kind = form.choice("type", Price.Type.values)
    form.what = f"a {kind} price" if kind else form.what
    if kind not in _TIMINGS:
        form.give_up()
    metered, key = kind == Price.Type.METERED, form.word("key")
    timings = _TIMINGS.get(kind, tuple(Price.Timing.values))
    entry = PriceEntry(
        place=form.place,
        key=key,
        type=kind,
        terms=_terms(form, kind, problems),
        included=ZERO if kind == Price.Type.FLAT else _included(form, whole=not metered),
        timing=form.choice("timing", timings, timings[0]),
        meter=form.word("meter") if metered else "",
        meter_place=form.place_of("meter"),
        name=form.text("name") or label_of(key),
        description=form.text("description", limit=2000),
    )
    form.close()
    return entry


def _included(form: Form, *, whole: bool) -> Decimal:
    included = form.decimal("included")
    if included is None:
        return ZERO
    finest = 0 if whole else 12
    if not 0 <= included < 10**18 or places_of(included) > finest:
        rule = "a whole number of seats" if whole else "a number of units, at most 12 decimals"
        form.note(form.place_of("included"), f"'included' must be {rule}, not below 0")
    return included


def _terms(form: Form, kind: str, problems: list[Problem]) -> Terms:
    flat = kind == Price.Type.FLAT
    model = form.choice("model", ("flat",) if flat else _BY_QUANTITY, "flat" if flat else "")
    if model not in _TERMS_OF:
        form.give_up()
        return Flat(ZERO)
    form.what = f"a {kind} price of model {model}"
    raw: dict[str, object] = {"model": model}
    places = {key: form.place_of(key) for key in _TERMS_OF[model]}
    before = len(problems)
    for key in _TERMS_OF[model]:
        if key == "tiers":
            raw[key] = _tiers(form, places, problems)
        elif key == "zero_quantity_flat":
            raw[key] = form.flag(key, default=True)
        else:
            raw[key] = form.decimal(key, required=True)
    return Flat(ZERO) if len(problems) > before else _checked_terms(form, raw, places)


def _checked_terms(form: Form, raw: dict[str, object], places: dict[str, Place]) -> Terms:
    try:
        return parse_terms(raw)
    except InvalidTerms as error:
        form.note(places.get(error.path, form.place), f"{error.path or 'price'}: {error.message}")
        return Flat(ZERO)


def _tiers(form: Form, places: dict[str, Place], problems: list[Problem]) -> list[object]:
    tiers: list[object] = []
    for index, tier in enumerate(form.forms("tiers", "a tier", required=True)):
        path = f"tiers[{index}]"
        places[path] = tier.place
        tiers.append(_tier(tier))
        for key in ("up_to", "unit_amount", "flat_amount"):
            places[f"{path}.{key}"] = tier.place_of(key)
        tier.close()
    return tiers


def _tier(form: Form) -> dict[str, object]:
    return {
        "up_to": _up_to(form),
        "unit_amount": form.decimal("unit_amount", required=True),
        "flat_amount": form.decimal("flat_amount") or ZERO,
    }


def _up_to(form: Form) -> Decimal | None:
    scalar = form.scalar("up_to", required=True)
    return None if scalar is None or scalar.is_null else form.decimal("up_to")


def _entitlements(form: Form, problems: list[Problem]) -> tuple[EntitlementEntry, ...]:
    node = form.take("entitlements")
    if node is None:
        return ()
    grants = Form(node, problems, "'entitlements'")
    return tuple(
        EntitlementEntry(grants.key_place(key), key, _value(grants, key)) for key in grants.names()
    )


def _value(form: Form, key: str) -> Value:
    scalar = form.scalar(key)
    if not WORD.fullmatch(key):
        form.note(form.key_place(key), f"{key!r} cannot be the key of a feature")
    if scalar is None or scalar.is_null:
        return None
    if not scalar.plain:
        return form.text(key)
    if scalar.text in {"true", "false"}:
        return scalar.text == "true"
    if scalar.text.lstrip("-").replace("_", "").isdigit():
        return form.whole(key, 0, 0, 10**15)
    return form.text(key)
