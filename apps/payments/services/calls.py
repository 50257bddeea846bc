"""Doing something at the payment provider exactly once, whatever breaks in between.

A call is a row first: committed, then said outside of any transaction, then its answer recorded in
one. A crash in between leaves the row pending, and it is said again with the same idempotency key,
which the provider answers as it did the first time. It remembers keys for a day. After 23 hours,
and when it repeats a failure of its own for a key, nobody knows whether it acted: then the object
is looked up by `metadata.billing_id`, or read, before the next generation of the key is used.

`call` does it now and returns the answer, `enqueue` leaves it to the worker. Who has to write down
what came of it registers with `@answered(Write.…)` or `@refused(Write.…)`: the function runs in the
transaction that settles the call, whoever made it and however often it was tried.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from typing import Any, TypeVar

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q

from apps.audit import services as audit
from apps.core import clock, rls
from apps.core.actor import Actor, require
from apps.core.faults import point
from apps.payments import gateway
from apps.payments.errors import (
    KeyReused,
    ProviderBusy,
    ProviderDown,
    ProviderError,
    ProviderRefused,
    UnknownThere,
)
from apps.payments.gateway import Answer, Params, Write
from apps.payments.models import ProviderCall

log = logging.getLogger(__name__)

State = ProviderCall.State
# Longer than a call takes: nobody else makes it meanwhile.
CLAIM = timedelta(seconds=60)
# The provider keeps keys for at least 24 hours.
KEY_LIFETIME = timedelta(hours=23)
FIRST_PAUSE, LONGEST_PAUSE = timedelta(seconds=2), timedelta(minutes=4)
# So many failures in a row say that the provider is down, not one object.
ENOUGH = 3
REPLAYED = "replayed"

Hook = Callable[..., None]
H = TypeVar("H", bound=Hook)

_answered: dict[str, list[Hook]] = {}
_refused: dict[str, list[Hook]] = {}

# How an object looks when what was asked for has happened to it. What is not here can be repeated.
HAPPENED: dict[Write, Callable[[Answer, Params], bool]] = {
    Write.ADD_LINES: lambda found, said: (
        said["invoice_metadata"].items() <= found["metadata"].items()
    ),
    Write.FINALIZE_INVOICE: lambda found, _: found["status"] != "draft",
    Write.PAY_INVOICE: lambda found, _: found["status"] == "paid",
    Write.VOID_INVOICE: lambda found, _: found["status"] == "void",
    Write.FORGO_INVOICE: lambda found, _: found["status"] == "uncollectible",
    Write.ATTACH_METHOD: lambda found, said: found["customer"] == said["customer"],
    Write.DETACH_METHOD: lambda found, _: found["customer"] is None,
    Write.CANCEL_SETUP_INTENT: lambda found, _: found["status"] == "canceled",
    Write.EXPIRE_CHECKOUT: lambda found, _: found["status"] == "expired",
    Write.CANCEL_SUBSCRIPTION: lambda found, _: found["status"] == "canceled",
}


def answered(operation: Write) -> Callable[[H], H]:
    """Call the decorated function, `(call, answer, *, at)`, in the transaction that settles it."""
    return _registers(_answered, operation)


def refused(operation: Write) -> Callable[[H], H]:
    """Call the decorated function, `(call, refusal, *, at)`, in the transaction that settles it."""
    return _registers(_refused, operation)


def _registers(hooks: dict[str, list[Hook]], operation: Write) -> Callable[[H], H]:
    def register(hook: H) -> H:
        hooks.setdefault(operation.label, []).append(hook)
        return hook

    return register


# --- wishing --------------------------------------------------------------------------------------
def call(
    operation: Write,
    *,
    about: str,
    params: Params,
    organization_id: int | None = None,
    target: str = "",
    lane: str = "",
) -> Answer:
    """Do something at the provider now and return its answer; never inside a transaction.

    `about` names what it is for, in public ids of ours: the same operation about the same is done
    once, and asked again answers with the object as it is. `lane` keeps calls in order; by default
    each has its own. Raises ProviderDown and ProviderBusy, after which the worker goes on trying,
    and ProviderRefused, which is settled: with the same parameters it is raised again from memory,
    with others the next generation is tried.
    """
    gateway.require_configured()
    gateway.refuse_in_transaction()
    with scope(organization_id):
        row = _written(operation, about, params, organization_id, target, lane)
        if row.state == State.PENDING:
            _claim(row)
    point("call.written")
    if row.state == State.DONE:
        return _as_it_is(row)
    return _perform(row)


def enqueue(
    operation: Write,
    *,
    about: str,
    params: Params,
    organization_id: int | None = None,
    target: str = "",
    lane: str = "",
) -> ProviderCall:
    """Write down, in the caller's transaction, what the worker is to do at the provider."""
    return _written(operation, about, params, organization_id, target, lane)


