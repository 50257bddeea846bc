"""What every test stands on: the real roles, a scope of its own, and rooms that stay at home."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from django.db import connections
from pytest_django import DjangoDbBlocker

from apps.core import embedded, rls
from apps.core.actor import Actor, operator
from apps.tenants import services as tenants
from apps.tenants.models import Organization
from tests import database
from tests.write_guard import rooms_write_only_their_own

AT = datetime(2026, 3, 1, tzinfo=UTC)
STAFF: Actor = operator("test")
_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def django_db_setup() -> None:
    """Nothing to set up: `tests.database` has cloned a migrated database for this worker."""


@pytest.fixture(autouse=True)
def _write_guard() -> Iterator[None]:
    with rooms_write_only_their_own():
        yield


@pytest.fixture
def ops(db: None) -> Iterator[None]:
    """The staff's scope for the whole test."""
    with rls.ops_scope("test"):
        yield


@pytest.fixture
def organization(db: None) -> Organization:
    """An organization in USD and UTC."""
    return make_organization("acme")


@pytest.fixture
def other_organization(db: None) -> Organization:
    """A stranger."""
    return make_organization("stranger")


def make_organization(slug: str, **options: str) -> Organization:
    """Create an organization through its service."""
    with rls.ops_scope("test: make an organization"):
        return tenants.create_organization(
            slug, name=options.pop("name", slug.title()), actor=STAFF, at=AT, **options
        )


@pytest.fixture
def committed_db(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """A database of the test's own, where transactions commit; yields its run-time URL."""
    with committed_database(django_db_blocker) as url:
        yield url


@contextlib.contextmanager
def committed_database(django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """Point the connections to a fresh database for as long as the context lasts."""
    name = f"committed_{os.environ['TEST_RUN']}_{os.getpid()}_{next(_numbers)}"
    app_url, owner_url = database.clone(database.urls_of_server(), name)
    urls = _environment(DATABASE_URL=app_url, DATABASE_OWNER_URL=owner_url)
    with django_db_blocker.unblock(), urls, _pointed_at(name), rooms_write_only_their_own():
        yield app_url
    embedded.drop_database(database.urls_of_server().admin, name)


@contextlib.contextmanager
def _pointed_at(name: str) -> Iterator[None]:
    before = {alias: connections[alias].settings_dict["NAME"] for alias in connections}
    for alias in before:
        connections[alias].close()
        connections[alias].settings_dict["NAME"] = name
    try:
        yield
    finally:
        for alias, old in before.items():
            connections[alias].close()
            connections[alias].settings_dict["NAME"] = old


@contextlib.contextmanager
def _environment(**values: str) -> Iterator[None]:
    before = {key: os.environ[key] for key in values}
    os.environ.update(values)
    try:
        yield
    finally:
        os.environ.update(before)
