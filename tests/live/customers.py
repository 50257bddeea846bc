"""Customers whose usage and facts move, and what moves them: each act commits."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import connections

from apps.core import outbox, rls
from apps.invoicing.events import InvoicePaid
from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants import selectors as tenants
from apps.tenants import services
from apps.tenants.models import Organization, User
from tests.conftest import STAFF
from tests.live.ears import cookie_of
from tests.worlds import NOW, event, make_customer, send, subscribe


@dataclass(frozen=True, slots=True)
class Customer:
    """An organization, its owner, and what the owner's browser sends."""

    organization: Organization
    owner: User
    subscription: SubscriptionFacts
    session: dict[str, str] = field(repr=False)

    @property
    def id(self) -> int:
        return self.organization.pk

    @property
    def own(self) -> tuple[Organization, dict[str, str]]:
        """What the owner's browser asks for."""
        return self.organization, self.session

    def request(self, key: str) -> None:
        """Send one event."""
        send(self.organization, [event(key, NOW - timedelta(hours=1))])
        connections.close_all()

    def tell(self, *facts: Any) -> None:
        """Record facts in one transaction."""
        with rls.tenant_scope(self.id):
            outbox.emit_all([(fact, self.id) for fact in facts], at=NOW)
        connections.close_all()

    def paid(self, invoice: str) -> InvoicePaid:
        return InvoicePaid(invoice, self.id)

    def remove(self, user: User) -> None:
        """Take a member out."""
        with rls.tenant_scope(self.id):
            (row,) = (one for one in tenants.members(self.id) if one.user_id == user.pk)
            services.remove_member(row.public_id, actor=STAFF, at=NOW)
        connections.close_all()

    def change_role(self, user: User, role: str) -> None:
        with rls.tenant_scope(self.id):
            (row,) = (one for one in tenants.members(self.id) if one.user_id == user.pk)
            services.change_role(row.public_id, role=role, actor=STAFF, at=NOW)
        connections.close_all()

    def revoke_keys(self) -> None:
        with rls.tenant_scope(self.id):
            for key in tenants.api_keys(self.id):
                services.revoke_api_key(key.public_id, actor=STAFF, at=NOW)
        connections.close_all()


def make(slug: str) -> Customer:
    organization, owner = make_customer(slug)
    subscription = subscribe(organization, "gateway")
    send(organization, [event("dec-1", datetime(2023, 12, 5, 9, tzinfo=UTC))])
    return Customer(organization, owner, subscription, cookie_of(owner))
