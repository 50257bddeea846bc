"""Two organizations with people, an issuer of each kind that is trusted, and what they sign."""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any

from django.conf import settings

from apps.core import rls
from apps.core.actor import operator
from apps.tenants import services as tenants
from apps.tenants.models import Membership, TokenIssuer, User
from apps.tenants.services import IssuerTerms
from tests.issuers import Issuer, claims_of, pem_of, private_key, signed

NOW = datetime(2026, 11, 1, tzinfo=UTC)
ACTOR = operator("prove")
PASSWORD = "prove-pass-2026"
Dated = tuple[str, datetime]
_numbers = itertools.count(1)


def load() -> None:
    """Define the application that the issuers speak for, and make every key before forking."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick
    with rls.ops_scope("prove: an application"):
        tenants.define_application("desk", name="Desk", actor=ACTOR, at=NOW)
    for name in ("issuer", "clerk"):
        Issuer(name)
    for algorithm in ("RS256", "ES256", "EdDSA"):
        private_key(algorithm, "attacker")
    private_key("RS256", "issuer-RS256-b")


@dataclass
class Story:
    """An organization of three, of whom the issuer calls the first `user-1`; and a stranger."""

    oidc: Issuer
    clerk: Issuer
    number: str
    owner: User
    member: User
    organization_id: int
    external: str
    chance: Random

    def good(self, at: datetime) -> Iterator[tuple[str, str, str, bool]]:
        """Yield tokens that must come in: name, token, role in the rows, whether money shows."""
        here: dict[str, Any] = {"org_id": self.external}
        for algorithm in ("RS256", "ES256", "EdDSA"):
            yield algorithm, self.oidc.token(at, algorithm=algorithm, **here), "OWNER", True
        v2: dict[str, Any] = {"v": 2, "o": {"id": self.external, "rol": "admin"}}
        yield "version 2", self.oidc.token(at, **v2), "OWNER", True
        only = self.oidc.token(at, sub=f"only-{self.number}")
        yield "no organization, there is one", only, "MEMBER", False
        yield "audience in a list", self.oidc.token(at, aud=["x", "billing"], **here), "OWNER", True
        less = {**here, "org_role": "org:member"}
        yield "a role that says less", self.oidc.token(at, **less), "OWNER", False
        more = {**here, "org_role": "org:admin", "sub": f"only-{self.number}"}
        yield "a role that says more", self.oidc.token(at, **more), "MEMBER", False
        session: dict[str, Any] = {
            "aud": None,
            "sid": "sess_1",
            "org_id": self.external,
            "sub": "nobody's",
        }
        known: dict[str, Any] = {"email": self.owner.email.upper(), "email_verified": True}
        yield "a session, by e-mail", self.clerk.token(at, **session, **known), "OWNER", True

    def strangers(self, at: datetime) -> Iterator[tuple[str, str]]:
        """Yield good tokens of people who do not belong, whatever their tokens say."""
        token = self.oidc.token
        session: dict[str, Any] = {"aud": None, "sid": "sess_1"}
        email = self.owner.email
        yield "nobody", token(at, sub="user-9", org_id=self.external)
        yield "an organization of others", token(at, org_id=f"other-{self.number}")
        yield "no such organization", token(at, org_id="org-none")
        yield (
            "an id that only others gave",
            token(at, sub=f"user-1@{self.number}", org_id=self.external),
        )
        yield (
            "an e-mail of an issuer that is not believed",
            token(at, sub="x", email=email, email_verified=True),
        )
        for verified in (False, "true", 1, None):
            yield (
                f"an e-mail, verified {verified!r}",
                self.clerk.token(at, sub="x", email=email, email_verified=verified, **session),
            )

    def sessions(self, at: datetime) -> Iterator[tuple[str, str, Callable[[], object]]]:
        """Yield who is signed in by password: name, access token, and how the session ends."""
        for name, end in (("signed out", self._leave), ("signed out everywhere", self._leave_all)):
            with rls.ops_scope("prove: sign in"):
                found = tenants.sign_in(self.member.email, password=PASSWORD, address=name, at=at)
            yield name, found.access, partial(end, found.refresh)
        with rls.ops_scope("prove: sign in"):
            found = tenants.sign_in(self.member.email, password=PASSWORD, address="x", at=at)
        yield "stolen", found.access, partial(self._reuse, found.refresh)

    def _leave(self, refresh: str) -> None:
        with rls.ops_scope("prove: sign out"):
            tenants.sign_out(refresh, at=NOW)

    def _leave_all(self, refresh: str) -> None:
        with rls.ops_scope("prove: sign out everywhere"):
            tenants.sign_out_everywhere(self.member.pk, at=NOW)

    def _reuse(self, refresh: str) -> None:
        for _ in range(2):
            with rls.ops_scope("prove: refresh"):
                tenants.refresh(refresh, at=NOW)

    def changes(self) -> Iterator[tuple[str, Callable[[], object], int]]:
        """Yield what happens while a token of the owner lives, and what it then gets."""
        yield "nothing", lambda: None, 200
        yield "the role is less", self._demote, 200
        yield "the member is removed", self._remove, 403
        yield "the member is back", self._add, 200
        yield "the issuer is disabled", self._disable, 401

    def _demote(self) -> None:
        with rls.ops_scope("prove: two owners, then one"):
            tenants.change_role(self._id(self.member), role="OWNER", actor=ACTOR, at=NOW)
            tenants.change_role(self._id(self.owner), role="MEMBER", actor=ACTOR, at=NOW)

    def _remove(self) -> None:
        with rls.ops_scope("prove: remove"):
            tenants.remove_member(self._id(self.owner), actor=ACTOR, at=NOW)

    def _add(self) -> None:
        with rls.ops_scope("prove: back"):
            tenants.add_member(
                self.organization_id, user_id=self.owner.pk, role="ADMIN", actor=ACTOR, at=NOW
            )

    def _disable(self) -> None:
        with rls.ops_scope("prove: disable"):
            row = TokenIssuer.objects.get(issuer=self.oidc.issuer)
            tenants.disable_token_issuer(row.public_id, actor=ACTOR, at=NOW)

    def _id(self, user: User) -> str:
        rows = Membership.objects.filter(organization_id=self.organization_id, user=user)
        return rows.get().public_id

    def fresh(self, at: datetime) -> str:
        """Return a good token of now."""
        return self.oidc.token(at, org_id=self.external)

    def token_by(self, key_id: str, at: datetime, **changes: Any) -> str:
        """Return a token signed with a key of the issuer's by its id."""
        algorithm, key = self.oidc.keys[key_id]
        return signed(claims_of(self.oidc.issuer, at, **changes), key, algorithm, key_id=key_id)

    def unknown_key(self) -> str:
        """Return a token that names a key nobody has."""
        key_id = self.chance.randbytes(8).hex()
        claims = claims_of(self.oidc.issuer, NOW)
        return signed(claims, private_key("EdDSA", "attacker"), "EdDSA", key_id=key_id)


