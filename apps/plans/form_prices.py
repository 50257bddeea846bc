"""Prices in a catalogue file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from apps.engine.decimals import ZERO, places_of
from apps.engine.price_rules import Conversion, parse_rules
from apps.engine.prices import Dynamic, Flat, Percentage, Terms
from apps.plans.content import PriceAmounts
from apps.plans.document import PriceEntry, label_of
from apps.plans.form import Form
from apps.plans.form_terms import MODELS, judged, read_fields, read_terms
from apps.plans.models import Price

BY_EVENT = (Percentage.model, Dynamic.model)
_BY_USE = tuple(model for model in MODELS if model != Flat.model)
_MODELS: Mapping[str, Sequence[str]] = {
    Price.Type.FLAT: (Flat.model,),
    Price.Type.ONE_TIME: (Flat.model,),
    Price.Type.LICENSED: ("per_unit", "graduated", "volume", "package"),
    Price.Type.METERED: _BY_USE,
}
_TIMINGS: Mapping[str, Sequence[str]] = {
    Price.Type.FLAT: (Price.Timing.ADVANCE, Price.Timing.ARREARS),
    Price.Type.LICENSED: (Price.Timing.ADVANCE, Price.Timing.ARREARS),
    Price.Type.METERED: (Price.Timing.ARREARS,),
    Price.Type.ONE_TIME: (Price.Timing.ADVANCE,),
}
_FIXED = (Price.Type.FLAT, Price.Type.ONE_TIME)
_LIVED = (Price.Type.FLAT, Price.Type.LICENSED)
_COUNTED = (Price.Type.LICENSED, Price.Type.METERED)


def price_entry(form: Form, currencies: Sequence[str]) -> PriceEntry:
    """Read a price, in all the currencies that its plan is sold in, the plan's own first."""
    kind = form.choice("type", Price.Type.values)
    form.what = f"a {kind} price" if kind else form.what
    if kind not in _TIMINGS:
        form.give_up()
    metered, key = kind == Price.Type.METERED, form.word("key")
    timings = _TIMINGS.get(kind, tuple(Price.Timing.values))
    model = _model(form, kind)
    amounts = _amounts(form, kind, model, currencies)
    own = amounts[currencies[0]]
    entry = PriceEntry(
        place=form.place,
        key=key,
        type=kind,
        terms=own.terms,
        included=_included(form, kind, model),
        timing=form.choice("timing", timings, timings[0]),
        meter=form.word("meter") if metered else "",
        meter_place=form.place_of("meter"),
        name=form.text("name") or label_of(key),
        description=form.text("description", limit=2000),
        minimum_amount=own.minimum_amount,
        maximum_amount=own.maximum_amount,
        conversion=_conversion(form) if metered else None,
        filters=form.choices("filters") if metered else {},
        amounts=amounts,
        places=form.places(),
        **_manners(form, kind),
    )
    form.close()
    return entry


def _manners(form: Form, kind: str) -> dict[str, Any]:
    """Read how a part of a period and a changed quantity are charged."""
    found = {"proration": str(Price.Proration.SECOND)}
    if kind in _LIVED:
        found["proration"] = form.choice(
            "proration", Price.Proration.values, Price.Proration.SECOND
        )
    if kind == Price.Type.LICENSED:
        found["quantity_policy"] = form.choice(
            "quantity_policy", Price.QuantityPolicy.values, Price.QuantityPolicy.PURCHASED
        )
    return found


def _model(form: Form, kind: str) -> str:
    models = _MODELS.get(kind, _BY_USE)
    model = form.choice("model", models, models[0] if len(models) == 1 else "")
    if model not in models:
        form.give_up()
        return Flat.model
    form.what = f"a {kind} price of model {model}"
    return model


def _amounts(
    form: Form, kind: str, model: str, currencies: Sequence[str]
) -> dict[str, PriceAmounts]:
    own, *others = currencies
    found = {own: _in_one_currency(form, kind, model)}
    inner = form.inner("currencies", "'currencies'")
    if inner is None and others:
        form.note(form.place, f"{form.what} needs 'currencies' with {', '.join(others)}")
    if inner is not None:
        _check_codes(inner, others)
        for code in inner.names():
            said = inner.inner(code, f"the price in {code}")
            if said is not None:
                found[code] = _in_one_currency(said, kind, model)
                said.close()
    return found


def _check_codes(inner: Form, others: Sequence[str]) -> None:
    for code in inner.names():
        if code not in others:
            named = "name it in the plan's 'currencies'"
            inner.note(inner.key_place(code), f"the plan is not sold in {code!r} besides; {named}")
    for code in others:
        if not inner.has(code):
            inner.note(inner.place, f"the price in {code} is missing")


def _in_one_currency(form: Form, kind: str, model: str) -> PriceAmounts:
    terms: Terms = read_terms(form, model)
    if kind not in _COUNTED:
        return PriceAmounts(terms)
    least, most = form.decimal("minimum_amount"), form.decimal("maximum_amount")
    places = {key: form.place_of(key) for key in ("minimum_amount", "maximum_amount")}
    raw = {"minimum_amount": least, "maximum_amount": most}
    judged(form, lambda: parse_rules(raw), places)
    if least is not None and least == 0:
        form.note(places["minimum_amount"], "a minimum of 0 says nothing; remove it")
    return PriceAmounts(terms, least, most)


def _conversion(form: Form) -> Conversion | None:
    inner = form.inner("conversion", "a conversion")
    if inner is None:
        return None
    before = inner.count
    raw, places = read_fields(inner, Conversion)
    inner.close()
    if inner.count > before:
        return None
    at = {f"conversion.{key}": place for key, place in places.items()}
    rules = judged(inner, lambda: parse_rules({"conversion": raw}), at)
    return None if rules is None else rules.conversion


def _included(form: Form, kind: str, model: str) -> Decimal:
    if kind in _FIXED or model in BY_EVENT:
        return ZERO
    included = form.decimal("included")
    if included is None:
        return ZERO
    whole = kind != Price.Type.METERED
    if not 0 <= included < 10**18 or places_of(included) > (0 if whole else 12):
        rule = "a whole number of seats" if whole else "a number of units, at most 12 decimals"
        form.note(form.place_of("included"), f"'included' must be {rule}, not below 0")
    return included
