"""What an operation works with: objects, the instant, events. One per request."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from apps.sandbox.contract import Contract
from apps.sandbox.errors import Refusal, missing
from apps.sandbox.store import Store
from apps.sandbox.world import drawing
from apps.sandbox.world.kinds import ABSENT, new_id
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import Body

LARGEST_PAGE = 100


@dataclass(frozen=True, slots=True)
class Asked:
    """Which request causes what happens, as events tell it. Without one it is time that passed."""

    request_id: str | None = None
    idempotency_key: str | None = None


class World:
    """The objects of one transaction: read once, changed in place, written at the end."""

    def __init__(
        self, store: Store, contract: Contract, *, now: int, base_url: str, asked: Asked
    ) -> None:
        self.store = store
        self.contract = contract
        self.now = now
        self.base_url = base_url
        self.asked = asked
        self.announced: list[Body] = []
        self._objects: dict[str, Body] = {}
        self._stored: dict[str, str] = {}
        self._silent = False

    # --- finding ---------------------------------------------------------------------------------

    def look(self, identity: object) -> Body | None:
        """Return an object by id, or None; a deleted one is not there."""
        body = self._load(identity)
        return None if body is None or body.get("deleted") else body

    def get(self, kind: str, identity: object, *, param: str | None = None) -> Body:
        """Return an object of a kind. Raises Refusal: 404, or 400 when a parameter named it."""
        body = self.look(identity)
        if body is None or body["object"] != kind:
            raise missing(kind, identity, param=param)
        return body

    def tombstone(self, kind: str, identity: object) -> Body | None:
        """Return what is left of a deleted object."""
        body = self._load(identity)
        return body if body and body.get("deleted") and body["object"] == kind else None

    def find(self, kind: str, *, oldest_first: bool = False, **where: Any) -> list[Body]:
        """Return the objects whose fields have these values, youngest first.

        Two underscores go inside: `promotion__coupon="…"`.
        """
        self.flush()
        names = {name.replace("__", "."): value for name, value in where.items()}
        found = self.store.select(kind, names, oldest_first=oldest_first)
        return [self.get(kind, identity) for identity in found]

    def search(self, kind: str, field: str, value: str) -> list[Body]:
        """Return the objects whose field (`metadata.key` goes inside) has this text."""
        self.flush()
        found = self.store.select(kind, {field: value})
        return [self.get(kind, identity) for identity in found]

    def page(self, kind: str, url: str, params: Params, **where: Any) -> Body:
        """Return one page of a list as Stripe gives it: youngest first, cursors are ids.

        `created` of the request is looked at; other filters come in `where`, None does not filter.
        """
        self.flush()
        limit = page_size(params)
        after, before = params.get("starting_after"), params.get("ending_before")
        for param in ("starting_after", "ending_before"):
            if params.get(param) is not None:
                self.get(kind, params[param], param=param)
        filters = {
            name.replace("__", "."): each for name, each in where.items() if each is not None
        }
        if params.get("created") not in (None, ""):
            filters["created"] = params["created"]
        found = self.store.select(kind, filters, after=after, before=before, limit=limit + 1)
        more = len(found) > limit
        kept = found[-limit:] if before is not None else found[:limit]
        return listing([self.get(kind, each) for each in kept], url, has_more=more)

    # --- changing --------------------------------------------------------------------------------

    def new(self, kind: str, **fields: Any) -> Body:
        """Return a new object: every field that Stripe shows, with these values."""
        body = self.contract.blank(kind)
        for name in (*ABSENT.get(kind, ()), "deleted"):
            body.pop(name, None)
        common = {"created": self.now, "livemode": False, "metadata": {}}
        body.update({name: value for name, value in common.items() if name in body})
        body.update({"id": new_id(kind), "object": kind, **fields})
        if "_clock" not in body and (clock := self.clock_of(body)):
            body["_clock"] = clock
        if body.get("_clock") and "created" in body and "created" not in fields:
            body["created"] = self.time_of(body)
        self._objects[body["id"]] = body
        return body

    def bury(self, body: Body) -> Body:
        """Delete an object and leave a tombstone; return what Stripe answers."""
        grave = {"id": body["id"], "object": body["object"], "deleted": True}
        self._objects[body["id"]] = grave
        return grave

    def restore(self, identity: str, picture: Body) -> None:
        """Make an object what a picture of it says, in place: others hold it."""
        body = self._load(identity)
        if body is None:
            body = self._objects[identity] = {}
        body.clear()
        body.update(copy.deepcopy(picture))

    def forget(self, body: Body) -> None:
        """Delete an object of ours without a trace."""
        self._objects.pop(body["id"], None)
        self._stored.pop(body["id"], None)
        self.store.forget(body["id"])

    def flush(self) -> None:
        """Write what was changed."""
        for identity, body in list(self._objects.items()):
            written = json.dumps(body)
            if self._stored.get(identity) != written:
                self.store.write(body)
                self._stored[identity] = written

    @contextmanager
    def rehearsal(self) -> Iterator[None]:
        """Undo at the end of the block whatever happens in it, and tell nobody."""
        self.flush()
        before, stored = dict(self._objects), dict(self._stored)
        kept = copy.deepcopy(before)
        silent, self._silent = self._silent, True
        try:
            with self.store.rehearsal():
                yield
        finally:
            self._silent, self._objects, self._stored = silent, before, stored
            for identity, body in before.items():  # in place: the caller holds these
                body.clear()
                body.update(kept[identity])

    # --- telling ---------------------------------------------------------------------------------

    def emit(self, name: str, body: Body, previous: Body | None = None) -> None:
        """Write an event with a full picture of the object as it is now."""
        if self._silent:
            return
        told: Body = {"object": self.draw(body)}
        if previous:
            told["previous_attributes"] = previous
        event = self.new(
            "event",
            type=name,
            api_version=self.contract.version,
            data=told,
            created=self.time_of(body),
            pending_webhooks=0,
            request={
                "id": self.asked.request_id,
                "idempotency_key": self.asked.idempotency_key,
            },
        )
        self.announced.append(event)

    @contextmanager
    def changes(self, body: Body, name: str | None) -> Iterator[Body]:
        """Emit an event when the block changed what the object shows; say what it showed before."""
        before = self.draw(body)
        yield body
        previous = difference(before, self.draw(body))
        if name is not None and previous:
            self.emit(name, body, previous)

    def change(self, body: Body, name: str | None, **fields: Any) -> Body:
        """Set fields and emit an event when that changed something."""
        with self.changes(body, name):
            body.update(fields)
        return body

    def draw(self, body: Body, expand: Sequence[str] = ()) -> Body:
        """Return the object as the API shows it, a copy."""
        return drawing.draw(self, body, expand)

    # --- time ------------------------------------------------------------------------------------

    def time_of(self, body: Body) -> int:
        """Return what time it is for an object: its customer may live on a test clock."""
        clock = self.clock_of(body)
        return int(self.get("test_helpers.test_clock", clock)["frozen_time"]) if clock else self.now

    def clock_of(self, body: Body) -> str | None:
        """Return the test clock that an object lives on."""
        if clock := body.get("test_clock") or body.get("_clock"):
            return str(clock)
        customer = self.look(body.get("customer"))
        return customer.get("test_clock") if customer else None

    def _load(self, identity: object) -> Body | None:
        if not isinstance(identity, str):
            return None
        if identity not in self._objects:
            body = self.store.read(identity)
            if body is None:
                return None
            self._objects[identity] = body
            self._stored[identity] = json.dumps(body)
        return self._objects[identity]


def page_size(params: Params) -> int:
    """Return how many objects a page has; ten unless asked."""
    limit = int(params.get("limit", 10))
    if not 1 <= limit <= LARGEST_PAGE:
        raise Refusal(
            400,
            f"This value must be between 1 and {LARGEST_PAGE}.",
            param="limit",
            code="parameter_invalid_integer",
        )
    return limit


def listing(items: Sequence[Body], url: str, *, has_more: bool = False) -> Body:
    """Return a list as Stripe shows it."""
    return {"object": "list", "data": list(items), "has_more": has_more, "url": url}


def difference(before: Body, after: Body) -> Body:
    """Return what `before` had in the places where `after` is different; nests are gone into."""
    found: Body = {}
    for name in {**before, **after}:
        old, new = before.get(name), after.get(name)
        if old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict) and "id" not in old and name != "items":
            found[name] = difference(old, new)
        else:
            found[name] = old
    return found
