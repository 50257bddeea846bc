"""What is kept and told of every change to what protects an account."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from apps.audit import services as audit
from apps.core import outbox
from apps.core.actor import Actor, require
from apps.core.errors import NotFound
from apps.core.ids import new_id
from apps.tenants.events import AccountChanged
from apps.tenants.models import User


def record_change(
    user: User, *, what: str, actor: Actor, at: datetime, after: Mapping[str, Any] | None = None
) -> None:
    """Keep a change of an account in the audit, and tell the person. Emits AccountChanged."""
    audit.record(
        action=f"user.{what}", target=user.public_id, actor=actor, at=at, after=after or {}
    )
    outbox.emit(AccountChanged(user.pk, new_id("mail"), what), at=at)


def own(user_id: str, *, actor: Actor) -> User:
    """Lock and return the user, who acts on their own account or is helped by staff.

    Raises Forbidden and NotFound.
    """
    if actor.id != user_id:
        require("manage_platform", actor=actor)
    found = User.objects.select_for_update().filter(public_id=user_id).first()
    if found is None:
        raise NotFound("There is no such user.")
    return found
