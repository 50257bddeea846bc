"""Requests that come at once are served together, and each for itself where one fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connections

from apps.api.errors import Unavailable
from apps.api.gathering import Gathering
from apps.api.intake import SINGLES
from apps.core import clock, rls
from apps.tenants import services as tenants
from apps.tenants.models import ApiKey
from apps.usage.models import Event
from tests import worlds
from tests.api.client import Api
from tests.api.test_events import event
from tests.conftest import STAFF

PATIENCE = 10.0


class Desk:
    """Doubles numbers in groups; holds the first group until it is told to go on."""

    def __init__(self) -> None:
        self.groups: list[list[int]] = []
        self.begun, self.go_on = threading.Event(), threading.Event()

    def work(self, items: Sequence[int]) -> list[int]:
        self.groups.append(sorted(items))
        if len(self.groups) == 1:
            self.begun.set()
            assert self.go_on.wait(PATIENCE)
        if -1 in items:
            raise ValueError("a bad one")
        return [2 * item for item in items]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def waiting(gathering: Gathering[int, int], count: int) -> None:
    for _ in range(1000):
        if sum(map(len, gathering._queues.values())) == count:
            return
        time.sleep(0.01)
    raise AssertionError("they never came")


def test_who_comes_while_one_is_served_is_served_next_and_together(desk: Desk) -> None:
    gathering: Gathering[int, int] = Gathering(patience=PATIENCE)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(gathering.serve, "key", 1, desk.work)
        assert desk.begun.wait(PATIENCE)
        others = [pool.submit(gathering.serve, "key", n, desk.work) for n in (2, 3, 4)]
        waiting(gathering, 3)
        desk.go_on.set()
        assert [first.result(), *(other.result() for other in others)] == [2, 4, 6, 8]
    assert desk.groups == [[1], [2, 3, 4]]
    assert gathering._queues == {}


def test_one_that_fails_fails_alone(desk: Desk) -> None:
    gathering: Gathering[int, int] = Gathering(patience=PATIENCE)
    with ThreadPoolExecutor(5) as pool:
        first = pool.submit(gathering.serve, "key", 1, desk.work)
        assert desk.begun.wait(PATIENCE)
        bad = pool.submit(gathering.serve, "key", -1, desk.work)
        good = pool.submit(gathering.serve, "key", 3, desk.work)
        waiting(gathering, 2)
        desk.go_on.set()
        assert (first.result(), good.result()) == (2, 6)
        with pytest.raises(ValueError, match="a bad one"):
            bad.result()


def test_keys_do_not_wait_for_each_other(desk: Desk) -> None:
    gathering: Gathering[int, int] = Gathering(patience=PATIENCE)
    with ThreadPoolExecutor(2) as pool:
        held = pool.submit(gathering.serve, "acme", 1, desk.work)
        assert desk.begun.wait(PATIENCE)
        assert gathering.serve("globex", 2, desk.work) == 4
        desk.go_on.set()
        assert held.result() == 2


def test_nobody_waits_for_ever(desk: Desk) -> None:
    gathering: Gathering[int, int] = Gathering(patience=0.05)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(gathering.serve, "key", 1, desk.work)
        assert desk.begun.wait(PATIENCE)
        with pytest.raises(Unavailable):
            gathering.serve("key", 2, desk.work)
        desk.go_on.set()
        assert first.result() == 2
    assert desk.groups == [[1]]
    assert gathering.serve("key", 3, desk.work) == 6


@pytest.mark.committed
def test_a_key_that_is_revoked_while_its_event_waits_is_refused(committed_db: str) -> None:
    worlds.load_catalog()
    organization, _ = worlds.make_customer("acme")
    secret = worlds.make_key(organization)
    desk = Desk()
    with ThreadPoolExecutor(2) as pool:
        served: Any = SINGLES  # what it serves is no event here
        held = pool.submit(served.serve, f"Bearer {secret}", 1, desk.work)
        assert desk.begun.wait(PATIENCE)
        sent = pool.submit(Api(secret).post, "events", event())
        waiting(served, 1)
        with rls.tenant_scope(organization.pk):
            tenants.revoke_api_key(ApiKey.objects.get().public_id, actor=STAFF, at=clock.now())
        desk.go_on.set()
        assert (held.result(), sent.result().json()["code"]) == (2, "api_key_revoked")
        pool.submit(connections.close_all).result()
    with rls.tenant_scope(organization.pk):
        assert Event.objects.count() == 0


@pytest.mark.committed
def test_what_many_threads_send_at_once_is_stored_once_each(committed_db: str) -> None:
    worlds.load_catalog()
    organization, _ = worlds.make_customer("acme")
    secret = worlds.make_key(organization)
    now = clock.now().isoformat()

    def send(number: int) -> list[tuple[int, str]]:
        api, found = Api(secret), []
        for turn in range(10):
            bad = {"type": "unheard.of"} if (number + turn) % 5 == 0 else {}
            reply = api.post("events", event(f"{number % 4}-{turn}", time=now, **bad))
            found.append((reply.status_code, reply.json()["events"][0]["status"]))
        connections.close_all()
        return found

    with ThreadPoolExecutor(8) as pool:
        answers = [one for found in pool.map(send, range(8)) for one in found]
    with rls.tenant_scope(organization.pk):
        stored = Event.objects.count()
    assert {status for status, _ in answers} == {200, 400}
    assert answers.count((200, "accepted")) == stored
    assert answers.count((400, "rejected")) == 16
    assert answers.count((200, "accepted")) + answers.count((200, "duplicate")) == 64
