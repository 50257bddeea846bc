"""Numbers, money and time in a document's language, zone and currency."""

from __future__ import annotations

import re
from copy import copy
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_datetime, format_time
from babel.numbers import format_currency, format_decimal, format_percent

from apps.engine.decimals import places_of, plain
from apps.engine.money import Money, exponent
from apps.engine.period import Period
from apps.invoicing.document import Document

FALLBACK = "en"
SHOWN_PLACES = 6  # of an amount that no decimal can write
ENGLISH_DATE = "d MMM y"
# What a page cannot show: control characters and bidirectional overrides that could fake a text.
INVISIBLE = re.compile(
    "[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)

# What CLDR lists among territories besides countries: unions, outlying islands, tests.
NO_COUNTRIES = frozenset(
    ["AC", "CP", "CQ", "DG", "EA", "EU", "EZ", "IC", "QO", "TA", "UN", "XA", "XB", "XK", "ZZ"]
)


def visible(text: str) -> str:
    """Return the text without what a page cannot show; line breaks stay."""
    return INVISIBLE.sub("", text)


def is_country(code: str) -> bool:
    """Whether it is one of ISO 3166's codes of today, or Kosovo's or Northern Ireland's."""
    return code in {*Locale.parse(FALLBACK).territories, "1A", "XI"} - NO_COUNTRIES


def locale_of(name: str) -> str:
    """Return a locale that Babel knows: the one named, its language, or English."""
    wanted = name.replace("-", "_")
    for candidate in (wanted, wanted.split("_")[0]):
        try:
            return str(Locale.parse(candidate))
        except (UnknownLocaleError, ValueError):
            continue
    return FALLBACK


@dataclass(frozen=True, slots=True)
class Words:
    """How one document writes what it says."""

    locale: str
    zone: ZoneInfo
    currency: str

    @classmethod
    def of(cls, document: Document) -> Words:
        """Return the words for a document."""
        return cls(locale_of(document.locale), ZoneInfo(document.timezone), document.currency)

    def money(self, minor: int) -> str:
        """Write minor units of the document's currency: $262.99.

        The decimals are ISO 4217's, as everywhere: CLDR shows dinars without their thousandths.
        """
        places = exponent(self.currency)
        pattern = copy(Locale.parse(self.locale).currency_formats["standard"])
        pattern.frac_prec = (places, places)
        amount = Money(minor, self.currency).major
        return str(
            pattern.apply(amount, self.locale, currency=self.currency, currency_digits=False)
        )

    def rate(self, major: str) -> str:
        """Write a price in major units with all its decimals: $0.0000015.

        What no decimal can write exactly (1/3) is cut to six places and marked as such.
        """
        if "/" not in major:
            return self._rate(Decimal(major))
        return f"≈ {self._rate(_cut(major))}"

    def _rate(self, value: Decimal) -> str:
        whole = places_of(value) <= exponent(self.currency)
        return format_currency(
            Decimal(plain(value)),
            self.currency,
            locale=self.locale,
            currency_digits=whole,
            decimal_quantization=whole,
        )

    def number(self, value: Decimal | str | int) -> str:
        """Write a number with all its decimals: 18,059,974; what has no end is cut as a rate is."""
        if isinstance(value, str) and "/" in value:
            return f"≈ {self.number(_cut(value))}"
        text = plain(Decimal(value))
        return format_decimal(Decimal(text), locale=self.locale, decimal_quantization=False)

    def percent(self, value: Decimal) -> str:
        """Write a rate of so many hundredths with all its decimals: 8.875%."""
        share = Decimal(plain(value.scaleb(-2)))
        return format_percent(share, locale=self.locale, decimal_quantization=False)

    def country(self, code: str) -> str:
        """Write the name of a country; a code that nobody knows stays as it is."""
        return str(Locale.parse(self.locale).territories.get(code, code))

    def date(self, moment: datetime) -> str:
        """Write the day in the document's zone: 1 Dec 2023."""
        local = moment.astimezone(self.zone)
        form = ENGLISH_DATE if self.locale == FALLBACK else "medium"
        return format_date(local, format=form, locale=self.locale)

    def minute(self, moment: datetime) -> str:
        """Write day and time to the minute in the document's zone: 1 Dec 2023, 14:00 UTC."""
        local = moment.astimezone(self.zone)
        form = "HH:mm" if self.locale == FALLBACK else "short"
        clock = format_time(local.time(), form, locale=self.locale)
        return f"{self.date(moment)}, {clock} {local:%Z}"

    def instant(self, moment: datetime) -> str:
        """Write day and time in the document's zone, with the zone."""
        local = moment.astimezone(self.zone)
        return f"{format_datetime(local, 'medium', locale=self.locale)} {local:%Z}"

    def period(self, period: Period) -> str:
        """Write a span of whole local days from the first to the last one; else both instants."""
        start, end = (moment.astimezone(self.zone) for moment in (period.start, period.end))
        if not (_is_midnight(start) and _is_midnight(end)):
            return f"{self.instant(start)} – {self.instant(end)}"
        last = end - timedelta(days=1)
        if last.date() == start.date():
            return self.date(start)
        return f"{self.date(start)} – {self.date(last)}"


def _cut(exact: str) -> Decimal:
    return Decimal(round(Fraction(exact) * 10**SHOWN_PLACES)).scaleb(-SHOWN_PLACES)


def _is_midnight(local: datetime) -> bool:
    return (local.hour, local.minute, local.second, local.microsecond) == (0, 0, 0, 0)
