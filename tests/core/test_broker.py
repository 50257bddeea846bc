"""PostgreSQL as the broker: real worker and scheduler, connected as the run-time login."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from kombu.utils.url import parse_url
from pgmq.base import PGMQConfig
from psycopg import conninfo

from apps.core import broker, embedded
from tests.places import place

ROOT = Path(__file__).resolve().parents[2]
WORKER = ("worker", "-c1", "--without-gossip", "--without-mingle", "--without-heartbeat")


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with place() as path:
        yield path


@pytest.fixture
def environment(tmp_path: Path) -> Iterator[dict[str, str]]:
    with embedded.database(tmp_path) as urls:
        yield os.environ | {
            "TEST_BROKER_URL": broker.broker_url(urls.app),
            "TEST_NOTES": str(tmp_path / "notes"),
            # The client library would rather follow this one.
            "DATABASE_URL": "postgresql://nobody@nowhere.invalid/nothing",
        }


@contextmanager
def celery(environment: dict[str, str], *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "celery", "-A", "tests.core.broker_tasks", *arguments],
        cwd=ROOT, env=environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def send(environment: dict[str, str], task: str) -> None:
    subprocess.run(
        [sys.executable, "-m", "celery", "-A", "tests.core.broker_tasks", "call", task],
        cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL,
    )  # fmt: skip


def notes(environment: dict[str, str]) -> list[str]:
    path = Path(environment["TEST_NOTES"])
    return path.read_text().splitlines() if path.exists() else []


def until(condition: Callable[[], bool], seconds: float = 15) -> bool:
    give_up = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def test_a_task_of_a_killed_worker_is_done_by_the_next_one(environment: dict[str, str]) -> None:
    send(environment, "slow")
    with celery(environment, *WORKER) as worker:
        assert until(lambda: notes(environment) == ["begun"])
        os.killpg(worker.pid, signal.SIGKILL)
    with celery(environment, *WORKER) as worker:
        assert until(lambda: notes(environment) == ["begun", "begun", "done"]), notes(environment)
        worker.terminate()
        assert worker.wait(timeout=10) == 0
    options = broker.transport_options(environment["TEST_BROKER_URL"])
    with psycopg.connect(options["conn_string"]) as connection:
        assert connection.execute("SELECT count(*) FROM pgmq.q_celery").fetchone() == (0,)
        assert connection.execute("SELECT queue_name FROM pgmq.meta").fetchall() == [("celery",)]


def test_the_scheduler_has_tasks_done(environment: dict[str, str], tmp_path: Path) -> None:
    with (
        celery(environment, *WORKER),
        celery(environment, "beat", "--schedule", str(tmp_path / "schedule")) as scheduler,
    ):
        assert until(lambda: notes(environment)[:2] == ["tick", "tick"])
        scheduler.terminate()
        assert scheduler.wait(timeout=10) == 0


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://billing_app@/countinghouse?host=/a%20b/c",
        "postgresql://billing_app:s%40%20'%5C:%2F@db.example:6432/countinghouse?sslmode=require",
    ],
)
def test_the_url_and_the_client_keep_every_part(url: str) -> None:
    parts = conninfo.conninfo_to_dict(url)
    parsed = parse_url(broker.broker_url(url))
    found = PGMQConfig(conn_string=broker.transport_options(url)["conn_string"]).dsn
    assert parsed["transport"] == "pgmq"
    assert (parsed["hostname"], parsed["password"]) == (parts["host"], parts.get("password"))
    assert parts.items() <= conninfo.conninfo_to_dict(found).items()
