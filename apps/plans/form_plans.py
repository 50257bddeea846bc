"""Plans in a catalogue file: what may stand in one, and what it means for each kind of price."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence
from typing import Protocol

from apps.engine.calendar import Interval, Unit
from apps.engine.decimals import ZERO
from apps.engine.money import UnknownCurrency, exponent
from apps.engine.prices import Flat
from apps.plans.content import USUAL_RULES, GrantRules, PriceAmounts, ThresholdTerms, Value
from apps.plans.document import EntitlementEntry, PlanEntry, PriceEntry, label_of
from apps.plans.errors import Place, Problem
from apps.plans.form import WORD, Form, one_of, shown
from apps.plans.form_prices import price_entry
from apps.plans.models import Entitlement, Plan, Price
from apps.plans.yaml_tree import Pairs, Scalar

CURRENCY = re.compile(r"[A-Z]{3}")
TRIAL_DAYS = 14


class Placed(Protocol):
    """Something that stands somewhere in the file."""

    @property
    def place(self) -> Place: ...


def doubles(entries: Sequence[tuple[str, Placed]], what: str) -> Iterator[Problem]:
    """Find what is defined twice."""
    first: dict[str, Place] = {}
    for key, entry in entries:
        if key in first:
            there = f"it is defined on line {first[key].line} already"
            yield Problem(entry.place, f"{what} {key!r} stands here again: {there}")
        elif key:
            first[key] = entry.place


def plan_entry(form: Form, currency: str, position: int, problems: list[Problem]) -> PlanEntry:
    """Read a plan; `currency` is the file's, `position` its place in it."""
    custom = form.flag("custom", default=False)
    own = read_currency(form, required=not currency) or currency
    currencies = (own, *_further(form, own))
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
        currency=own,
        interval=_interval(form, problems),
        trial_days=_trial_days(form),
        prices=_prices(form, custom, currencies, problems),
        entitlements=_entitlements(form, problems),
        currencies=currencies,
        trial_requires_card=form.flag("trial_requires_card", default=False),
        thresholds=_thresholds(form, currencies),
    )
    form.close()
    return entry


def read_currency(form: Form, *, required: bool) -> str:
    """Return the currency of the file or plan; empty when it names none."""
    code = form.text("currency", required=required, limit=3)
    if code:
        _check_currency(form, form.place_of("currency"), code)
    return code


def _check_currency(form: Form, place: Place, code: str) -> None:
    try:
        exponent(code)
    except UnknownCurrency as error:
        form.note(place, f"{error}; write it like USD")


def _further(form: Form, own: str) -> tuple[str, ...]:
    codes = form.words("currencies", CURRENCY, "a currency like EUR")
    for code in codes:
        _check_currency(form, form.place_of("currencies"), code)
    if own in codes:
        form.note(form.place_of("currencies"), f"{own} is the plan's own currency; name the others")
    return codes


def _trial_days(form: Form) -> int:
    trial = form.flag("trial", default=form.has("trial_days"))
    days = form.whole("trial_days", TRIAL_DAYS if trial else 0, 0, 730)
    if form.has("trial") and form.has("trial_days") and trial != (days > 0):
        form.note(form.place_of("trial"), "'trial' and 'trial_days' disagree; keep one of them")
    return days


def _thresholds(form: Form, currencies: Sequence[str]) -> dict[str, ThresholdTerms]:
    inner = form.inner("thresholds", "'thresholds'")
    if inner is None:
        return {}
    found = {}
    for code in inner.names():
        if code not in currencies:
            inner.note(inner.key_place(code), f"the plan is not sold in {shown(code)}")
        said = inner.inner(code, f"the threshold in {code}")
        if said is not None:
            found[code] = _threshold(said)
    return found


def _threshold(form: Form) -> ThresholdTerms:
    amounts = form.numbers("amounts")
    rising = all(a < b for a, b in itertools.pairwise(amounts)) and all(a > 0 for a in amounts)
    if not rising:
        form.note(form.place_of("amounts"), "'amounts' must rise from above 0")
    step = form.decimal("step")
    if step is not None and step <= 0:
        form.note(form.place_of("step"), "'step' must be above 0")
    if not amounts and step is None:
        form.note(form.place, f"{form.what} needs 'amounts' or 'step'")
    form.close()
    return ThresholdTerms(amounts, step)


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


def _prices(
    form: Form, custom: bool, currencies: Sequence[str], problems: list[Problem]
) -> tuple[PriceEntry, ...]:
    if not custom and not form.has("prices"):
        advice = "a free one says [], a negotiated one custom: true"
        form.note(form.place, f"a plan needs 'prices'; {advice}")
    if custom and not form.has("prices"):
        return (_agreed_later(form, currencies),)
    prices = tuple(price_entry(price, currencies) for price in form.forms("prices", "a price"))
    problems += doubles([(price.key, price) for price in prices], "price")
    problems += _rivals(prices)
    return prices


def _agreed_later(form: Form, currencies: Sequence[str]) -> PriceEntry:
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
        amounts={code: PriceAmounts(Flat(ZERO)) for code in currencies},
    )


def _rivals(prices: Sequence[PriceEntry]) -> Iterator[Problem]:
    """Find prices that could never take anything: an earlier one has the same meter and filters."""
    filtered = {price.meter for price in prices if price.filters}
    first: dict[tuple[str, str], PriceEntry] = {}
    for price in prices:
        if price.meter not in filtered:
            continue
        said = repr(sorted((name, sorted(values)) for name, values in price.filters.items()))
        rival = first.setdefault((price.meter, said), price)
        if rival is not price:
            same = f"{rival.key!r} on line {rival.place.line}"
            yield Problem(price.place, f"{same} has the same meter and filters and takes it all")


def _entitlements(form: Form, problems: list[Problem]) -> tuple[EntitlementEntry, ...]:
    node = form.take("entitlements")
    if node is None:
        return ()
    grants = Form(node, problems, "'entitlements'")
    return tuple(_entitlement(grants, key, problems) for key in grants.names())


def _entitlement(grants: Form, key: str, problems: list[Problem]) -> EntitlementEntry:
    """Read a grant: its value alone, or with the rules of a limit."""
    place, node = grants.key_place(key), grants.take(key)
    if not isinstance(node, Pairs):
        return EntitlementEntry(place, key, _value(grants, key))
    _check_feature(grants, key)
    said = Form(node, problems, f"the entitlement {key!r}")
    if not said.has("value"):
        said.note(said.place, f"{said.what} needs 'value'")
    usual = USUAL_RULES
    rules = GrantRules(
        reset=said.choice("reset", Entitlement.Reset.values, usual.reset),
        on_limit=said.choice("on_limit", Entitlement.OnLimit.values, usual.on_limit),
        prepaid=said.flag("prepaid", default=usual.prepaid),
    )
    entry = EntitlementEntry(place, key, _read_value(said, "value"), rules)
    said.close()
    return entry


def _value(form: Form, key: str) -> Value:
    _check_feature(form, key)
    return _read_value(form, key)


def _check_feature(form: Form, key: str) -> None:
    if not WORD.fullmatch(key):
        form.note(form.key_place(key), f"{key!r} cannot be the key of a feature")


def _read_value(form: Form, key: str) -> Value:
    scalar = form.scalar(key)
    if scalar is None or scalar.is_null:
        return None
    if not scalar.plain:
        return form.text(key)
    if scalar.text in {"true", "false"}:
        return scalar.text == "true"
    if scalar.text.lstrip("-").replace("_", "").isdigit():
        return form.whole(key, 0, 0, 10**15)
    return form.text(key)