def is_waiting(lane: str) -> bool:
    """Tell whether a call of this lane is not settled yet, or stuck."""
    rows = ProviderCall.objects.filter(lane=lane, state__in=(State.PENDING, State.STUCK))
    return rows.exists()


def _written(
    operation: Write,
    about: str,
    params: Params,
    organization_id: int | None,
    target: str,
    lane: str,
) -> ProviderCall:
    """Return the row of this purpose, locked: the first wish stands until it is settled."""
    said = _with_id(operation, about, params)
    operation.path(target)  # refuses a target that is missing, or one too many
    mine = Q(organization_id=organization_id)
    row, is_new = (
        ProviderCall.objects.select_for_update()
        .filter(mine)
        .get_or_create(
            operation=operation.label,
            about=about,
            defaults={
                "organization_id": organization_id,
                "params": said,
                "target": target,
                "lane": lane or about[:80],
                "next_try_at": clock.now(),
            },
        )
    )
    if not is_new and row.state == State.REFUSED:
        _reconsider(row, said)
    return row


def _with_id(operation: Write, about: str, params: Params) -> dict[str, Any]:
    """Return the parameters with the id by which the object can be found again."""
    said = dict(params)
    if operation.creates and operation.kind:
        said["metadata"] = {**said.get("metadata", {}), "billing_id": about}
    return said


def _reconsider(row: ProviderCall, said: dict[str, Any]) -> None:
    """Ask again what was refused, if it is asked otherwise."""
    if said == row.params:
        raise ProviderRefused(
            row.error, provider_code=row.error_code, decline_code=row.decline_code
        )
    row.params, row.generation, row.sent_at = said, row.generation + 1, None
    row.state, row.settled_at, row.next_try_at = State.PENDING, None, clock.now()
    row.save()


def _claim(row: ProviderCall) -> None:
    """Take the call for a while. Raises ProviderBusy if somebody has it, or one before it waits."""
    at = clock.now()
    if row.next_try_at > at or _earlier(row.lane, row.pk).exists():
        raise ProviderBusy("This is being done at the payment provider already.")
    row.tries += 1
    row.next_try_at = at + CLAIM
    row.sent_at = row.sent_at or at
    row.save(update_fields=["tries", "next_try_at", "sent_at"])


def _earlier(lane: Any, key: Any) -> Any:
    return ProviderCall.objects.filter(lane=lane, pk__lt=key, state=State.PENDING)


def _as_it_is(row: ProviderCall) -> Answer:
    """Return the object that a call that is done has made or changed."""
    kind = Write[row.operation.upper()].kind
    try:
        return gateway.retrieve(kind, row.provider_id)
    except UnknownThere:
        return {"id": row.provider_id, "object": kind, "deleted": True}


# --- saying ---------------------------------------------------------------------------------------
def _perform(row: ProviderCall) -> Answer:
    """Say a call that is claimed, and record what came of it; raise what the provider raised."""
    try:
        answer = _say(row)
    except ProviderRefused as refusal:
        _settle(row, refusal)
        raise
    except ProviderError as error:
        _put_off(row, error)
        raise
    point("call.answered")
    _record(row, answer)
    point("call.recorded")
    return answer


def _say(row: ProviderCall) -> Answer:
    operation = Write[row.operation.upper()]
    if _is_doubtful(row):
        known = _find(row, operation)
        if known is not None:
            return known
        _use_next_key(row)
    try:
        return gateway.write(operation, params=row.params, key=row.key, target=row.target)
    except UnknownThere:
        if operation.verb != "delete":
            raise
        return {"id": row.target, "object": operation.kind, "deleted": True}


def _is_doubtful(row: ProviderCall) -> bool:
    """Whether repeating the key says nothing any more: it is old, or its failure is what sticks."""
    is_old = row.sent_at is not None and row.sent_at <= clock.now() - KEY_LIFETIME
    return is_old or row.error_code == REPLAYED


def _find(row: ProviderCall, operation: Write) -> Answer | None:
    """Return the object if what was asked for has happened, from what the provider has now."""
    if operation.creates:
        since = int(row.created_at.timestamp()) - 60  # clocks differ
        return gateway.find(operation.kind, billing_id=row.about, since=since)
    try:
        found = gateway.retrieve(operation.kind, row.target)
    except UnknownThere:
        return {"id": row.target, "deleted": True} if operation.verb == "delete" else None
    happened = HAPPENED.get(operation)
    return found if happened and happened(found, row.params) else None


def _use_next_key(row: ProviderCall) -> None:
    with scope(row.organization_id):
        row.generation += 1
        row.sent_at, row.error_code = clock.now(), ""
        row.save(update_fields=["generation", "sent_at", "error_code"])
    point("call.next_key")


