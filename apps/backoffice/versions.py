"""How commands are told which version of which plan is meant."""

from __future__ import annotations

from pathlib import Path

from apps.analytics.offered import offer_of
from apps.core import ids
from apps.core.errors import NotFound
from apps.plans import selectors as plans
from apps.plans.catalog import read_catalog
from apps.plans.selectors import VersionTerms
from apps.usage import selectors as usage

HOW = "a plan's code (its current version), code@2, or a version's id"
FILE_ENDINGS = (".yaml", ".yml")


def find(reference: str) -> VersionTerms:
    """Return the version meant by a plan's code, `code@number` or a version's public id.

    Raises UnknownPlan, UnknownVersion, NotFound.
    """
    if ids.is_public_id(reference, "plv"):
        return plans.find_version(reference)
    code, at, number = reference.partition("@")
    if not at:
        return plans.current_version(reference)
    found = [one for one in plans.plan_versions(code) if str(one.number) == number]
    if not found:
        raise NotFound(f"{code} has no version {number}.", param="version")
    return found[0]


def find_of(code: str, reference: str) -> VersionTerms:
    """Return the version meant as `find` does; a number alone is that of the plan `code`."""
    return find(f"{code}@{reference}" if reference.isdecimal() else reference)


def find_or_read(reference: str, *, code: str) -> VersionTerms:
    """Return the version meant, or the one that a catalogue file would make: FILE or FILE:CODE.

    Without a code the file's plan of that `code` is meant. Needs the ops scope.
    """
    path, _, said = reference.partition(":")
    if not path.endswith(FILE_ENDINGS):
        return find(reference)
    document = read_catalog(str(Path(path)))
    return offer_of(document, said or code, known=usage.meters()).version


def names_a_version(reference: str) -> bool:
    """Whether one version is meant, and not a plan with all of them."""
    return "@" in reference or ids.is_public_id(reference, "plv")
