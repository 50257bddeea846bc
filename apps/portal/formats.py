"""How amounts, numbers and times are written for one organization: as on its invoices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from babel import Locale
from babel.dates import format_skeleton

from apps.engine.calendar import zone
from apps.engine.period import Period
from apps.invoicing.paper.words import Words, locale_of

NO_CURRENCY = "XXX"  # ISO 4217's own; numbers and times need none


@dataclass(frozen=True, slots=True)
class Formats:
    """Writes values in a locale and a zone, with the words that invoices use."""

    locale: str = "en"
    timezone: str = "UTC"

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

    def day(self, moment: datetime, timezone: str = "") -> str:
        """Write the local date."""
        return self.words(timezone=timezone).date(moment)

    def short_day(self, moment: datetime, timezone: str = "") -> str:
        """Write the local day and month, for axes."""
        local = moment.astimezone(zone(timezone or self.timezone))
        return format_skeleton("MMMd", local.date(), locale=Locale.parse(locale_of(self.locale)))

    def moment(self, moment: datetime, timezone: str = "") -> str:
        """Write the local date and time, and the zone."""
        return self.words(timezone=timezone).instant(moment)

    def period(self, start: datetime, end: datetime, timezone: str = "") -> str:
        """Write a half-open span with its last day, or with times where it has any."""
        return self.words(timezone=timezone).period(Period(start, end))


def utc_text(moment: datetime) -> str:
    """Write an instant in UTC, for the hint behind a local time."""
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
