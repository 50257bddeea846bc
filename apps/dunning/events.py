"""The facts this room tells; runs and entries by public id."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ReminderDue:
    """A customer is to be reminded of an invoice; `entry` is the step of the run that says so."""

    entry: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class ActionNeeded:
    """A customer has to confirm a payment at their bank, at `url`."""

    entry: str
    organization_id: int
    url: str


@dataclass(frozen=True, slots=True)
class ConsequenceCame:
    """Access, the subscription or the plan was taken away because an invoice was not paid."""

    entry: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class StaffNeeded:
    """Somebody of the staff is to look at a run; the entry says why."""

    entry: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class RunEnded:
    """A run is over; `outcome` is one of `Run.Outcome`."""

    run: str
    organization_id: int
    outcome: str