@contextmanager
def story(chance: Random) -> Iterator[Story]:
    """Make two organizations and trust two issuers, for as long as the context lasts."""
    number = f"{os.getpid()}-{next(_numbers)}"
    clerk = Issuer("clerk")
    with Issuer("issuer").serving() as oidc:
        with rls.ops_scope("prove: people"):
            ours, theirs = (_organization(f"{name}-{number}") for name in ("acme", "other"))
            owner, member, other = (_user(f"{name}-{number}") for name in ("owner", "member", "x"))
            _trust(oidc, clerk)
            for organization, user, role, subject in (
                (ours, owner, "OWNER", "user-1"),
                (ours, member, "MEMBER", f"only-{number}"),
                (theirs, other, "OWNER", "other-1"),
                (theirs, owner, "MEMBER", f"user-1@{number}"),  # counts in that organization alone
            ):
                _join(organization, user, role, subject)
        yield Story(oidc, clerk, number, owner, member, ours, f"acme-{number}", chance)


def _organization(slug: str) -> int:
    row = tenants.create_organization(slug, name=slug, actor=ACTOR, at=NOW)
    tenants.map_external_id(row.pk, application="desk", external_id=slug, actor=ACTOR, at=NOW)
    return row.pk


def _user(name: str) -> User:
    return tenants.create_user(f"{name}@prove.example", password=PASSWORD, actor=ACTOR, at=NOW)


def _join(organization_id: int, user: User, role: str, subject: str) -> None:
    tenants.add_member(organization_id, user_id=user.pk, role=role, actor=ACTOR, at=NOW)
    tenants.map_external_user(
        organization_id,
        application="desk",
        external_id=subject,
        user_id=user.pk,
        actor=ACTOR,
        at=NOW,
    )


def _trust(oidc: Issuer, clerk: Issuer) -> None:
    terms = {
        oidc: IssuerTerms(
            application="desk",
            audiences=("billing",),
            authorized_parties=("https://app.example",),
            jwks_url=oidc.jwks_url,
        ),
        clerk: IssuerTerms(
            kind="clerk",
            authorized_parties=("https://app.example",),
            public_key=pem_of(clerk.keys["clerk-RS256"][1]),
            matches_email=True,
        ),
    }
    for issuer, one in terms.items():
        tenants.define_token_issuer(issuer.issuer, terms=one, actor=ACTOR, at=NOW)
