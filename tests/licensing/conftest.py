"""A customer with a licence's worth of features."""

from __future__ import annotations

import pytest

from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization
from tests.entitlements import maps
from tests.licensing import world


@pytest.fixture
def shop(db: None) -> None:
    """What is on sale."""
    world.load()


@pytest.fixture
def subscription(shop: None, organization: Organization) -> SubscriptionFacts:
    """The plan `professional`, in USD and UTC, since 1 March."""
    return world.subscribe(organization)


@pytest.fixture
def shop_of_maps(db: None) -> None:
    """Limits with meters and without, switches, settings, add-ons and a second application."""
    maps.load()
