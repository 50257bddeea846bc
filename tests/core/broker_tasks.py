"""A Celery application of its own for test_broker: it writes what it did into a file."""

from __future__ import annotations

import os
import time
from pathlib import Path

from celery import Celery

from apps.core import broker

URL = os.environ["TEST_BROKER_URL"]
app = Celery("broker_tasks", broker=URL)
app.conf.update(
    broker_transport_options=broker.transport_options(URL) | {"visibility_timeout": 2},
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_enable_remote_control=False,
    beat_schedule={"tick": {"task": "tick", "schedule": 0.5}},
)


def note(text: str) -> None:
    with Path(os.environ["TEST_NOTES"]).open("a", encoding="utf-8") as notes:
        notes.write(f"{text}\n")


@app.task(name="tick")
def tick() -> None:
    note("tick")


@app.task(name="slow")
def slow() -> None:
    note("begun")
    time.sleep(1)
    note("done")
