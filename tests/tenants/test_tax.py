"""Whose rates apply: the table of who sells to whom. Rows are unsaved: the decision is pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from apps.tenants.models import BillingEntity, Organization
from apps.tenants.tax import TaxStanding, standing
from tests.conftest import AT

DUBLIN, BERLIN, LONDON, BASEL = "IE6388047V", "DE136695976", "GB980780684", "CHE100155212"
OSS = {"EU": "IE6388047V"}


def decide(
    sold_from: str, to: str, *, at: datetime = AT, goods: bool = False, **facts: Any
) -> TaxStanding:
    """Decide for places written US or US-CA; `places` are registrations, the rest the buyer's."""
    country, _, region = to.partition("-")
    home, _, part = sold_from.partition("-")
    entity = BillingEntity(
        country=home,
        region=part,
        tax_id=facts.pop("own_id", "OWN"),
        tax_registrations=facts.pop("places", {}),
    )
    return standing(entity, Organization(country=country, region=region, **facts), at, goods=goods)


def business(tax_id: str, status: str = "verified") -> dict[str, Any]:
    return {"tax_id": tax_id, "tax_id_status": status}


@pytest.mark.parametrize(
    ("sold_from", "to", "facts", "country", "treatment", "code"),
    [
        # At home, whoever buys.
        ("DE", "DE", {}, "DE", "standard", ""),
        ("DE", "DE", business(BERLIN), "DE", "standard", ""),
        ("FR", "MC", {}, "FR", "standard", ""),
        ("GB", "IM", {}, "GB", "standard", ""),
        ("US-NY", "US-CA", {}, "US", "standard", ""),
        ("US-NY", "US-CA", {"places": {"US-CA": "1"}}, "US", "standard", ""),
        ("US-NY", "US-TX", {"places": {"US-CA": "1"}}, "US", "none", ""),
        ("US-NY", "US-TX", {"places": {"US": "1", "US-CA": "1"}}, "US", "standard", ""),
        # Within the EU: businesses account for it themselves.
        ("IE", "DE", business(BERLIN), "DE", "reverse_charge", "VATEX-EU-AE"),
        ("IE", "DE", business(BERLIN, "valid_format"), "DE", "reverse_charge", "VATEX-EU-AE"),
        ("IE", "DE", business(BERLIN, "unreachable"), "DE", "reverse_charge", "VATEX-EU-AE"),
        ("IE", "GR", business("EL094259216"), "GR", "reverse_charge", "VATEX-EU-AE"),
        ("IE", "DE", {**business(BERLIN), "places": OSS}, "DE", "reverse_charge", "VATEX-EU-AE"),
        # Nobody is a business by an id that is wrong, unread or missing.
        ("IE", "DE", business(BERLIN, "invalid"), "IE", "standard", ""),
        ("IE", "DE", business(BERLIN, "unchecked"), "IE", "standard", ""),
        ("IE", "DE", business("", "verified"), "IE", "standard", ""),
        # Consumers: their own country's rates once the issuer is registered there.
        ("IE", "DE", {}, "IE", "standard", ""),
        ("IE", "DE", {"places": {"DE": "DE1"}}, "DE", "standard", ""),
        ("IE", "DE", {"places": {"FR": "FR1"}}, "IE", "standard", ""),
        ("IE", "GR", {"places": OSS}, "GR", "standard", ""),
        # Out of the EU.
        ("IE", "US-CA", {}, "US", "export", "VATEX-EU-O"),
        ("IE", "CH", business(BASEL), "CH", "export", "VATEX-EU-O"),
        ("IE", "GB", {}, "GB", "export", "VATEX-EU-O"),
        ("IE", "GB", {"places": {"GB": "GB1"}}, "GB", "standard", ""),
        ("IE", "US-CA", {"places": {"US-CA": "1"}}, "US", "standard", ""),
        ("IE", "US-TX", {"places": {"US-CA": "1"}}, "US", "export", "VATEX-EU-O"),
        ("IE", "NO", {"places": OSS}, "NO", "export", "VATEX-EU-O"),
        # Into the EU and elsewhere from outside it.
        ("US", "DE", {}, "DE", "none", ""),
        ("US", "DE", business(BERLIN), "DE", "none", ""),
        ("US", "DE", {"places": OSS}, "DE", "standard", ""),
        ("US", "DE", {**business(BERLIN), "places": OSS}, "DE", "reverse_charge", "VATEX-EU-AE"),
        ("US", "CA-ON", {}, "CA", "none", ""),
        ("US", "CA-ON", {"places": {"CA": "1"}}, "CA", "standard", ""),
        # An issuer that has not said where it lives decides nothing.
        ("", "DE", {}, "DE", "none", ""),
        ("", "", {}, "", "none", ""),
    ],
)
def test_services_are_taxed_by_who_sells_to_whom_and_where(
    sold_from: str, to: str, facts: dict[str, Any], country: str, treatment: str, code: str
) -> None:
    found = decide(sold_from, to, **facts)
    assert (found.country, found.treatment, found.reason_code) == (country, treatment, code)
    assert found.bears_tax == (treatment == "standard")


