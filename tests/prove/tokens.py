"""Tokens of other issuers: good ones come in, no other one does, whatever happens to the issuer.

Every attack of `tokens_attacks` is sent to every entry that reads the Authorization header, and
must get 401. Then the issuer rotates its keys, is slow, is away for a day, and is flooded, on a
clock that is moved; roles are taken away while tokens live. Each guard is then taken away in the
code, in a process of its own, and the harness has to notice.
"""

from __future__ import annotations

import json
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

from django.conf import settings
from django.test import Client

from apps.core import clock
from apps.core.errors import DomainError
from apps.live import access as live
from apps.tenants import bearers, jwks, jwts
from tests.prove import ground, processes
from tests.prove import tokens_world as world
from tests.prove.tokens_attacks import ATTACKS, OF_A_SESSION, OWN
from tests.prove.tokens_mutants import MUTANTS, Weakened
from tests.prove.tokens_world import NOW, Story
from tests.prove.verdict import Verdict

THREADS, FLOOD = 8, 1_000
HOURS = 24
PATIENCE = 0.5
"""Seconds that a request may take while the issuer hangs: far below its two."""


def prove(profile_name: str, seed: int) -> Verdict:
    """Run the harness and its mutants; `seed` draws the key ids of the flood."""
    verdict = Verdict("tokens", profile_name)
    logging.disable()
    original = ground.here()
    with ground.copy_of(original, f"{original}_tokens"):
        world.load()
        done: list[str] = []
        verdict.faults = list(faults(seed, done))
        verdict.rounds = len(done)
        verdict.say(f"{len(done)} tokens shown, {len(verdict.faults)} faults")
        for mutant in MUTANTS:
            found = _fault_of(mutant, seed)
            verdict.caught[mutant.name] = found is not None
            verdict.say(f"mutant '{mutant.name}': {found or 'NOT CAUGHT'}")
    return verdict


def faults(seed: int, done: list[str], parts: Collection[str] = ()) -> Iterator[str]:
    """Yield what is wrong, in all of `PARTS` or some; `done` gets an entry for each token shown."""
    for name, part in PARTS.items():
        if parts and name not in parts:
            continue
        jwks.KEY_SETS = jwks.KeySets()
        with world.story(Random(seed)) as story:
            yield from (f"{name}: {said}" for said in part(story, done))


def _good(story: Story, done: list[str]) -> Iterator[str]:
    """Good tokens come in at every entry, with the role of the rows and no more than they say."""
    for name, token, role, sees_invoices in story.good(NOW):
        for entry in (one for one in ENTRIES if one != LIVE):
            done.append(name)
            if (status := ENTRIES[entry](token)) != 200:
                yield f"{name} is refused at {entry}: {status}"
        if (found := _me(token).get("role")) != role:
            yield f"{name}: {found} instead of {role}"
        if (_get("invoices", token) == 200) != sees_invoices:
            yield f"{name}: invoices should be {'seen' if sees_invoices else 'hidden'}"


def _attacks(story: Story, done: list[str]) -> Iterator[str]:
    """No attack comes in, at any entry."""
    told = [(name, story.oidc, attack) for name, attack in ATTACKS.items()]
    told += [(f"{name} (session)", story.clerk, one) for name, one in OF_A_SESSION.items()]
    for name, issuer, attack in told:
        token = attack(issuer, NOW)
        for entry, ask in ENTRIES.items():
            done.append(name)
            if (status := ask(token)) != 401:
                yield f"'{name}' gets {status} at {entry}"


def _own(story: Story, done: list[str]) -> Iterator[str]:
    """Tokens of our own count as long as their session, and nobody else signs in our name."""
    for name, token, end in story.sessions(NOW):
        yield from _expect(200, token, NOW, name, done)
        for forge in OWN.values():
            done.append(name)
            forged = forge(jwts.read(token).claims, story.oidc)
            yield from _expect(401, forged, NOW, "a forgery in our name", done)
        later = NOW + timedelta(minutes=15, seconds=6)
        yield from _expect(401, token, later, f"{name}, after a quarter of an hour", done)
        end()
        yield from _expect(401, token, NOW, f"{name}, whose session is over", done)


def _people(story: Story, done: list[str]) -> Iterator[str]:
    """Nobody comes in as who they are not, and a role that is gone is gone for living tokens."""
    for name, token in story.strangers(NOW):
        done.append(name)
        if (status := _get("me", token)) != 403:
            yield f"'{name}' gets {status}"
    token = story.oidc.token(NOW, org_id=story.external)
    for name, act, expected in story.changes():
        act()
        done.append(name)
        if (status := _get("me", token)) != expected:
            yield f"after '{name}': {status} instead of {expected}"


def _rotation(story: Story, done: list[str]) -> Iterator[str]:
    """A new key is good within 30 seconds, an old one no longer than the issuer shows it."""
    old = story.oidc.token(NOW, org_id=story.external, exp=int(NOW.timestamp()) + 3600)
    yield from _expect(200, old, NOW, "the first key", done)
    story.oidc.rotate("issuer-RS256-b")
    claims = {"org_id": story.external, "exp": int(NOW.timestamp()) + 3600}
    new = story.token_by("issuer-RS256-b", NOW, **claims)
    yield from _expect(200, new, NOW + timedelta(seconds=30), "a new key after 30 s", done)
    yield from _expect(401, old, NOW + timedelta(seconds=31), "a key that is gone", done)


