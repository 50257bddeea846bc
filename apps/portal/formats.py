"""How amounts, numbers and times are written for one organization: as on its invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time
from decimal import Decimal

from babel import Locale
from babel.dates import format_date, format_skeleton, format_time
from babel.numbers import format_compact_decimal

from apps.engine.calendar import zone
from apps.engine.period import Period
from apps.invoicing.paper.words import FALLBACK, Words, locale_of

MIDNIGHT = time()
SHORTENED_FROM = 100_000
NO_CURRENCY = "XXX"  # ISO 4217's own; numbers and times need none


@dataclass(frozen=True, slots=True)
class Formats:
    """Writes values in a locale and a zone, with the words that invoices use."""

    locale: str = "en"
    timezone: str = "UTC"

    @property
    def tag(self) -> str:
        """The locale as browsers call it (BCP 47)."""
        return locale_of(self.locale).replace("_", "-")

    def words(self, currency: str = NO_CURRENCY, timezone: str = "") -> Words:
        """Return the words for a currency and, where it is not the organization's, a zone."""
        return Words(locale_of(self.locale), zone(timezone or self.timezone), currency)

    def money(self, minor: int, currency: str) -> str:
        """Write minor units: $262.99."""
        return self.words(currency).money(minor)

    def exact(self, major: str, currency: str) -> str:
        """Write major units with all their decimals: $0.0000015."""
        return self.words(currency).rate(major)

    def number(self, value: Decimal | int | str) -> str:
        """Write a number with all its decimals."""
        return self.words().number(value)

    def round_number(self, value: Decimal) -> str:
        """Write a round number shortly, for axes: 2.5M."""
        if value < SHORTENED_FROM:
            return self.number(value)
        return format_compact_decimal(value, locale=self._babel, fraction_digits=2)

    def day(self, moment: datetime, timezone: str = "") -> str:
        """Write the local date."""
        return self.words(timezone=timezone).date(moment)

    def short_day(self, moment: datetime, timezone: str = "") -> str:
        """Write the local day and month, for axes."""
        local = self._local(moment, timezone).date()
        if self._is_english:
            return format_date(local, "d MMM", locale=self._babel)
        return format_skeleton("MMMd", local, locale=self._babel)

    def moment(self, moment: datetime, timezone: str = "") -> str:
        """Write the local date and time; with seconds only where there are any."""
        return self._moment(moment, timezone, whole=self._local(moment, timezone).second == 0)

    def _moment(self, moment: datetime, timezone: str, *, whole: bool) -> str:
        local = self._local(moment, timezone)
        form = ("HH:mm" if whole else "HH:mm:ss") if self._is_english else None
        form = form or ("short" if whole else "medium")
        clock = format_time(local.time(), form, locale=self._babel)
        return f"{self.day(moment, timezone)}, {clock}"

    def period(self, start: datetime, end: datetime, timezone: str = "") -> str:
        """Write a half-open span with its last day, or with times, to the minute, if it has any."""
        if self._is_of_days(start, end, timezone):
            return self.words(timezone=timezone).period(Period(start, end))
        ends = (self._moment(one, timezone, whole=True) for one in (start, end))
        return " – ".join(ends)

    def dates(self, start: datetime, end: datetime, timezone: str = "") -> str:
        """Write a half-open span by its days: the last one, or the one within which it ends."""
        if self._is_of_days(start, end, timezone):
            return self.period(start, end, timezone)
        return f"{self.day(start, timezone)} – {self.day(end, timezone)}"

    def _is_of_days(self, start: datetime, end: datetime, timezone: str) -> bool:
        return all(self._local(one, timezone).time() == MIDNIGHT for one in (start, end))

    @property
    def _is_english(self) -> bool:
        # Babel's plain "en" is American; invoices write it day first, and so do the pages.
        return locale_of(self.locale) == FALLBACK

    @property
    def _babel(self) -> Locale:
        return Locale.parse(locale_of(self.locale))

    def _local(self, moment: datetime, timezone: str) -> datetime:
        return moment.astimezone(zone(timezone or self.timezone))


def utc_text(moment: datetime) -> str:
    """Write an instant in UTC, for the hint behind a local time."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
