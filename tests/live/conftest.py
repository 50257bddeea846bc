"""A database for each module of tests, where transactions commit, and customers of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest
from pytest_django import DjangoDbBlocker

from tests.conftest import committed_database
from tests.live.customers import Customer, make
from tests.worlds import load_catalog

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def town(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """A catalogue, and no customers yet."""
    with committed_database(django_db_blocker):
        load_catalog("gateway")
        yield


@pytest.fixture
def acme(town: None) -> Customer:
    """Subscribed to Gateway since November; one request in December."""
    return make(f"acme-{next(_numbers)}")


@pytest.fixture
def stranger(town: None) -> Customer:
    """Another one."""
    return make(f"stranger-{next(_numbers)}")