@pytest.mark.parametrize(
    ("sold_from", "to", "facts", "country", "treatment", "code", "note"),
    [
        ("IE", "US", {}, "US", "export", "VATEX-EU-G", "export"),
        ("IE", "GB", {}, "GB", "export", "VATEX-EU-G", "export"),
        ("IE", "DE", business(BERLIN), "DE", "reverse_charge", "VATEX-EU-IC", "intra_community"),
        ("IE", "GB", business("XI980780684"), "GB", "reverse_charge", "VATEX-EU-IC",
         "intra_community"),
        ("IE", "GB", business("XI980780684", "invalid"), "IE", "standard", "", ""),
        ("GB", "GB", business("XI980780684"), "GB", "standard", "", ""),
    ],
)  # fmt: skip
def test_goods_to_northern_ireland_stay_in_the_union_and_others_are_exported(
    sold_from: str,
    to: str,
    facts: dict[str, Any],
    country: str,
    treatment: str,
    code: str,
    note: str,
) -> None:
    found = decide(sold_from, to, goods=True, **facts)
    told = (found.country, found.treatment, found.reason_code, found.note)
    assert told == (country, treatment, code, note)


def test_services_to_northern_ireland_leave_the_union() -> None:
    found = decide("IE", "GB", **business("XI980780684"))
    assert (found.country, found.treatment, found.note) == ("GB", "export", "outside_scope")


def test_the_united_kingdom_was_in_the_union_until_the_end_of_the_transition() -> None:
    last = datetime(2020, 12, 31, 23, 59, tzinfo=UTC)
    first = datetime(2021, 1, 1, tzinfo=UTC)
    assert decide("IE", "GB", at=last, **business(LONDON)).treatment == "reverse_charge"
    assert decide("IE", "GB", at=first, **business(LONDON)).treatment == "export"


@pytest.mark.parametrize(
    ("told", "code", "reason"),
    [
        ("vatex-eu-132-1i", "VATEX-EU-132-1I", ""),
        ("Public school, certificate 17", "", "Public school, certificate 17"),
        ("", "", ""),
    ],
)
def test_an_exempt_customer_pays_none_and_the_invoice_says_why(
    told: str, code: str, reason: str
) -> None:
    found = decide("DE", "DE", tax_exemption="exempt", tax_exemption_reason=told)
    assert (found.treatment, found.note) == ("exempt", "exempt")
    assert (found.reason_code, found.reason) == (code, reason)


def test_staff_may_decide_on_reverse_charge_even_at_home() -> None:
    found = decide("DE", "DE", tax_exemption="reverse_charge")
    assert (found.treatment, found.reason_code) == ("reverse_charge", "VATEX-EU-AE")


@pytest.mark.parametrize(
    ("to", "places", "number"),
    [
        ("DE", {}, "OWN"),
        ("DE", {"DE": "DE1", "EU": "OSS1"}, "DE1"),
        ("FR", {"DE": "DE1", "EU": "OSS1"}, "OSS1"),
        ("IE", {"EU": "OSS1"}, "OWN"),
        ("US-CA", {"US-CA": "CA1", "US": "US1"}, "CA1"),
        ("US-TX", {"US-CA": "CA1", "US": "US1"}, "US1"),
    ],
)
def test_the_number_of_the_narrowest_registration_is_stated(
    to: str, places: dict[str, str], number: str
) -> None:
    assert decide("IE", to, places=places).seller_tax_id == number


def test_the_region_is_the_customers_where_its_rates_apply_and_the_issuers_where_not() -> None:
    assert decide("US-NY", "US-CA").region == "CA"
    assert decide("ES-CN", "DE-BY").region == "CN"
