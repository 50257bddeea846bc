"""The programs that are killed: the web server as `up` starts it, and the worker that rolls up.

They run in processes forked from one that has Django loaded, so that a killed one is back in a
fraction of the time. When a whole web server is gone another one is started, as `up` does.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import random
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

from django.conf import settings
from django.db import InterfaceError, OperationalError, connections
from granian.cli import cli as granian

from apps.backoffice.management.commands import up
from apps.usage import tasks
from tests.prove import processes
from tests.prove.ingest_clients import HOST

POINT = "usage.rolled_up"
PAUSE = 0.05
Mutant = Callable[[], None]


class WebServer:
    """The web server: a process that watches over those that serve."""

    def __init__(self, mutant: Mutant | None) -> None:
        self._mutant = mutant
        with socket.socket() as probe:
            probe.bind((HOST, 0))
            self.port = int(probe.getsockname()[1])
        settings.STATIC_ROOT.mkdir(exist_ok=True)  # as `up` does
        importlib.import_module("billing_project.wsgi")  # loaded once for all that are forked
        self._killed: set[int] = set()  # they are listed until their watcher notices
        self._start()

    def _start(self) -> None:
        self._watcher = processes.start(self._serve)

    def _serve(self) -> None:
        if self._mutant is not None:
            self._mutant()
        logging.disable()  # it says that the database went away, as it should
        with contextlib.suppress(SystemExit):
            granian(up.web_server(HOST, self.port)[3:])  # what follows `python -m granian`

    def serving(self) -> list[int]:
        """Return the processes that serve at this moment."""
        pid = self._watcher.pid
        try:
            found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        except FileNotFoundError:
            return []
        return [child for child in map(int, found) if child not in self._killed]

    def kill_one(self, chance: random.Random) -> bool:
        """Kill one of the processes that serve; False when there is none just then."""
        serving = self.serving()
        if not serving:
            return False
        chosen = chance.choice(serving)
        self._killed.add(chosen)
        return _kill(chosen)

    def kill(self) -> bool:
        """Kill the server whole; tell whether it was alive."""
        serving = self.serving()
        died = self._watcher.kill()
        for pid in serving:
            _kill(pid)
        return died

    def mend(self) -> None:
        """Start it again when it is gone: it gives up when its processes die too often."""
        if self._watcher.ended():
            self._start()

    def wait(self) -> None:
        """Wait until it answers."""
        while not up.is_healthy(HOST, self.port):
            self.mend()
            time.sleep(PAUSE)


class RollUp:
    """The worker's task, again and again, in a process of its own."""

    def __init__(self) -> None:
        self._start()

    def _start(self, point: str = "") -> None:
        self._point, self._struck = point, False
        self._worker = processes.start(lambda: _roll_up_for_ever(point))

    def kill(self) -> bool:
        """Kill it; tell whether it was alive."""
        self._struck = self._worker.kill()
        return self._struck

    def mend(self, chance: random.Random) -> bool:
        """Start it again when it is gone; tell whether it died at its fault point.

        Every other one is to die there. Raises RuntimeError when it failed by itself.
        """
        if not self._worker.ended():
            return False
        if self._worker.status != -signal.SIGKILL:
            raise RuntimeError("the roll-up failed by itself; see its traceback")
        struck = self._struck
        self._start("" if self._point else f"{POINT}:{chance.randint(1, 4)}")
        return not struck


def roll_up_all() -> None:
    """Roll up what there is, in this process."""
    while tasks.roll_up():
        pass


def _roll_up_for_ever(point: str) -> None:
    os.environ["FAULT_POINT"] = point
    while True:
        try:
            tasks.roll_up()
        except (OperationalError, InterfaceError):
            connections.close_all()
        time.sleep(PAUSE)


def _kill(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