# --- settling -------------------------------------------------------------------------------------
def _record(row: ProviderCall, answer: Answer) -> None:
    at = clock.now()
    with scope(row.organization_id):
        if not _still_open(row):
            return
        row.state, row.settled_at = State.DONE, at
        row.provider_id = str(answer.get("id") or row.target)
        row.error_class = row.error_code = row.error = ""
        row.save()
        for hook in _answered.get(row.operation, ()):
            hook(row, answer, at=at)
        point("call.recording")


def _settle(row: ProviderCall, refusal: ProviderRefused) -> None:
    """Record that the provider will not do it; a mistake of ours stays stuck until it is mended."""
    at = clock.now()
    with scope(row.organization_id):
        if not _still_open(row):
            return
        row.state = State.STUCK if isinstance(refusal, KeyReused) else State.REFUSED
        row.settled_at = at
        row.error_class, row.error = refusal.code[:10], refusal.message
        row.error_code, row.decline_code = refusal.provider_code[:60], refusal.decline_code[:60]
        row.save()
        for hook in _refused.get(row.operation, ()):
            hook(row, refusal, at=at)
        point("call.refusing")


def _still_open(row: ProviderCall) -> bool:
    """Lock the row; tell whether nobody else has settled it, having taken our claim for lost."""
    open_rows = ProviderCall.objects.select_for_update().filter(pk=row.pk, state=State.PENDING)
    return open_rows.exists()


def _put_off(row: ProviderCall, error: Exception) -> None:
    """Try again later: soon at first, then every few minutes, not all at the same moment."""
    pause = min(FIRST_PAUSE * 2 ** min(row.tries, 10), LONGEST_PAUSE)
    replayed = isinstance(error, ProviderDown) and error.extra.get("replayed")
    with scope(row.organization_id):
        if not _still_open(row):
            return
        row.next_try_at = clock.now() + pause * (50 + secrets.randbelow(51)) / 100
        row.error_class = "busy" if isinstance(error, ProviderBusy) else "down"
        row.error_code = REPLAYED if replayed else ""
        row.error = f"{type(error).__name__}: {error}"[:2000]
        row.save(update_fields=["next_try_at", "error_class", "error_code", "error"])
    log.warning("provider_call_put_off", extra={"call": str(row), "tries": row.tries})


# --- the worker -----------------------------------------------------------------------------------
def deliver_calls(*, limit: int = 200) -> int:
    """Do what is due at the provider, in order in each lane; return how many were tried.

    Several workers may run at once. Ends early when the provider does not answer.
    """
    tried = failures = 0
    while tried < limit and failures < ENOUGH:
        row = _next_due()
        if row is None:
            break
        tried += 1
        failures = 0 if _tried(row) else failures + 1
    return tried


def _next_due(lane: str = "") -> ProviderCall | None:
    with rls.ops_scope("provider calls: take the next"):
        row = (
            ProviderCall.objects.select_for_update(skip_locked=True)
            .filter(state=State.PENDING, next_try_at__lte=clock.now())
            .filter(~Exists(_earlier(OuterRef("lane"), OuterRef("pk"))))
            .filter(**{"lane": lane} if lane else {})
            .order_by("next_try_at", "id")
            .first()
        )
        if row is not None:
            _claim(row)
        return row


def _tried(row: ProviderCall) -> bool:
    """Perform a call; return whether the provider gave an answer, whatever it was."""
    try:
        _perform(row)
    except ProviderRefused:
        return True  # it is settled, and whoever asked has been told
    except ProviderError:
        return False
    except Exception as error:
        log.warning("provider_call_not_recorded", extra={"call": str(row)}, exc_info=error)
        _put_off(row, error)
    return True


@transaction.atomic
def retry_calls(call_ids: list[int], *, actor: Actor) -> int:
    """Try calls that wait or are stuck again now; return how many. Needs the ops scope.

    A stuck one gets the next key: the one before means something else to the provider.
    """
    require("manage_outbox", actor=actor)
    at = clock.now()
    rows = ProviderCall.objects.filter(pk__in=call_ids)
    found = rows.filter(state=State.PENDING).update(next_try_at=at)
    found += rows.filter(state=State.STUCK).update(
        state=State.PENDING,
        generation=F("generation") + 1,
        sent_at=None,
        settled_at=None,
        next_try_at=at,
    )
    if found:
        after = {"calls": found}
        audit.record(
            action="provider_call.retried", target="calls", actor=actor, at=at, after=after
        )
    return found


def scope(organization_id: int | None) -> AbstractContextManager[None]:
    """Return the scope of an organization's calls, or of the platform's."""
    if organization_id is None:
        return rls.ops_scope("provider call of the platform")
    return rls.tenant_scope(organization_id)


def deliver_lane(lane: str, *, most: int = 20) -> None:
    """Do now what is due in one lane, in its order, until nothing is or the provider fails.

    For somebody who waits for what comes of it; the worker would do the same a little later.
    """
    gateway.refuse_in_transaction()
    for _ in range(most):
        row = _next_due(lane)
        if row is None or not _tried(row):
            return
