from __future__ import annotations

import gettext
import re
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from django.utils import translation

from apps.plans.errors import NotRedeemable
from apps.portal import charts, words
from apps.portal.charts import Column
from apps.portal.formats import Formats
from apps.portal.refusals import sentence
from apps.tenants import roles

CATALOG = Path("apps/portal/locale/de/LC_MESSAGES")


def test_the_compiled_german_is_the_written_one() -> None:
    with (CATALOG / "django.po").open("rb") as written, (CATALOG / "django.mo").open("rb") as made:
        messages = [message for message in read_po(written, locale="de") if message.id]
        compiled = gettext.GNUTranslations(made)
    assert len(messages) > 350
    for message in messages:
        if isinstance(message.id, tuple):
            one, many = message.id
            forms: tuple[str, ...] = tuple(compiled.ngettext(one, many, n) for n in (1, 2))
            assert forms == message.string
        else:
            assert compiled.gettext(str(message.id)) == message.string


def test_the_german_fills_in_the_same_blanks() -> None:
    with (CATALOG / "django.po").open("rb") as written:
        for message in read_po(written, locale="de"):
            if isinstance(message.id, str):
                assert _blanks(message.id) == _blanks(str(message.string)), message.id


def _blanks(text: str) -> list[str]:
    return sorted(re.findall(r"%\(\w+\)[sd]|%%", text))


def test_every_role_and_scope_has_its_words() -> None:
    assert set(words.ROLES) == set(words.ROLE_MEANINGS) == set(roles.ROLES)
    assert set(words.SCOPES) == set(roles.SCOPES) - {"organizations:write", "invoices:write"}


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("'Five off' counts already.", "„Five off“ gilt schon."),
        (
            "'Ten' needs a bill of 100.00 USD or more.",
            "„Ten“ gilt ab einem Rechnungsbetrag von 100.00 USD.",
        ),
        ("'Ten' is fine.", "'Ten' is fine."),
    ],
)
def test_a_refusal_keeps_its_values_in_another_language(said: str, written: str) -> None:
    with translation.override("de"):
        assert sentence(NotRedeemable(said)) == written


AT = datetime(2023, 11, 30, 23, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("locale", "zone", "money", "day", "moment"),
    [
        ("en", "UTC", "$1,234.50", "30 Nov 2023", "30 Nov 2023, 23:30"),
        ("de", "Europe/Berlin", "1.234,50\xa0$", "01.12.2023", "01.12.2023, 00:30"),
        ("tlh", "UTC", "$1,234.50", "30 Nov 2023", "30 Nov 2023, 23:30"),
    ],
)
def test_values_are_written_in_the_locale_and_the_zone(
    locale: str, zone: str, money: str, day: str, moment: str
) -> None:
    formats = Formats(locale, zone)
    assert formats.money(1234_50, "USD") == money
    assert formats.day(AT) == day
    assert formats.moment(AT) == moment


def test_a_period_ends_with_its_last_day_or_says_the_time() -> None:
    formats = Formats("en", "UTC")
    start, end = datetime(2023, 11, 1, tzinfo=UTC), datetime(2023, 12, 1, tzinfo=UTC)
    assert formats.period(start, end) == "1 Nov 2023 – 30 Nov 2023"
    assert formats.period(AT, end) == "30 Nov 2023, 23:30 – 1 Dec 2023, 00:00"


@pytest.mark.parametrize(
    ("largest", "lines"),
    [
        ("0", ["0", "1", "2", "3", "4"]),
        ("12", ["0", "5", "10", "15", "20"]),
        ("40", ["0", "10", "20", "30", "40"]),
        ("0.9", ["0", "0.25", "0.50", "0.75", "1.00"]),
        ("6000000", ["0", "2000000", "4000000", "6000000", "8000000"]),
    ],
)
def test_the_grid_has_round_numbers_up_to_the_largest_value(largest: str, lines: list[str]) -> None:
    assert list(charts.grid([Decimal(largest)])) == [Decimal(line) for line in lines]


@pytest.mark.parametrize("count", [1, 7, 31, 366])
def test_columns_stand_side_by_side_inside_the_chart(count: int) -> None:
    values = [Column(Decimal(n), str(n), "") for n in range(count)]
    chart = charts.columns(values, write=["0", "1"])
    assert all(a.x + a.width <= b.x + 1 for a, b in zip(chart.bars, chart.bars[1:], strict=False))
    assert chart.bars[-1].x + chart.bars[-1].width <= chart.right
    assert all(bar.y + bar.height == chart.bottom for bar in chart.bars)
    assert len(chart.columns) <= charts.MOST_LABELS
    assert chart.bars[0].height == 0


@pytest.mark.parametrize(
    ("part", "whole", "percent"),
    [("0", "5000", 0), ("1", "5000", 1), ("9", "3", 100), ("1", "0", 100)],
)
def test_a_share_is_nothing_only_for_nothing(part: str, whole: str, percent: int) -> None:
    assert charts.share(Decimal(part), Decimal(whole)) == percent
