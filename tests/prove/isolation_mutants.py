"""Isolation with one guard missing: each must leak, or the probes' zero means nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from django.db import connections

from apps.core import rls, roles
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Planted:
    """A guard taken away, in the code or in the database (`mends` gives it back to the server)."""

    name: str
    change: Callable[[], None] = lambda: None
    spoils: tuple[str, ...] = ()
    mends: tuple[str, ...] = ()


def _as_owner() -> None:
    connections["default"].settings_dict["USER"] = roles.OWNER


def _scope_of_the_session() -> None:
    """What `SET` without LOCAL does: the setting outlives its transaction, in the pool."""
    mutate(
        rls,
        "Scope",
        ('f"SET LOCAL ROLE {role}; SELECT', 'f"SET ROLE {role}; SELECT'),
        ("'{tenant}', true)", "'{tenant}', false)"),
    )


PARKED_KEY = "invoicing_parked_subscription_id_tenant_fk"

MUTANTS = (
    Planted("the scope is set for the session, not for the transaction", _scope_of_the_session),
    Planted(
        "leaving a scope does not restore the one before",
        partial(mutate, rls, "_enter", ("_scope.reset(token)", "pass")),
    ),
    Planted(
        "an inner scope is not applied",
        partial(mutate, rls, "_enter", ("if nested:", "if False:")),
    ),
    Planted(
        "one table has row-level security switched off",
        spoils=("ALTER TABLE subscriptions_subscription DISABLE ROW LEVEL SECURITY",),
    ),
    Planted(
        "one policy lets everybody read",
        spoils=(
            "DROP POLICY tenant_rows ON invoicing_invoice",
            "CREATE POLICY tenant_rows ON invoicing_invoice TO billing_app USING (true)",
        ),
    ),
    Planted(
        "billing_app inherits from billing_ops instead of having to become it",
        spoils=("GRANT billing_ops TO billing_app WITH INHERIT TRUE",),
        mends=("GRANT billing_ops TO billing_app WITH INHERIT FALSE, SET TRUE",),
    ),
    Planted("the owner's login serves requests", _as_owner),
    Planted(
        "a foreign key does not name the organization",
        spoils=(
            f"ALTER TABLE invoicing_parked DROP CONSTRAINT {PARKED_KEY}",
            "ALTER TABLE invoicing_parked ADD FOREIGN KEY (subscription_id)"
            " REFERENCES subscriptions_subscription",
        ),
    ),
)
