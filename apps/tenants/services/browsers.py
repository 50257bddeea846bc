"""Everything that changes in which browsers somebody is signed in. Needs the ops scope."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from ipaddress import ip_address

from allauth.usersessions.models import UserSession
from django.contrib.sessions.models import Session
from django.db import transaction

from apps.audit import services as audit
from apps.tenants.models import User
from apps.tenants.securing import own_actor

NOWHERE = "::"  # an address that no proxy and no socket has told
LONGEST_AGENT = 200


@transaction.atomic
def begin_browser_session(
    user: User, *, key: str, address: str, agent: str, locale: str, at: datetime
) -> None:
    """Note that somebody has signed in in a browser, whose session has this key.

    Mails to them speak the language of that browser from now on.
    """
    _forget_dead(user, at)
    _note(user, key, address, agent, at)
    if user.locale != locale:
        User.objects.filter(pk=user.pk).update(locale=locale)
    person = own_actor(user)
    audit.record(action="user.signed_in", target=user.public_id, actor=person, at=at)


@transaction.atomic
def note_browser_session(user: User, *, key: str, address: str, agent: str, at: datetime) -> None:
    """Note that a session is still used, or goes on under another key."""
    _note(user, key, address, agent, at)


def end_browsers(user: User) -> None:
    """End all sessions of somebody's browsers. Whoever calls this records why."""
    _end(UserSession.objects.filter(user_id=user.pk))


def end_browser(user: User, *, number: int) -> bool:
    """End one of them; tell whether there was one. Whoever calls this records why."""
    return _end(UserSession.objects.filter(user_id=user.pk, pk=number))


def _end(rows: Iterable[UserSession]) -> bool:
    found = list(rows)
    Session.objects.filter(session_key__in=[row.session_key for row in found]).delete()
    UserSession.objects.filter(pk__in=[row.pk for row in found]).delete()
    return bool(found)


def _forget_dead(user: User, at: datetime) -> None:
    alive = Session.objects.filter(expire_date__gt=at).values("session_key")
    UserSession.objects.filter(user_id=user.pk).exclude(session_key__in=alive).delete()


def _note(user: User, key: str, address: str, agent: str, at: datetime) -> None:
    seen = {
        "user_id": user.pk,
        "ip": _address(address),
        "user_agent": agent[:LONGEST_AGENT],
        "last_seen_at": at,
    }
    UserSession.objects.update_or_create(
        session_key=key, defaults=seen, create_defaults={**seen, "created_at": at}
    )


def _address(text: str) -> str:
    try:
        return str(ip_address(text))
    except ValueError:
        return NOWHERE
