"""The SDK against the platform's own API, in a web server that is killed under it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from apps.core import clock, rls
from apps.tenants.models import Organization
from apps.usage import selectors as usage
from apps.usage import services as metering
from countinghouse import Client, Rejected, UsageOptions
from tests import worlds
from tests.conftest import STAFF
from tests.sdk import programs

START_SECONDS = 120
METER = "api_requests"


class Platform:
    """The platform's web server as `up` starts it, on one port for all of its lives."""

    def __init__(self) -> None:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        self.address = f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--port",
             str(self.port), "--blocking-threads", "2", "billing_project.wsgi:application"],
            cwd=programs.ROOT, start_new_session=True,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        give_up = time.monotonic() + START_SECONDS
        while not self._answers():
            assert time.monotonic() < give_up
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/health", timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def kill(self) -> None:
        """Kill the server and its worker at once, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


@pytest.fixture
def acme(committed_db: str) -> Organization:
    """An organization whose billable requests are counted."""
    organization, _ = worlds.make_customer("acme")
    with rls.ops_scope("test: define a meter"):
        metering.define_meter(
            METER,
            event_type="api.request",
            aggregation="count",
            dimensions=["category"],
            exclude=[{"billable": ["false"]}],
            actor=STAFF,
            at=worlds.START,
        )
    return organization


@pytest.fixture
def platform(acme: Organization) -> Iterator[Platform]:
    found = Platform()
    found.start()
    yield found
    found.kill()


@pytest.fixture
def client(acme: Organization, platform: Platform) -> Iterator[Client]:
    options = UsageOptions(interval=0.05, first_delay=0.1, longest_delay=1)
    key = worlds.make_key(None)
    with Client(api_key=key, base_url=platform.address, timeout=30, usage=options) as found:
        yield found


def today(organization: Organization, meter: str = METER) -> Decimal:
    """Return what the meter counted within a day."""
    now = clock.now()
    want = usage.Want(meter, now - timedelta(days=1), now + timedelta(minutes=5))
    with rls.tenant_scope(organization.pk):
        return usage.measure(organization.pk, [want])[0].quantity


def test_every_event_counts_once_though_the_server_is_killed_under_way(
    acme: Organization, platform: Platform, client: Client
) -> None:
    for life in range(3):
        for number in range(2_000):
            client.usage.track("api.request", organization="acme", id=f"{life}-{number}")
            if number == 1_000:
                platform.kill()
                platform.start()
    assert client.usage.flush(120)
    counts = client.usage.counts
    assert counts.accepted + counts.duplicate == 6_000
    assert (counts.rejected, counts.dropped) == (0, 0)
    assert today(acme) == 6_000


def test_a_killed_application_sends_the_same_again_and_it_counts_once(
    acme: Organization, platform: Platform, tmp_path: Path
) -> None:
    code = """
        one = countinghouse.Client(api_key=sys.argv[2], base_url=sys.argv[1],
            usage=countinghouse.UsageOptions(spool=sys.argv[3], batch_size=100, interval=0.01))
        for number in range(1500):
            one.usage.track("api.request", id=f"e-{number}")
        while one.usage.counts.accepted < 300:
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)
        """
    key = worlds.make_key(acme)
    programs.run(code, platform.address, key, tmp_path, status=-signal.SIGKILL)
    with Client(
        api_key=key, base_url=platform.address, usage=UsageOptions(spool=tmp_path)
    ) as later:
        assert later.usage.flush(60)
        assert later.usage.counts.duplicate >= 300
    assert today(acme) == 1_500


def test_what_the_platform_refuses_is_reported_and_the_rest_counts(
    acme: Organization, platform: Platform
) -> None:
    reported: list[Rejected] = []
    options = UsageOptions(interval=5, on_rejected=reported.append)
    with Client(
        api_key=worlds.make_key(None), base_url=platform.address, timeout=30, usage=options
    ) as client:
        track = client.usage.track
        track("api.request", organization="acme", id="good")
        track("api.request", organization="nobody", id="lost")
        track("no.such.type", organization="acme", id="unmetered")
        track("api.request", organization="acme", id="free", data={"billable": False})
        track(
            "api.request",
            organization="acme",
            id="ancient",
            time=clock.now() - timedelta(days=90),
        )
        assert client.usage.flush(30)
    assert {one.event["id"]: one.code for one in reported} == {
        "lost": "unknown_subject",
        "unmetered": "unknown_type",
        "ancient": "too_old",
    }
    assert today(acme) == 1
