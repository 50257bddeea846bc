"""Two customers that have something everywhere, and everybody who may come to their doors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings

from apps.core import clock, rls
from apps.core.ids import new_id
from apps.invoicing.models import CreditNote
from apps.tenants import selectors, services
from apps.tenants.models import Membership, Organization, User
from apps.tenants.roles import SCOPES
from apps.tenants.services import IssuerTerms
from tests import worlds
from tests.api import calls
from tests.api.access import ROLES, Row
from tests.conftest import STAFF
from tests.issuers import Issuer, pem_of
from tests.worlds import NOW, PASSWORD, World

APPLICATION = "gateway"
HOUR = timedelta(hours=1)
Scopes = frozenset[str]


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, by what they show; and what is known of them before they ask.

    `kind` is organization or platform for keys, a role for people, and empty for whom no door
    opens: then `refused` says how they are turned away. `scopes` are a key's. Who differs from
    others only in how they come has a name for all of them in `alike`.
    """

    name: str
    shows: str = ""
    kind: str = ""
    scopes: Scopes = frozenset()
    refused: tuple[int, str] | None = None
    at_home: bool = True  # in the organization whose things they ask for
    headers: Mapping[str, str] = field(default_factory=dict)
    alike: str = ""

    def may(self, row: Row) -> bool:
        """Whether the table lets them."""
        if row.is_open:
            return True
        if self.kind in ROLES:
            return self.kind in row.roles
        return self.kind in row.keys and self.scopes >= set(row.scopes)


@dataclass(frozen=True, slots=True)
class Names:
    """What somebody has: a name for each kind of thing, and other names by which it is known."""

    first: Mapping[str, str]
    others: Mapping[str, tuple[str, ...]]

    def of(self, thing: str) -> tuple[str, ...]:
        """Return every name of a thing."""
        return (self.first[thing], *self.others.get(thing, ()))


@dataclass(frozen=True, slots=True)
class Stage:
    """The callers at the doors of two customers, and the names of what each of them has."""

    mine: Names
    theirs: Names
    everybody: tuple[Caller, ...]
    keys: Mapping[tuple[str, Scopes], Caller]

    def callers(self, row: Row) -> list[Caller]:
        """Return everybody who asks for an operation."""
        kinds = ("organization", "platform")
        return [
            *self.everybody,
            *(self.keys[kind, scopes] for kind in kinds for scopes in sets_of(row)),
        ]

    def some(self, row: Row, turn: int) -> list[Caller]:
        """Return one of those who are alike, in turn, and everybody else."""
        found: dict[str, list[Caller]] = {}
        for one in self.callers(row):
            found.setdefault(one.alike or one.name, []).append(one)
        return [those[turn % len(those)] for those in found.values()]


def sets_of(row: Row) -> list[Scopes]:
    """Return the sets of scopes to try: all but each that is needed, and no more than needed."""
    without = [frozenset(SCOPES) - {scope} for scope in row.scopes]
    return [*without, frozenset(row.scopes)] if row.scopes else []


