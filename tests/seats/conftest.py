"""A clinic with five seats, and people for them."""

from __future__ import annotations

import pytest

from apps.subscriptions.selectors import SubscriptionFacts
from apps.tenants.models import Organization, User
from tests.conftest import make_organization
from tests.seats import clinic as story


@pytest.fixture
def shop(db: None) -> None:
    """What is on sale."""
    story.load()


@pytest.fixture
def clinic(shop: None) -> Organization:
    """The customer."""
    return make_organization("clinic")


@pytest.fixture
def team(clinic: Organization) -> SubscriptionFacts:
    """Five seats since 1 March."""
    return story.subscribe(clinic)


@pytest.fixture
def nurses(clinic: Organization) -> list[User]:
    """Seven members."""
    return story.people(clinic, 7)
