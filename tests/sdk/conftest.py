"""What the SDK's tests share: a server that answers as it is told."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from tests.sdk.server import Server, serving


@pytest.fixture
def server() -> Iterator[Server]:
    """A server of the test's own."""
    with serving() as found:
        yield found


@pytest.fixture(autouse=True)
def _the_log_can_be_read(caplog: pytest.LogCaptureFixture) -> None:
    """Let tests see what an application would; the platform's own tests are quiet."""
    caplog.set_level(logging.INFO, logger="countinghouse")
