"""An invoice of ours as lines for Stripe."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from apps.engine.money import Money
from apps.invoicing.document import Document
from apps.payments.errors import NotChargeable
from apps.payments.pushing import provider_amounts, pushed_lines
from tests.invoicing import papers


@pytest.mark.parametrize(
    "document",
    [
        papers.gateway(),
        papers.rich(),
        papers.reverse_charge(),
        papers.with_prices_that_include_tax(),
        papers.taxed_yen(),
        papers.dinars(),
        papers.long(),
    ],
    ids=["gateway", "rich", "reverse charge", "inclusive", "yen", "dinars", "long"],
)
def test_the_lines_sum_to_what_is_due(document: Document) -> None:
    lines = pushed_lines(document)
    assert sum(line.amount for line in lines) == document.amount_due
    assert len({line.key for line in lines}) == len(lines)


def test_discounts_taxes_and_credit_are_told_as_lines_of_their_own() -> None:
    told = [(line.kind, line.words, line.amount) for line in pushed_lines(papers.rich())]
    assert told[0] == ("advance", "Platform", 250_00)
    assert told[4:] == [
        ("discount", "Launch offer 10 %", -98_69),
        ("tax", "VAT 19%", 46_27),
        ("tax", "VAT 7%", 45_12),
        ("credit", "Prepaid credit", -100_00),
    ]


def test_what_is_paid_or_taken_back_already_is_told_in_the_customers_language() -> None:
    rich = papers.rich()
    rest = replace(rich, amount_paid=33_83, credited=200_00, amount_due=600_00)
    told = {line.kind: (line.words, line.amount) for line in pushed_lines(rest)}
    assert told["paid"] == ("Bezahlt", -33_83)
    assert told["credited"] == ("Rechnungskorrekturen", -200_00)


def test_more_lines_than_stripe_takes_are_told_by_their_words() -> None:
    [line] = papers.dinars().lines
    later = [
        replace(
            line,
            id=f"il_{n}",
            tax_rates=(),
            period=replace(
                line.period,
                start=line.period.start + timedelta(days=31 * n),
                end=line.period.end + timedelta(days=31 * n),
            ),
        )
        for n in range(300)
    ]
    document = papers.document(*later, currency="KWD")
    [told] = pushed_lines(document)
    assert (told.words, told.amount) == ("Platform (300 lines)", 300 * 12_340)
    assert told.period is not None
    assert (told.period.start, told.period.end) == (later[0].period.start, later[-1].period.end)
    with pytest.raises(NotChargeable, match="Stripe takes 250 lines"):
        pushed_lines(papers.document(*(replace(one, name=one.id) for one in later)))


def test_an_invoice_that_does_not_add_up_is_not_told() -> None:
    wrong = replace(papers.gateway(), amount_due=papers.gateway().amount_due + 1)
    with pytest.raises(NotChargeable, match="a fault of ours"):
        pushed_lines(wrong)


def test_amounts_are_written_for_the_currency_and_their_sum_is_checked() -> None:
    lines = pushed_lines(papers.dinars())
    assert provider_amounts(lines, "KWD") == [12_340]
    assert sum(provider_amounts(pushed_lines(papers.rich()), "EUR")) == 833_83
    with pytest.raises(NotChargeable, match="at least"):
        provider_amounts([replace(lines[0], amount=Money.of("0.49", "USD").minor)], "USD")