def build(rows: Iterable[Row]) -> Stage:
    """Fill the database that Django is pointed at."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # quick
    with clock.frozen(NOW):
        acme, globex = worlds.gateway_world("acme"), worlds.gateway_world("globex")
        mine, theirs = _names(acme), _names(globex)
        keys = _keys(acme.organization, rows)
        everybody = (*_nobody(acme), *_insiders(acme), *_people(acme, globex), *_outsiders(globex))
        for caller in (*everybody, *keys.values()):
            _use(caller)
    return Stage(mine, theirs, everybody, keys)


def _use(caller: Caller) -> None:
    """Note the use of a good key now, which no request after this one has to."""
    holder = selectors.key_holder(caller.shows) if caller.refused is None else None
    if holder is not None:
        with rls.ops_scope("prove: a first use"):
            services.note_key_use(holder, at=NOW)


def made_up() -> Names:
    """Return names of nothing."""
    others = {calls.ORGANIZATION: ("initrode",), **dict.fromkeys(NUMBERED, ("CH-999999",))}
    return Names(calls.made_up(), others)


NUMBERED = (calls.INVOICE, calls.NOTE)


def _names(world: World) -> Names:
    first = calls.things(world)
    with rls.ops_scope("prove: numbers"):
        note = CreditNote.objects.get(public_id=first[calls.NOTE]).number
    return Names(
        first,
        {
            calls.ORGANIZATION: (world.organization.slug,),
            calls.INVOICE: (worlds.number_of(world.second_invoice, world.organization),),
            calls.NOTE: (str(note),),
        },
    )


def _keys(organization: Organization, rows: Iterable[Row]) -> dict[tuple[str, Scopes], Caller]:
    wanted = {scopes for row in rows for scopes in sets_of(row)}
    found = {}
    for scopes in sorted(wanted, key=sorted):
        for kind, whose in (("organization", organization), ("platform", None)):
            secret = worlds.make_key(whose, sorted(scopes))
            missing = sorted(frozenset(SCOPES) - scopes)
            told = f"all but {missing[0]}" if len(missing) == 1 else " and ".join(sorted(scopes))
            alike = "" if len(missing) == 1 else kind
            found[kind, scopes] = Caller(
                f"{kind}'s key with {told}", secret, kind, scopes, alike=alike
            )
    return found


# --- who is nobody --------------------------------------------------------------------------------
def _nobody(world: World) -> Iterator[Caller]:
    """Yield everybody to whom the answer is 401, whatever they ask for."""
    good = worlds.make_key(world.organization)
    yield Caller("nobody", refused=(401, "missing_api_key"))
    yield Caller("Basic", refused=(401, "missing_api_key"), headers={"Authorization": "Basic eA"})
    broken = good[:-1] + ("a" if good[-1] != "a" else "b")
    unknown = _key_of_nobody(world.organization)
    expired = worlds.make_key(world.organization, at=NOW - 2 * HOUR, expires_at=NOW - HOUR)
    revoked, rotated = worlds.make_key(world.organization), worlds.make_key(world.organization)
    with rls.ops_scope("prove: keys that are over"):
        services.revoke_api_key(_id_of(revoked), actor=STAFF, at=NOW)
        services.rotate_api_key(_id_of(rotated), overlap=0 * HOUR, actor=STAFF, at=NOW)
    yield Caller("a key misspelt", broken, refused=(401, "invalid_api_key"))
    yield Caller("a key of nobody", unknown, refused=(401, "invalid_api_key"))
    yield Caller("an expired key", expired, refused=(401, "api_key_expired"))
    yield Caller("a revoked key", revoked, refused=(401, "api_key_revoked"))
    yield Caller("a key rotated out", rotated, refused=(401, "api_key_expired"))
    yield Caller("no token", "e30.e30.e30", refused=(401, "invalid_token"))
    untrusted = _oidc(Issuer("elsewhere"), world.owner)
    yield Caller("a token of who is not trusted", untrusted, refused=(401, "invalid_token"))


def _key_of_nobody(organization: Organization) -> str:
    """Return a well-formed key whose row was never committed."""
    with rls.ops_scope("prove: a key that is forgotten"):
        key = services.create_api_key(
            organization.pk, name="gone", scopes=list(SCOPES), actor=STAFF, at=NOW
        )
        key.row.delete()
    return key.secret


def _id_of(secret: str) -> str:
    holder = selectors.key_holder(secret)
    assert holder is not None
    return holder.actor.id


# --- programs -------------------------------------------------------------------------------------
def _insiders(world: World) -> Iterator[Caller]:
    """Yield keys with every scope: the organization's, and the platform's."""
    everything = frozenset(SCOPES)
    for kind, whose in (("organization", world.organization), ("platform", None)):
        yield Caller(f"{kind}'s key", worlds.make_key(whose), kind, everything, alike=kind)


def _outsiders(other: World) -> Iterator[Caller]:
    """Yield who may do everything in another organization."""
    key = worlds.make_key(other.organization)
    yield Caller(
        "another organization's key", key, "organization", frozenset(SCOPES), at_home=False
    )
    yield Caller("another owner", _signed_in(other.owner), "OWNER", at_home=False)
    here = {"X-Organization": "acme"}
    refused = (403, "not_a_member")
    yield Caller("another owner, for us", _signed_in(other.owner), refused=refused, headers=here)


# --- people ---------------------------------------------------------------------------------------
def _people(world: World, other: World) -> Iterator[Caller]:
    """Yield people of each role, by each kind of token, and those who are out."""
    oidc, clerk = _issuers()
    _map(world, world.owner)
    for role in ROLES:
        user = world.owner if role == "OWNER" else _member(world, role)
        for how, token in _tokens(user, oidc, clerk):
            yield Caller(f"{role}, {how}", token, role, alike=role)
    less, no_more = _oidc(oidc, world.owner, "member"), _oidc(oidc, user, "admin")
    yield Caller("OWNER, whose token says member", less, "MEMBER", alike="two words")
    yield Caller("MEMBER, whose token says admin", no_more, "MEMBER", alike="two words")
    yield from _gone(world, oidc, clerk)
    yield Caller("signed out", _signed_out(world.owner), refused=(401, "session_over"))
    late = _signed_in(world.owner, at=NOW - HOUR)
    yield Caller("signed in an hour ago", late, refused=(401, "token_expired"))


def _gone(world: World, oidc: Issuer, clerk: Issuer) -> Iterator[Caller]:
    """Yield who was removed, and who was switched off, by tokens that live on."""
    removed, off = (_member(world, "ADMIN", name) for name in ("removed", "off"))
    refused = (403, "not_a_member")
    for user, said in ((removed, "removed"), (off, "switched off")):
        for how, token in _tokens(user, oidc, clerk):
            yield Caller(f"{said}, {how}", token, refused=refused, alike=said)
    with rls.ops_scope("prove: out"):
        row = Membership.objects.get(user=removed)
        services.remove_member(row.public_id, actor=STAFF, at=NOW)
        User.objects.filter(pk=off.pk).update(is_active=False)


def _tokens(user: User, oidc: Issuer, clerk: Issuer) -> Iterator[tuple[str, str]]:
    """Yield a token of each kind, and how its holder comes."""
    yield "signed in", _signed_in(user)
    yield "by OIDC", _oidc(oidc, user)
    yield "by Clerk", _clerk(clerk, user)


def _member(world: World, role: str, name: str = "") -> User:
    user = worlds.make_member(world.organization, f"{name or role.lower()}@acme.example", role=role)
    _map(world, user)
    return user


def _map(world: World, user: User) -> None:
    """Let the issuer know a person by their address."""
    with rls.ops_scope("prove: who is who"):
        services.map_external_user(
            world.id,
            application=APPLICATION,
            external_id=user.email,
            user_id=user.pk,
            actor=STAFF,
            at=NOW,
        )


def _issuers() -> tuple[Issuer, Issuer]:
    """Trust an issuer of each kind, without a network."""
    oidc, clerk = Issuer("issuer"), Issuer("clerk")
    parties = ("https://app.example",)
    with rls.ops_scope("prove: issuers"):
        for issuer, terms in (
            (oidc, IssuerTerms(audiences=("billing",), public_key=_pem(oidc))),
            (
                clerk,
                IssuerTerms(
                    kind="clerk",
                    authorized_parties=parties,
                    public_key=_pem(clerk),
                    matches_email=True,
                ),
            ),
        ):
            services.define_token_issuer(issuer.issuer, terms=terms, actor=STAFF, at=NOW)
    return oidc, clerk


def _pem(issuer: Issuer) -> str:
    return pem_of(issuer.keys[f"{issuer.name}-RS256"][1])


def _signed_in(user: User, at: datetime = NOW) -> str:
    with rls.ops_scope("prove: sign in"):
        return services.sign_in(user.email, password=PASSWORD, address=new_id("ip"), at=at).access


def _signed_out(user: User) -> str:
    with rls.ops_scope("prove: sign in and out"):
        found = services.sign_in(user.email, password=PASSWORD, address=new_id("ip"), at=NOW)
        services.sign_out(found.refresh, at=NOW)
    return found.access


def _oidc(issuer: Issuer, user: User, role: str | None = None) -> str:
    said = None if role is None else f"org:{role}"
    return issuer.token(NOW, sub=user.email, org_role=said, exp=int(NOW.timestamp()) + 600)


def _clerk(issuer: Issuer, user: User) -> str:
    return issuer.token(
        NOW, sub=user.email, aud=None, sid="sess_1", email=user.email, email_verified=True
    )
