from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import Client

from apps.core import clock
from apps.tenants.models import User
from tests.portal import world
from tests.portal.world import Customer


@pytest.fixture
def acme(db: None) -> Iterator[Customer]:
    """A customer with a history, at noon of 10 December 2023."""
    with clock.frozen(world.NOW):
        yield world.history()


@pytest.fixture
def stranger(acme: Customer) -> Customer:
    """Another customer with a subscription of its own."""
    return world.make_customer("globex")


def signed_in(user: User) -> Client:
    """A browser in which the user has signed in."""
    client = Client()
    client.force_login(user)
    return client
