"""The facts this room tells."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class MemberInvited:
    """Somebody was offered a role; the mail carries a signed link to take it up."""

    invitation_id: str
    organization_id: int


@dataclass(frozen=True, slots=True)
class MemberRemoved:
    """A person (`user`, an integer id) left an organization, or was made to."""

    organization_id: int
    user: int


@dataclass(frozen=True, slots=True)
class TestClockMoved:
    """A sandbox's clock was set forward; instants are ISO 8601."""

    clock_id: str
    before: str
    now: str


@dataclass(frozen=True, slots=True)
class AddressToProve:
    """Somebody (`user`, an integer id) has or wants an address that is not shown to be theirs.

    `mail` names the one mail that this causes, here and in the facts below.
    """

    user: int
    mail: str


@dataclass(frozen=True, slots=True)
class PasswordForgotten:
    """Somebody asks for another password by mail."""

    user: int
    mail: str


@dataclass(frozen=True, slots=True)
class SignUpRepeated:
    """Somebody signs up with the address of an account that there is."""

    user: int
    mail: str


@dataclass(frozen=True, slots=True)
class AccountChanged:
    """What protects somebody's account has changed; `what` is the audit's word for it."""

    user: int
    mail: str
    what: str
