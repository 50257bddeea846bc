"""A request from its arrival to its answer."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from apps.core import clock
from apps.sandbox import contract as contracts
from apps.sandbox import delivery
from apps.sandbox.contract import Contract
from apps.sandbox.contract.operations import Operation
from apps.sandbox.engine import keys, passing
from apps.sandbox.engine.faults import BEFORE, Kind, Script
from apps.sandbox.errors import ConnectionLost, LiveKey, Refusal
from apps.sandbox.resources import account
from apps.sandbox.resources.registered import DUE, OPERATIONS
from apps.sandbox.store import Store
from apps.sandbox.world.kinds import random_text
from apps.sandbox.world.objects import Asked, World
from apps.sandbox.world.params import Params
from apps.sandbox.world.registry import Body

logger = logging.getLogger(__name__)

_KEY = re.compile(r"(sk|rk)_(test|live)_\w+")
_BROKEN: dict[Kind, tuple[int, str, str | None]] = {
    "error_before": (500, "An unexpected error occurred. (scripted)", None),
    "error_after": (502, "An unexpected error occurred. (scripted)", None),
    "sticky_error": (500, "An unexpected error occurred. (scripted)", None),
    "sticky_after": (500, "An unexpected error occurred. (scripted)", None),
    "busy": (429, "Request rate limit exceeded. (scripted)", "rate_limit"),
    "locked": (429, "Another request holds this object right now. (scripted)", "lock_timeout"),
    "outage": (503, "Stripe is down. (scripted)", None),
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back: status, headers, JSON."""

    status: int
    headers: dict[str, str]
    body: Body


@dataclass(frozen=True, slots=True)
class _Request:
    """A request that is understood: its operation, the ids in its path, its parameters."""

    operation: Operation
    ids: tuple[str, ...]
    params: dict[str, Any]
    key: str | None
    request_id: str
    fingerprint: str


@dataclass(slots=True)
class Violation:
    """An answer or event that is not as Stripe's own description says."""

    where: str
    field: str
    message: str


