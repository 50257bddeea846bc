"""People at the pages about accounts: what they read in their mail, and the codes of their apps."""

from __future__ import annotations

import re
from datetime import datetime

from django.core import mail
from django.core.cache import cache
from django.test import Client

from apps.core import clock, outbox, rls
from apps.tenants import securing, services, totp
from apps.tenants.models import User
from tests.portal import world

CODE = re.compile(r"(?m)^(\d{8})$")


def mails() -> list[str]:
    """Deliver what is due; return the texts of the mails that came, each begun by its address."""
    mail.outbox.clear()
    outbox.deliver_due()
    return [f"{one.to[0]}\n{one.subject}\n{one.body}" for one in mail.outbox]


def link_in(text: str) -> str:
    """Return the path of the only link in a mail."""
    [found] = re.findall(r"http://[^/\s]+(/\S+)", text)
    return str(found)


def forget_attempts() -> None:
    """Let nobody have tried anything yet."""
    cache.clear()


def sign_in(email: str, *, password: str = world.PASSWORD, client: Client | None = None) -> Client:
    """Return a browser in which the person has given their password."""
    client = client or Client()
    client.post("/portal/login/", {"username": email, "password": password})
    return client


def is_in(client: Client) -> bool:
    """Tell whether somebody is signed in in the browser."""
    return bool(client.get("/portal/security/").status_code == 200)


def with_app(user: User, at: datetime = world.NOW) -> tuple[str, list[str]]:
    """Give somebody an authenticator app; return its secret and their recovery codes."""
    secret = totp.new_secret()
    with rls.ops_scope("test: an authenticator app"):
        codes = services.add_authenticator(
            user.public_id,
            secret=secret,
            code=code_at(secret, at),
            actor=securing.own_actor(user),
            at=at,
        )
    return secret, codes


def code_at(secret: str, at: datetime | None = None) -> str:
    """Return the code that the app shows at that instant, or now."""
    return totp.code_of(secret, int((at or clock.now()).timestamp()) // totp.STEP)
