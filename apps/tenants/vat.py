"""Tax ids by their form: is it one of that country, do its check digits agree?

Pure: who asks a register about them is `gateway`. The rules of each country are python-stdnum's.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, cast

from stdnum import get_cc_module
from stdnum.ch import uid
from stdnum.exceptions import InvalidChecksum, ValidationError
from stdnum.util import clean

from apps.tenants.places import EU, NORTHERN_IRELAND, prefix_of, tax_area

SEPARATORS = " -./'"
UNION_PREFIXES = frozenset(prefix_of(country) for country in EU) | {NORTHERN_IRELAND}
SWISS_ENDINGS = ("MWST", "TVA", "IVA", "TPV")


class Problem(StrEnum):
    """What is wrong with a tax id."""

    NONE = ""
    COUNTRY = "country"  # it is another country's
    FORM = "form"  # too long, too short, or letters where digits must be
    CHECKSUM = "checksum"  # its check digits do not agree: a typing error


@dataclass(frozen=True, slots=True)
class TaxNumber:
    """A tax id as registers write it: DE and 136695976; EL for Greece, XI for Northern Ireland."""

    prefix: str
    number: str

    @property
    def in_vies(self) -> bool:
        """Whether the EU's register knows such numbers."""
        return self.prefix in UNION_PREFIXES


@dataclass(frozen=True, slots=True)
class Reading:
    """What the form of a tax id says. Neither a number nor a problem: nobody knows its rules."""

    number: TaxNumber | None = None
    problem: Problem = Problem.NONE


class _Rules(Protocol):
    """What python-stdnum has for each country."""

    def validate(self, number: str) -> str:
        """Return the number without separators and prefix, or raise ValidationError."""


def read(tax_id: str, country: str) -> Reading:
    """Read the tax id of a company in this country (ISO 3166), however it is spaced."""
    written = clean(tax_id, SEPARATORS).upper()
    rules = _rules_of(country)
    if not written or rules is None:
        return Reading()
    prefix = prefix_of(country)
    if prefix == "GB" and written.startswith(NORTHERN_IRELAND):
        prefix, written = NORTHERN_IRELAND, written[2:]
    try:
        return Reading(TaxNumber(prefix, rules.validate(_bare(written, country))))
    except ValidationError as error:
        return Reading(problem=_problem(error, written, prefix))


def _problem(error: ValidationError, written: str, prefix: str) -> Problem:
    if written[:2] in UNION_PREFIXES - {prefix} and _is_theirs(written):
        return Problem.COUNTRY
    return Problem.CHECKSUM if isinstance(error, InvalidChecksum) else Problem.FORM


def _is_theirs(written: str) -> bool:
    """Tell whether it is a good number of the country that its prefix names."""
    rules = _rules_of(written[:2])
    try:
        return rules is not None and bool(rules.validate(written))
    except ValidationError:
        return False


def _rules_of(country: str) -> _Rules | None:
    if country == "CH":
        return cast(_Rules, uid)
    found = get_cc_module(tax_area(country).lower(), "vat") if country else None
    return cast("_Rules | None", found)


def _bare(written: str, country: str) -> str:
    """Drop what people write around the number and python-stdnum does not take off."""
    if country == "CH":
        return next(
            (written.removesuffix(end) for end in SWISS_ENDINGS if written.endswith(end)), written
        )
    return written.removeprefix("T") if country == "JP" else written