def _outage(story: Story, done: list[str]) -> Iterator[str]:
    """For 24 hours nobody notices that the issuer is away; then its tokens count no more."""
    yield from _expect(200, story.fresh(NOW), NOW, "before the outage", done)
    story.oidc.is_down = True
    for hour in range(1, HOURS + 1):
        at = NOW + timedelta(hours=hour)
        yield from _expect(200, story.fresh(at), at, f"{hour} h into the outage", done)
    at = NOW + timedelta(hours=HOURS, seconds=31)
    yield from _expect(503, story.fresh(at), at, "past 24 h of outage", done)
    story.oidc.is_down = False
    at += timedelta(seconds=31)
    yield from _expect(200, story.fresh(at), at, "after the outage", done)


def _slowness(story: Story, done: list[str]) -> Iterator[str]:
    """An issuer that hangs slows nobody down whose key is known."""
    yield from _expect(200, story.fresh(NOW), NOW, "before it hangs", done)
    story.oidc.takes = 3.0
    for minute in range(6, 12):
        at = NOW + timedelta(minutes=minute)
        started = time.perf_counter()
        yield from _expect(200, story.fresh(at), at, "while it hangs", done)
        if (took := time.perf_counter() - started) > PATIENCE:
            yield f"a request takes {took:.2f} s while the issuer hangs"


def _flood(story: Story, done: list[str]) -> Iterator[str]:
    """Unknown key ids, from many threads at once, make at most one request in 30 seconds."""
    instants = [NOW + timedelta(seconds=number * 300 / FLOOD) for number in range(FLOOD)]
    tokens = [(story.unknown_key(), at) for at in instants]
    threads = [
        threading.Thread(target=_show_all, args=(tokens[n::THREADS],)) for n in range(THREADS)
    ]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    done += ["flood"] * len(tokens)
    if story.oidc.asked > 1 + 300 // 30:
        yield f"{story.oidc.asked} requests to the issuer in 300 s"


def _show_all(tokens: list[world.Dated]) -> None:
    for token, at in tokens:
        with suppress(DomainError):  # refused, as it must be
            bearers.claims_of(token, at=at)


def _expect(status: int, token: str, at: datetime, said: str, done: list[str]) -> Iterator[str]:
    done.append(said)
    if (found := _get("me", token, at=at)) != status:
        yield f"{said}: {found} instead of {status}"


PARTS: dict[str, Callable[[Story, list[str]], Iterator[str]]] = {
    "good": _good,
    "attacks": _attacks,
    "own": _own,
    "people": _people,
    "rotation": _rotation,
    "outage": _outage,
    "slowness": _slowness,
    "flood": _flood,
}


# --- The entries ------------------------------------------------------------------------------
CLIENT = Client(raise_request_exception=False)


def _get(path: str, token: str, *, at: datetime = NOW) -> int:
    with clock.frozen(at):
        return CLIENT.get(f"/api/v1/{path}", headers=_bearer(token)).status_code


def _me(token: str) -> dict[str, str]:
    with clock.frozen(NOW):
        found: dict[str, str] = CLIENT.get("/api/v1/me", headers=_bearer(token)).json()
        return found


def _send_events(token: str) -> int:
    """The path beside the framework; what a person may not send is refused after the token."""
    with clock.frozen(NOW):
        reply = CLIENT.post("/api/v1/events", "{}", JSON, headers=_bearer(token))
    return 200 if reply.status_code == 403 else reply.status_code


def _write(token: str) -> int:
    with clock.frozen(NOW):
        reply = CLIENT.patch("/api/v1/organizations/nobody", "{}", JSON, headers=_bearer(token))
    return 200 if reply.status_code in {403, 404} else reply.status_code


def _listen(token: str) -> int:
    """Live updates take keys and sessions alone: any token gets 401, good ones are not tried."""
    headers = {"host": settings.ALLOWED_HOSTS[0].replace("*", "localhost"), **_bearer(token)}
    lower = {name.lower(): value for name, value in headers.items()}
    try:
        live.admit(live.credential_of(lower, needs_origin=False), "org_0")
    except live.Refused as refusal:
        return refusal.status
    return 200


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


JSON, LIVE = "application/json", "live updates"
ENTRIES: dict[str, Callable[[str], int]] = {
    "GET /me": lambda token: _get("me", token),
    "PATCH /organizations": _write,
    "POST /events": _send_events,
    LIVE: _listen,
}


def _fault_of(mutant: Weakened, seed: int) -> str | None:
    """Return the first fault that a mutant makes, in a process of its own."""
    with tempfile.TemporaryDirectory(prefix="prove-") as directory:
        log = processes.Log(str(Path(directory) / "faults"))

        def work() -> None:
            mutant.change()
            for fault in faults(seed, [], [mutant.part]):
                log.write(json.dumps(fault))
                return

        if processes.start(work).wait() != 0:
            raise RuntimeError(f"the mutant '{mutant.name}' cannot be made; see its traceback")
        return next(iter(log.read()), None)
