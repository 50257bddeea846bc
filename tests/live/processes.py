"""A web server and a live process, as `up` starts them, on the database of the environment."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from socket import socket

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60


class Servers:
    """Both programs, each on a port of its own of this machine."""

    def __init__(self) -> None:
        self._web_port, self._live_port = _free_port(), _free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}

    @property
    def web(self) -> str:
        return f"http://localhost:{self._web_port}"

    @property
    def live(self) -> str:
        return f"http://localhost:{self._live_port}"

    def start_web(self) -> None:
        self._start("web", self._web_port, "--interface", "wsgi", "--no-ws",
                    "--blocking-threads", "4", "billing_project.wsgi:application")  # fmt: skip

    def start_live(self) -> None:
        self._start("live", self._live_port, "--interface", "asginl",
                    "billing_project.asgi:application")  # fmt: skip

    def kill_live(self) -> None:
        """Kill -9: nobody says goodbye."""
        self._kill("live")

    def stop(self) -> None:
        for name in list(self._processes):
            self._kill(name)

    def _start(self, name: str, port: int, *arguments: str) -> None:
        ports = {"PORT": str(self._web_port), "LIVE_PORT": str(self._live_port)}
        self._processes[name] = subprocess.Popen(
            [sys.executable, "-m", "granian", "--host", "127.0.0.1", "--port", str(port),
             "--workers", "1", *arguments],
            cwd=ROOT,
            env={**os.environ, **ports},
            start_new_session=True,
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        give_up = time.monotonic() + START_SECONDS
        while not _answers(port):
            assert self._processes[name].poll() is None, f"{name} ended"
            assert time.monotonic() < give_up, f"{name} did not start"
            time.sleep(0.05)

    def _kill(self, name: str) -> None:
        process = self._processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextlib.contextmanager
def servers() -> Iterator[Servers]:
    """Run both for as long as the context lasts."""
    found = Servers()
    try:
        found.start_web()
        found.start_live()
        yield found
    finally:
        found.stop()


def _answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def _free_port() -> int:
    with closing(socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
