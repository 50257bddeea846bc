"""`manage.py up`, for real: an empty directory, a free port, and nothing left afterwards."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.places import place

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 120


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with place() as path:
        yield path


def free_port() -> int:
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def up(data_dir: Path, port: int, output: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `manage.py up --no-demo` on an embedded database of its own."""
    inherited = ("DATABASE_URL", "DATABASE_OWNER_URL", "DATABASE_EMBEDDED", "ENVIRONMENT")
    environment = {name: value for name, value in os.environ.items() if name not in inherited}
    environment |= {"DATA_DIR": str(data_dir), "PORT": str(port), "LIVE_PORT": str(free_port())}
    environment["SANDBOX_PORT"] = str(free_port())
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "manage.py", "up", "--no-demo"],
            cwd=ROOT,
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def answers(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def family(data_dir: Path) -> list[str]:
    """Return the command lines of living processes that belong to this directory.

    By command line, by working directory (PostgreSQL's own) or by environment (all children).
    """
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if int(process.name) == os.getpid():
            continue
        try:
            command = (process / "cmdline").read_bytes()
            traces = command + (process / "environ").read_bytes()
            traces += os.fsencode((process / "cwd").readlink())
        except OSError:
            continue
        if command and os.fsencode(data_dir) in traces:
            found.append(command.replace(b"\0", b" ").decode())
    return found


def wait_for(
    condition: Callable[[], bool], seconds: float, process: subprocess.Popen[bytes]
) -> None:
    """Wait until `condition()` holds; fail at once when the process ends before."""
    give_up = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, "it ended"
        assert time.monotonic() < give_up, "it took too long"
        time.sleep(0.1)


def test_it_serves_refuses_a_second_one_and_stops_without_a_trace(tmp_path: Path) -> None:
    data_dir, port, output = tmp_path / "data", free_port(), tmp_path / "output"
    with up(data_dir, port, output) as process:
        wait_for(lambda: b"is running" in output.read_bytes(), START_SECONDS, process)
        assert answers(port)
        assert any("celery" in command for command in family(data_dir))

        with up(data_dir, free_port(), tmp_path / "second") as second:
            assert second.wait(timeout=60) == 1
        assert f"already served: http://localhost:{port}" in (tmp_path / "second").read_text()

        with up(tmp_path / "elsewhere", port, tmp_path / "third") as third:
            assert third.wait(timeout=60) == 1
        assert f"Port {port} on 127.0.0.1 cannot be used" in (tmp_path / "third").read_text()

        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=20) == 0
        assert time.monotonic() - begun < 10
    assert family(data_dir) == []
    text = output.read_text()
    assert "Traceback" not in text, text


def test_killed_it_takes_everything_along_and_starts_again(tmp_path: Path) -> None:
    data_dir, port, output = tmp_path / "data", free_port(), tmp_path / "output"
    with up(data_dir, port, output) as process:
        wait_for(lambda: answers(port), START_SECONDS, process)
        process.kill()
        process.wait()
    give_up = time.monotonic() + 15
    while family(data_dir) and time.monotonic() < give_up:
        time.sleep(0.1)
    assert family(data_dir) == []
    with up(data_dir, port, output) as process:
        wait_for(lambda: answers(port), START_SECONDS, process)
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
    assert family(data_dir) == []
