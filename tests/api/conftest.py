"""What the API's tests share: a world, keys, and a client that checks every answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from apps.core import clock
from tests import worlds
from tests.api.client import Api
from tests.worlds import NOW, World


@pytest.fixture(autouse=True)
def _unforeseen_errors_show(caplog: pytest.LogCaptureFixture) -> None:
    """Let a failed test show the traceback behind a 500."""
    caplog.set_level(logging.ERROR, logger="apps.api.errors")


@pytest.fixture
def world(db: None) -> Iterator[World]:
    """Acme, on 10 December 2023."""
    with clock.frozen(NOW):
        yield worlds.gateway_world("acme")


@pytest.fixture
def stranger(world: World) -> World:
    """Globex, which has the same things."""
    return worlds.gateway_world("globex")


@pytest.fixture
def api(world: World) -> Api:
    """Acme's key with every scope."""
    return Api(worlds.make_key(world.organization))


@pytest.fixture
def platform(world: World) -> Api:
    """The platform's key with every scope."""
    return Api(worlds.make_key(None))