@dataclass(slots=True)
class Sandbox:
    """Stripe's stand-in: objects in `store`, a clock that can be moved, faults on command.

    With `strict`, what contradicts the contract or fails unexpectedly raises instead of being noted
    in `violations` or answered with 500: for tests.
    """

    store: Store = field(default_factory=Store)
    base_url: str = "http://127.0.0.1:8002/_stripe"
    strict: bool = False
    contract: Contract = field(default_factory=contracts.current)
    faults: Script = field(default_factory=Script)
    violations: list[Violation] = field(default_factory=list)
    wake: Callable[[], None] = field(default=lambda: None)
    _keys: keys.KeysInUse = field(default_factory=keys.KeysInUse)

    def __post_init__(self) -> None:
        """Open the account."""
        with self.store.transaction():
            world = self.world(Asked())
            account.open_account(world)
            world.flush()

    # --- requests --------------------------------------------------------------------------------

    def handle(
        self, method: str, path: str, params: Mapping[str, Any], headers: Mapping[str, str]
    ) -> Answer:
        """Answer a request. `params` is a decoded form (see `forms`), or has its types already.

        Raises ConnectionLost for faults that leave the caller without an answer.
        """
        request_id = f"req_{random_text(14)}"
        lowered = {name.lower(): value for name, value in headers.items()}
        fault = self.faults.strike(method, path)
        try:
            if fault in BEFORE:
                raise _broken(fault)
            request = self._understand(method, path, params, lowered, request_id)
            with self._keys.hold(request.key):
                answer = self._answer(request, fault)
        except Refusal as refusal:
            answer = Answer(refusal.status, {}, {"error": refusal.error})
        except (ConnectionLost, LiveKey):
            raise
        except Exception:
            if self.strict:
                raise
            logger.exception("the sandbox failed at %s %s", method, path)
            answer = Answer(500, {}, {"error": {"type": "api_error", "message": "sandbox failed"}})
        self.wake()
        return Answer(answer.status, self._headers(answer, request_id, lowered), answer.body)

    def _understand(
        self,
        method: str,
        path: str,
        form: Mapping[str, Any],
        headers: Mapping[str, str],
        request_id: str,
    ) -> _Request:
        """Return the request. Raises Refusal for what Stripe refuses before it does anything."""
        authenticate(headers.get("authorization", ""))
        matched = self.contract.match(method, path)
        if matched is None:
            message = f"Unrecognized request URL ({method}: {path})."
            raise Refusal(404, message)
        operation, ids = matched
        params = self.contract.read(operation, form)
        for wrong in self.contract.wrong_in_request(operation, params):
            raise Refusal(400, wrong.message, code=wrong.code, param=wrong.where)
        if operation.key not in OPERATIONS:
            message = f"The sandbox does not stand in for {operation.key}; Stripe itself has it."
            raise Refusal(501, message, kind="api_error", code="sandbox_not_implemented")
        key = headers.get("idempotency-key") if method == "POST" else None
        if key is not None:
            keys.check(key)
        print_ = keys.fingerprint(method, path, params)
        return _Request(operation, ids, params, key, request_id, print_)

    def _answer(self, request: _Request, fault: Kind | None) -> Answer:
        with self.store.transaction():
            now = self.now
            if request.key is not None:
                saved = keys.find(self.store, request.key, request.fingerprint, now=now)
                if saved is not None:
                    return _replay(saved)
            saved = self._carry_out(request, fault)
            if request.key is not None:
                keys.save(self.store, request.key, request.fingerprint, saved, now=now)
        if fault == "reset_after":
            raise ConnectionLost("the connection broke after the request was carried out")
        if fault == "error_after":
            raise _broken(fault)
        return Answer(saved.status, {}, saved.body)

    def _carry_out(self, request: _Request, fault: Kind | None) -> keys.Saved:
        """Do it, and return what the key will answer from now on."""
        if fault == "sticky_error":
            return _refused(_broken(fault), request)
        try:
            with self.store.savepoint():
                saved = self._run(request)
        except Refusal as refusal:
            return _refused(refusal, request)
        return _refused(_broken(fault), request) if fault == "sticky_after" else saved

    def _run(self, request: _Request) -> keys.Saved:
        world = self.world(Asked(request.request_id, request.key))
        params = Params(request.params)
        expand = params.get("expand") or []
        try:
            body = OPERATIONS[request.operation.key](world, params, *request.ids)
        except Refusal as refusal:
            if not refusal.keeps:
                raise
            self._finish(world)
            return _refused(refusal, request)
        for name in params.unread():
            message = f"The sandbox does not act on `{name}` of {request.operation.key}."
            raise Refusal(
                501, message, kind="api_error", code="sandbox_not_implemented", param=name
            )
        shown = world.draw(body, expand)
        self._finish(world, request.operation, shown)
        return keys.Saved(200, shown, request.request_id)

    def _finish(self, world: World, operation: Operation | None = None, shown: Any = None) -> None:
        """Write what changed, plan the webhooks, compare all of it with the contract."""
        if operation is not None:
            for wrong in self.contract.wrong_in_answer(operation, shown):
                self._violated(operation.key, wrong)
        for event in world.announced:
            delivery.plan(world, event)
            for wrong in self.contract.wrong_in_object(event["data"]["object"]):
                self._violated(event["type"], wrong)
        world.flush()

    def _violated(self, where: str, wrong: Any) -> None:
        if wrong.only_noted:
            return
        self.violations.append(Violation(where, wrong.where, wrong.message))
        if self.strict:
            raise AssertionError(f"{where}: {wrong.where}: {wrong.message}")

    def _headers(self, answer: Answer, request_id: str, asked: Mapping[str, str]) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "Request-Id": request_id,
            "Stripe-Version": self.contract.version,
            **answer.headers,
        }
        if key := asked.get("idempotency-key"):
            headers["Idempotency-Key"] = key
        return headers

    def is_running(self, key: str) -> bool:
        """Tell whether a request with this idempotency key runs now."""
        return key in self._keys

    # --- time ------------------------------------------------------------------------------------

    @property
    def now(self) -> int:
        """Return the simulated instant: real time, moved by the time machine."""
        return int(clock.now().timestamp()) + int(self.store.note("offset", 0))

    def world(self, asked: Asked | None = None, *, now: int | None = None) -> World:
        """Return what an operation works with; the caller holds a transaction."""
        return World(
            self.store,
            self.contract,
            now=self.now if now is None else now,
            base_url=self.base_url,
            asked=asked or Asked(),
        )

    def act(self, work: Callable[[World], Any]) -> Any:
        """Do something in a transaction of its own: a page, the control surface, passing time.

        Returns what `work` returns, drawn when it is an object.
        """
        refused = None
        with self.store.transaction():
            world = self.world()
            try:
                done = work(world)
            except Refusal as refusal:
                if not refusal.keeps:
                    raise
                done, refused = None, refusal
            shown = world.draw(done) if isinstance(done, dict) and "object" in done else done
            self._finish(world)
        self.wake()
        if refused is not None:
            raise refused
        return shown

    def happen(self, identity: str) -> None:
        """Do what is due for an object, at the instant at which it is due."""
        with self.store.transaction():
            body = self.store.read(identity)
            if body is None:
                return
            world = self.world(now=int(body["_due"]))
            if clock_id := body.get("_clock"):
                world.get("test_helpers.test_clock", clock_id)["frozen_time"] = body["_due"]
            due = world.get(body["object"], identity)
            due.pop("_due")
            try:
                with self.store.savepoint():
                    DUE[body["object"]](world, due)
                    self._finish(world)
            except Exception:
                if self.strict:
                    raise
                # Time goes on for everybody else: what failed is not due any more.
                logger.exception("the sandbox could not go on with %s", identity)
                self.store.write({name: body[name] for name in body if name != "_due"})

    def tick(self) -> int:
        """Do everything that is due by now, on all clocks; return how much it was."""
        return passing.tick(self)

    def advance(self, seconds: int) -> int:
        """Move the global clock forward, doing on the way what falls due; return the instant."""
        return passing.advance(self, seconds)


def authenticate(header: str) -> None:
    """Raise Refusal unless the header carries a test key, and LiveKey's refusal for a live one."""
    scheme, _, secret = header.partition(" ")
    if scheme.lower() == "basic":
        try:
            secret = base64.b64decode(secret).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            secret = ""
    found = _KEY.fullmatch(secret)
    if found is None:
        raise Refusal(401, "Invalid API Key provided", code="api_key_invalid")
    if found[2] == "live":
        raise Refusal(401, "This is the sandbox: it takes no live key.", code="api_key_invalid")


def _broken(fault: Kind | None) -> Exception:
    if fault in {"reset_before", "reset_after", None}:
        return ConnectionLost("the connection broke before the request was carried out")
    status, message, code = _BROKEN[fault]
    kind = "invalid_request_error" if status == 429 else "api_error"
    return Refusal(status, message, kind=kind, code=code)


def _refused(refusal: Exception, request: _Request) -> keys.Saved:
    if not isinstance(refusal, Refusal):
        raise refusal
    return keys.Saved(refusal.status, {"error": refusal.error}, request.request_id)


def _replay(saved: keys.Saved) -> Answer:
    headers = {"Idempotent-Replayed": "true", "Original-Request": saved.request_id}
    return Answer(saved.status, headers, saved.body)
