"""What this room refuses."""

from __future__ import annotations

from collections.abc import Sequence

from apps.core.errors import Conflict, Invalid, NotFound

MOST_NAMED = 20  # meters in a sentence


class MeterChanged(Conflict):
    """A meter that exists was defined with another meaning: bills were made with the old one."""

    code = "meter_changed"


class InvalidMeter(Invalid):
    """The definition of a meter cannot be used."""

    code = "invalid_meter"


class UnknownMeter(NotFound):
    """No meter has this key; the message says which there are."""

    code = "unknown_meter"
    remedy = "A catalogue defines meters, and load_catalog loads it."

    @classmethod
    def among(cls, known: Sequence[str], key: str) -> UnknownMeter:
        """Return the refusal of a key that is none of the known ones."""
        shown = ", ".join(known[:MOST_NAMED])
        more = ", …" if len(known) > MOST_NAMED else ""
        there = f"there is {shown}{more}" if known else "there is none yet"
        return cls(f"There is no meter '{key}'; {there}.", param="meter")


class UnknownDimension(Invalid):
    """The meter has no such dimension; the message says which it has."""

    code = "unknown_dimension"


class TooManyGroups(Invalid):
    """The usage falls into more groups than are answered at once."""

    code = "too_many_groups"


class InvalidReport(Invalid):
    """A device report cannot be: the message says what is wrong with it."""

    code = "invalid_report"


class ReportDiffers(Conflict):
    """The instance reported other numbers for the same instant; the first ones stand."""

    code = "report_differs"


class UsageNotReady(Conflict):
    """The database was restored from a dump: what is rolled up must be counted anew first."""

    code = "usage_not_ready"
    status = 503


class UnknownEvent(NotFound):
    """The organization has no such event."""

    code = "unknown_event"


class EventRefused(Conflict):
    """The event cannot be voided or corrected so; the message says why."""

    code = "event_refused"


class UsageSealed(Conflict):
    """The time is sealed: its events may be gone by retention, and none is taken there."""

    code = "usage_sealed"


class SealRefused(Conflict):
    """Events are still needed, or were not counted yet: nothing was sealed."""

    code = "seal_refused"


class UnknownEpoch(NotFound):
    """No such epoch: the evidence is not of this database."""

    code = "unknown_epoch"


class EventStoreUnavailable(Conflict):
    """ClickHouse, which keeps the raw events, cannot be asked now; try again."""

    code = "event_store_unavailable"
    status = 503


class EventStoreDiffers(Conflict):
    """ClickHouse does not hold what was shipped to it."""

    code = "event_store_differs"
    status = 500
