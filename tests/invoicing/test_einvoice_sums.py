"""Documents as the engine settles them, held against the published rules."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from facturx import xml_check_xsd
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.engine import lines, settlement
from apps.engine.discounts import Discount
from apps.engine.money import Money
from apps.engine.settlement import SettledLine, Settlement, settle
from apps.engine.tax import Inclusive, TaxPolicy, TaxRate, TaxRounding, Treatment
from apps.invoicing import einvoice
from apps.invoicing.document import Deduction, Document, Line, Tax
from apps.invoicing.einvoice import Obstacle
from tests.invoicing import papers
from tests.invoicing.published import broken_rules
from tests.invoicing.test_einvoice import xml_of

RATES = [
    TaxRate(f"{percent} {inclusive}", Decimal(percent), inclusive)
    for percent in ("19", "7", "5.5", "0")
    for inclusive in (False, True)
]
PER_RATE = TaxPolicy(TaxRounding.PER_RATE)


@st.composite
def settlements(draw: st.DrawFn) -> Settlement:
    """Draw a document of the engine's: lines of one rate each, discounts, any way to round."""
    drawn = st.tuples(
        st.integers(-50_00, 5_000_00),
        st.sampled_from(RATES),
        st.sampled_from([Treatment.TAXED, Treatment.TAXED, Treatment.REVERSE_CHARGE]),
    )
    rated = [
        lines.Line(str(n), Money(amount, "EUR"), rates=(rate,), treatment=treatment)
        for n, (amount, rate, treatment) in enumerate(draw(st.lists(drawn, min_size=1, max_size=5)))
    ]
    percents = draw(st.lists(st.sampled_from(["10", "33.3", "100"]), max_size=2))
    discounts = [Discount(f"off {n}", Decimal(each)) for n, each in enumerate(percents)]
    policy = TaxPolicy(draw(st.sampled_from(TaxRounding)), draw(st.sampled_from(Inclusive)))
    return settle(rated, currency="EUR", discounts=discounts, policy=policy)


def document_of(settled: Settlement) -> Document:
    """Return what the engine settled as a document for a French business."""
    made = [_line(one) for one in settled.lines]
    totals = settled.totals
    taxes = papers.gathered(made)
    assert totals.tax.minor == sum(tax.amount for tax in taxes)
    return replace(
        papers.rich(),
        parties={**papers.rich().parties, "customer": papers.FRENCH_CUSTOMER},
        lines=tuple(made),
        subtotal=totals.subtotal.minor,
        discount=totals.discount.minor,
        discounts=tuple(Deduction(a.discount.id, a.amount.minor) for a in settled.discounts),
        taxes=taxes,
        tax=totals.tax.minor,
        credits=(),
        credits_total=0,
        total=totals.total.minor,
        amount_due=totals.total.minor,
    )


def _line(one: SettledLine) -> Line:
    (part,) = one.taxed.parts
    tax = Tax(
        name="VAT",
        percent=part.rate.percent,
        base=int(one.taxable),
        amount=part.amount.minor,
        treatment=one.line.treatment.value,
        inclusive=part.rate.inclusive,
    )
    amount = one.line.amount.minor
    plain = replace(papers.euro_lines()[0], amount=amount, discount=int(one.discount))
    return replace(plain, tax_rates=(tax,))


@settings(max_examples=25, deadline=None)
@given(settlements())
def test_what_the_engine_settles_keeps_the_published_rules(settled: Settlement) -> None:
    xml = xml_of(document_of(settled))
    assert xml_check_xsd(xml, flavor="factur-x", level="en16931")
    assert broken_rules(xml) == []


def test_tax_that_drifted_by_a_whole_unit_is_told_and_tax_per_rate_does_not_drift() -> None:
    """300 lines of 0.03 at 19 %: 0.01 each makes 3.00, but 9.00 at 19 % are 1.71."""
    cents = [lines.Line(str(n), Money(3, "EUR"), rates=(RATES[0],)) for n in range(300)]
    per_line = document_of(settlement.settle(cents, currency="EUR"))
    assert einvoice.of(per_line).obstacles == (Obstacle.AMOUNTS,)
    per_rate = document_of(settlement.settle(cents, currency="EUR", policy=PER_RATE))
    assert per_rate.tax == 1_71
    assert broken_rules(xml_of(per_rate)) == []
