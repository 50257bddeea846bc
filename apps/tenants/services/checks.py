"""What several verbs of this room refuse in the same words."""

from __future__ import annotations

import re

from babel import Locale
from django.core.exceptions import ValidationError
from django.core.validators import validate_email

from apps.core.errors import Invalid

NO_COUNTRIES = {"EU", "EZ", "QO", "UN", "XA", "XB", "ZZ"}  # CLDR's groups and test regions
COUNTRIES = frozenset(
    code
    for code in map(str, Locale("en").territories)
    if re.fullmatch("[A-Z]{2}", code) and code not in NO_COUNTRIES
)
SHORT_REGION = re.compile("[A-Za-z0-9]{1,3}")


def check_email(email: str) -> None:
    """Raise Invalid unless this looks like an e-mail address."""
    try:
        validate_email(email)
    except ValidationError:
        raise Invalid(f"'{email}' is no e-mail address.", param="email") from None


def check_country(country: str) -> None:
    """Raise Invalid unless this is a country."""
    if country not in COUNTRIES:
        raise Invalid(f"'{country}' is no ISO 3166 country.", param="country")


def clean_region(region: str) -> str:
    """Return a part of a country as it is kept: codes (CA, 75C) in capitals, names as written."""
    region = region.strip()
    return region.upper() if SHORT_REGION.fullmatch(region) else region
