"""A stranger at the doors: every address of portal and API, with ids that belong to somebody else.

The addresses come from the URL patterns, so a new page is walked without being listed. Each must
answer a foreign id with 404, word for word as it answers an id that does not exist, in each place
that it takes one; none may show a word of the other organization; and to its own organization each
must answer with something else than 404, or the refusals would prove nothing. What only the
platform's keys may call is refused to organizations whatever they name.
"""

from __future__ import annotations

import itertools
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver

from apps.api.permissions import operation_of
from apps.core import clock
from apps.core.ids import new_id
from apps.portal.access import rule_of
from apps.tenants.models import User
from tests.api.calls import PREFIXES
from tests.prove.ground import ask
from tests.prove.tenancy import HELD, OFFERED, OTHER_PLAN, Person
from tests.prove.verdict import Findings
from tests.prove.world import NOW

FORBIDDEN, NOT_FOUND, NOT_ALLOWED, BROKEN = 403, 404, 405, 500
METHODS = {"portal/": ("GET", "POST"), "api/v1/": ("GET", "POST", "PATCH", "PUT", "DELETE")}
# Words in an address that name something of the catalogue, which belongs to nobody.
SHARED = {"meter": "calls", "plan": "wire", "code": "wire"}
SECOND = {"key": "seats", "item": "seats", **SHARED}
# What pages take for `code`, by how their addresses end: anything else they refuse to everybody.
ASKED = {"change/<str:code>/": OTHER_PLAN, "add/<str:code>/": OFFERED, "remove/<str:code>/": HELD}
# Addresses that name two things of an organization's: the prefixes of their ids, by the words.
OWNERS = {"organization": "org", "subscription": "sub"}
OWNED = {"change": "chg", "charge": "charge", "discount": "disc", "grant": "cg", "spend_cap": "cap"}
# The prefixes of the ids that a word takes; any other word is given names of every kind.
KINDS = {
    **{thing: (prefix,) for thing, prefix in PREFIXES.items()},
    "rule": ("ar",),
    "key": ("key",),
    "cap": ("cap",),
    "reference": ("inv", "cn"),
}
OTHERS = 2  # names of another kind, where not all of them are tried
# Takes what an address before it removed or replaced on the same walk; tests of their own do it.
REMOVED = {
    "api/v1/invitations/<str:invitation>/revoke",
    "portal/team/invitations/<str:invitation>/resend/",
    "portal/team/invitations/<str:invitation>/revoke/",
    "portal/usage/limits/cap/<str:cap>/remove/",
}
JSON = "application/json", b"{}"
FORM = "application/x-www-form-urlencoded", b"role=MEMBER&quantity=5&seats=5"
CSRF = re.compile(rb"csrf[^>]*|nonce-?[^ >]*|request_id[^,}]*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Address:
    """One URL pattern: its route, such as `portal/invoices/<str:reference>/`, and what it takes.

    `for_platform` are the methods that only a key of the platform may call.
    """

    route: str
    words: tuple[str, ...]
    for_platform: frozenset[str] = frozenset()

    @property
    def door(self) -> str:
        """Return which of the doors it belongs to."""
        return next(door for door in METHODS if self.route.startswith(door))

    @property
    def places(self) -> list[str]:
        """Return the words that name something of an organization's."""
        own = [word for word in self.words if word not in SHARED]
        return own[:1] + [word for word in own[1:] if word in OWNED]

    def refusal(self, method: str) -> int:
        """Return the status that a foreign id gets."""
        return FORBIDDEN if method in self.for_platform else NOT_FOUND

    def filled(self, values: Mapping[str, str]) -> str:
        """Return the path with the words replaced."""
        asked = [code for end, code in ASKED.items() if self.route.endswith(end)]
        filling = {**values, "code": asked[0]} if asked else values
        return "/" + re.sub(r"<(?:\w+:)?(\w+)>", lambda found: filling[found[1]], self.route)


@dataclass(frozen=True, slots=True)
class Party:
    """An organization at the doors, and every name by which its things are known.

    Its browser has signed in, and its machine has nothing but the key.
    """

    browser: Client
    machine: Client
    key: str
    names: tuple[str, ...]

    def path(self, address: Address, word: str, name: str) -> str:
        """Return the path with `name` for one word, and with things of its own for the others."""
        others = [place for place in address.places if place != word]
        own = {place: self._own({**OWNERS, **OWNED}[place]) for place in others}
        return address.filled({**SECOND, **own, word: name})

    def of_kind(self, word: str, few: Random | None = None) -> list[str]:
        """Return its names to put in a word: all of them where the word takes several kinds.

        With `few` to draw by, those of the kind that the word takes, and a few others.
        """
        found = [name for name in self.names if name.startswith(OWNED.get(word, ""))]
        if few is None or word not in KINDS:
            return found
        right = [name for name in found if "_" not in name or _prefix(name) in KINDS[word]]
        others = [name for name in found if name not in right]
        return right + few.sample(others, min(OTHERS, len(others)))

    def _own(self, prefix: str) -> str:
        return next(name for name in self.names if name.startswith(f"{prefix}_"))

    def ask(self, address: Address, method: str, path: str) -> Any:
        """Send a request as this organization, with the session or the key that the door takes."""
        if address.door == "api/v1/":
            client, (kind, body) = self.machine, JSON
            headers = {"Authorization": f"Bearer {self.key}"}
        else:
            client, (kind, body), headers = self.browser, FORM, {}
        sent = b"" if method in {"GET", "DELETE"} else body
        return client.generic(method, path, sent, content_type=kind, headers=headers)


Step = Callable[[Findings, Address, Party, Party], None]


def walk(people: Mapping[int, Person], step: Step, *, under: str = "") -> Findings:
    """Take the step at every address (`under` a prefix), as one organization beside another."""
    logging.disable()  # every refusal is a warning
    met = Findings()
    with clock.frozen(NOW):
        first, second = itertools.islice(people.items(), 2)
        stranger, other = _party(*first), _party(*second)
        for address in addresses():
            if address.route.startswith(under):
                step(met, address, stranger, other)
    return met


def addresses() -> list[Address]:
    """Return the addresses of portal and API where somebody works for an organization.

    What is a person's own, whichever organization they work for, has strangers of its own in
    tests/portal/test_security.py.
    """
    found = [
        Address(route, tuple(pattern.pattern.converters), _for_platform(pattern.callback))
        for route, pattern in _patterns(get_resolver().url_patterns, "")
        if route.startswith(tuple(METHODS)) and _is_for_members(pattern.callback)
    ]
    # The API's before the portal's, and what revokes its key after all that asks with the key.
    return sorted(found, key=lambda one: (one.door, "api_key" in one.words, one.route))


def _is_for_members(view: object) -> bool:
    rule = rule_of(view)
    return not (rule.is_open or rule.is_personal)


def _for_platform(view: Any) -> frozenset[str]:
    handlers: Any = getattr(view, "cls", None)  # pages of the portal are plain functions
    declared = {method: operation_of(handlers, method) for method in METHODS["api/v1/"]}
    return frozenset(method for method, found in declared.items() if found and found.platform_only)


def _patterns(
    patterns: list[URLPattern | URLResolver], prefix: str
) -> Iterator[tuple[str, URLPattern]]:
    for pattern in patterns:
        route = prefix + str(pattern.pattern)
        if isinstance(pattern, URLResolver):
            yield from _patterns(pattern.url_patterns, route)
        else:
            yield route, pattern


def _party(organization: int, person: Person) -> Party:
    browser, machine = (Client(raise_request_exception=False) for _ in range(2))
    browser.force_login(User.objects.get(pk=person.user_id))
    return Party(browser, machine, person.key, tuple(sorted(_names(organization))))


def _names(organization: int) -> set[str]:
    """Return the public ids, numbers and slugs of everything that an organization has."""
    tables = ask("""
        SELECT p.table_name FROM information_schema.columns p
        JOIN information_schema.columns o USING (table_schema, table_name)
        WHERE p.column_name = 'public_id' AND o.column_name = 'organization_id'
          AND table_schema = 'public'""")
    found = set()
    for (table,) in tables:
        # The first subscription has seats, the second one a meter.
        rows = ask(
            f'SELECT public_id FROM "{table}" WHERE organization_id = %s ORDER BY id LIMIT %s',
            organization,
            2 if table == "subscriptions_subscription" else 1,
        )
        found |= {public_id for (public_id,) in rows}
    number = "SELECT number FROM invoicing_invoice WHERE organization_id = %s ORDER BY id LIMIT 1"
    own = "SELECT public_id, slug FROM tenants_organization WHERE id = %s"
    found |= {number for (number,) in ask(number, organization)}
    return found | {name for row in ask(own, organization) for name in row}


def foreign_ids(
    met: Findings, address: Address, stranger: Party, other: Party, *, few: Random | None = None
) -> None:
    """Ask for the other's things: always as if there were none, and nothing happens to them.

    With `few`, by their names of the right kind and a few others, instead of by all.
    """
    for word, method in itertools.product(address.places, METHODS[address.door]):
        for name in other.of_kind(word, few):
            nobody = _nobody(name)
            path = stranger.path(address, word, name)
            met.probes += 1
            reply = stranger.ask(address, method, path)
            if reply.status_code == NOT_ALLOWED:
                break
            if reply.status_code != address.refusal(method):
                met.faults.append(f"{method} {path}: a stranger gets {reply.status_code}")
            unknown = stranger.ask(address, method, stranger.path(address, word, nobody))
            if _plain(reply, name) != _plain(unknown, nobody):
                met.faults.append(f"{method} {path}: tells that there is such a thing elsewhere")


def _own_paths(address: Address, party: Party, few: Random | None) -> list[str]:
    """Return the paths with each of its own names in the first word that is somebody's."""
    first = address.places[0] if address.places else ""
    names = party.of_kind(first, few) if first else party.names[:1]
    return sorted({party.path(address, first, name) for name in names})


def _prefix(name: str) -> str:
    return name.rpartition("_")[0]


def _nobody(name: str) -> str:
    """Return a name of the same kind that nobody has."""
    prefix, _, rest = name.rpartition("_")
    if prefix:
        return new_id(prefix)
    return "CH-999999" if name.startswith("CH-") else f"nobody-{rest[-1:]}"


def _plain(reply: Any, name: str) -> tuple[int, bytes]:
    """Return the answer without the id that was asked for and what differs every time."""
    body = b"".join(reply.streaming_content) if reply.streaming else reply.content
    return reply.status_code, CSRF.sub(b"", body.replace(name.encode(), b"NAME"))


def own_pages(
    met: Findings, address: Address, stranger: Party, other: Party, *, few: Random | None = None
) -> None:
    """Show the stranger what is its own: never 404, and nothing of the other.

    Some of it cancels and revokes: a walk for foreign ids needs a database of its own.
    """
    statuses = set()
    for method in METHODS[address.door]:
        for path in _own_paths(address, stranger, few):
            met.probes += 1
            reply = stranger.ask(address, method, path)
            statuses.add(reply.status_code)
            if reply.status_code == NOT_ALLOWED:
                break  # whatever it names
            text = _plain(reply, "-")[1].decode("latin-1")
            met.faults += [f"{method} {path} shows {name}" for name in other.names if name in text]
    if statuses <= {NOT_FOUND, NOT_ALLOWED} and address.route not in REMOVED:
        met.faults.append(f"{address.route}: its own organization gets nothing but {statuses}")
    if max(statuses) >= BROKEN:
        met.faults.append(f"{address.route}: breaks with {statuses}")
