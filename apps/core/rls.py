"""Who may see which rows: one scope in a ContextVar, applied at every BEGIN.

A tenant scope shows one organization's rows, the ops scope all of them. Without a scope the
database shows no tenant row and accepts none: it fails closed. The scope lasts as long as the
transaction that carries it, so a pooled connection cannot leak it to the next request.

Streaming responses, `on_commit` callbacks and threads run outside: they open a scope of their own.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from django.db import connection, transaction

APP_ROLE, OPS_ROLE = "billing_app", "billing_ops"


@dataclass(frozen=True, slots=True)
class Scope:
    """What the current transaction may see."""

    organization_id: int | None = None
    ops: bool = False

    def sql(self) -> str:
        """Return the statements that apply the scope. Only an integer and constants go in."""
        role = OPS_ROLE if self.ops else APP_ROLE
        tenant = "" if self.organization_id is None else str(int(self.organization_id))
        return f"SET LOCAL ROLE {role}; SELECT set_config('app.organization_id', '{tenant}', true)"


NONE = Scope()
_scope: ContextVar[Scope] = ContextVar("rls_scope", default=NONE)


def current() -> Scope:
    """Return the scope of this context."""
    return _scope.get()


@contextlib.contextmanager
def tenant_scope(organization_id: int) -> Iterator[None]:
    """Open a transaction that sees and writes this organization's rows only."""
    with _enter(Scope(organization_id=int(organization_id))):
        yield


@contextlib.contextmanager
def ops_scope(reason: str) -> Iterator[None]:
    """Open a transaction that sees every organization; `reason` says what for."""
    if not reason:
        raise ValueError("the ops scope needs a reason")
    with _enter(Scope(ops=True)):
        yield


@contextlib.contextmanager
def _enter(scope: Scope) -> Iterator[None]:
    wrapper: Any = connection
    token = _scope.set(scope)
    nested = wrapper.in_atomic_block
    try:
        with transaction.atomic():
            if nested:  # the outermost BEGIN has carried it already
                wrapper.apply_scope()
            yield
    finally:
        _scope.reset(token)
        # In a failed transaction PostgreSQL itself restores the setting at the rollback.
        if wrapper.in_atomic_block and not wrapper.in_failed_transaction():
            wrapper.apply_scope()
