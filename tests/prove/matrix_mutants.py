"""The doors with one of their guards missing; each must let somebody in, or tell them something."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from apps.api import admission, authentication, door, permissions
from apps.api.v1 import corrections, invoices, licences
from apps.core import rls
from apps.tenants import bearers, roles
from tests.api import access
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Opened:
    """A guard taken away, the operations that show it, and to whom (a part of a caller's name)."""

    name: str
    change: Callable[[], None]
    operations: tuple[str, ...]
    only: str = ""


def _declare(handler: Any, **changes: Any) -> None:
    """Let a handler declare something else than it does."""
    said = replace(handler.operation, **changes)
    if said == handler.operation:
        raise LookupError(f"{said.id} declares {changes} already")
    handler.operation = said


def _any_scope() -> None:
    mutate(
        permissions, "HasScope.has_permission",
        ('require_scope(caller, operation.scope or "")', "pass"),
    )  # fmt: skip


def _any_key_of_the_platform() -> None:
    mutate(
        permissions, "HasScope.has_permission",
        ("operation.platform_only and not caller.is_platform", "False"),
    )  # fmt: skip


def _members_see_money() -> None:
    wider = roles.ROLE_CAPABILITIES["MEMBER"] | {"view_invoices"}
    vars(roles)["ROLE_CAPABILITIES"] = {**roles.ROLE_CAPABILITIES, "MEMBER": wider}


def _anybodys_rows() -> None:
    """Row-level security opened wide, and the filter beside it gone."""
    mutate(door, "ApiView.theirs", ("if organization_id is None:", "if True:"))
    vars(rls)["tenant_scope"] = lambda _: rls.ops_scope("prove: a mutant")


def _any_organization() -> None:
    """The same for what is named by its organization."""
    mutate(
        door, "ApiView.organization",
        ("found is None or (own is not None and found.pk != own)", "found is None"),
    )  # fmt: skip
    vars(rls)["tenant_scope"] = lambda _: rls.ops_scope("prove: a mutant")


def _foreign_is_forbidden() -> None:
    """403 for what is somebody else's: it tells that there is such a thing."""
    vars(door)["rls"] = rls
    mutate(
        door, "ApiView.organization",
        ("        found = tenants.find_organization(reference.removeprefix(EXTERNAL))",
         '        with rls.ops_scope("prove: a mutant"):\n'
         "            found = tenants.find_organization(reference.removeprefix(EXTERNAL))"),
        ("    if found is None or",
         "    if found is not None and own not in {None, found.pk}:\n"
         '        raise errors.PlatformKeyNeeded("It is not yours.")\n'
         "    if found is None or"),
    )  # fmt: skip


def _told_apart() -> None:
    """What is somebody else's is called otherwise than what is not there."""
    _look_everywhere("raise NotFound(f\"There is no such {what}{' here' * there}.\")")


def _header() -> None:
    """The answer is the same, and a header is not."""
    _look_everywhere(
        'self.headers["X-Seen"] = str(there)\n        raise NotFound(f"There is no such {what}.")'
    )


def _look_everywhere(refusal: str) -> None:
    vars(door)["rls"] = rls
    mutate(
        door, "ApiView.own",
        ('raise NotFound(f"There is no such {what}.")',
         'with rls.ops_scope("prove: a mutant"):\n'
         "            there = rows.filter(public_id=public_id).exists()\n"
         f"        {refusal}"),
    )  # fmt: skip


def _revoked_keys() -> None:
    mutate(authentication, "_good", ("holder.revoked_at is not None", "False"))


def _expired_keys() -> None:
    mutate(authentication, "_good", ("not holder.is_good(at)", "False"))


def _noted_first() -> None:
    """The use of a key is noted before it is known to be good: a refusal that writes."""
    mutate(
        authentication, "identify",
        ("holder = _good(_holder(given), at)", "holder = _holder(given)"),
        ("_note_use(caller, holder, at)", "_note_use(caller, holder, at); _good(holder, at)"),
    )  # fmt: skip


def _switched_off() -> None:
    mutate(bearers, "_memberships", ("user__is_active=True", "user__isnull=False"))


def _believed_role() -> None:
    mutate(bearers, "bearer", ("held &= roles.", "held |= roles."))


def _sessions_for_ever() -> None:
    mutate(bearers, "_signed_in", (", revoked_at=None", ""))


def _lean() -> None:
    mutate(admission, "Admission.caller", ("require_scope(self.found, self._scope)", "pass"))


def _unlisted() -> None:
    """Somebody served a new operation and declared for nobody who may call it."""
    del access.declared()["get_me"]


MUTANTS = (
    Opened("no scope is asked for", _any_scope, ("list_invoices",), "all but"),
    Opened("no scope is asked for on the lean path", _lean, ("verify_seat",), "all but"),
    Opened(
        "a writing scope lets read",
        partial(_declare, invoices.OneInvoice.get, scope="invoices:write"),
        ("get_invoice",),
        "organization's key",
    ),
    Opened(
        "a reading scope lets write",
        partial(_declare, licences.RevokeLicence.post, scope="licences:read"),
        ("revoke_licence",),
        "organization's key",
    ),
    Opened("members see invoices", _members_see_money, ("list_invoices",), "MEMBER"),
    Opened(
        "what is the platform's is anybody's",
        _any_key_of_the_platform,
        ("list_corrections",),
        "organization's key",
    ),
    Opened(
        "one operation is not the platform's any more",
        partial(_declare, corrections.Corrections.get, platform_only=False),
        ("list_corrections",),
        "organization's key",
    ),
    Opened("a token's role adds to the member's", _believed_role, ("get_invoice",), "token says"),
    Opened("who is switched off comes in", _switched_off, ("get_me",), "switched off"),
    Opened("a revoked key is good", _revoked_keys, ("get_invoice",), "revoked"),
    Opened("an expired key is good", _expired_keys, ("get_invoice",), "expired"),
    Opened("a session that is over is good", _sessions_for_ever, ("get_me",), "signed out"),
    Opened("anybody's rows are shown", _anybodys_rows, ("get_invoice",), "another"),
    Opened("any organization is found", _any_organization, ("get_organization",), "another"),
    Opened("foreign is forbidden, not unknown", _foreign_is_forbidden, ("get_credit",), "another"),
    Opened("a foreign id is told from a random one", _told_apart, ("get_seat",), "another"),
    Opened("a header tells of a foreign thing", _header, ("get_seat",), "another"),
    Opened("a refusal leaves something behind", _noted_first, ("get_me",), "revoked"),
    Opened("an operation has no row", _unlisted, ("get_me",)),
)
