"""Programs that end, refuse to end and leave children behind, and the one who looks after them."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from apps.backoffice.supervisor import Program, ProgramFailed, Supervisor

ROOT = Path(__file__).resolve().parents[2]
# Ignores SIGTERM, and so does its child.
STUBBORN = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork():
    print("ready", flush=True)
time.sleep(60)
"""
PARENT = """
import sys, time
from pathlib import Path
from apps.backoffice.supervisor import Program, Supervisor
programs = [Program("sleeper", [sys.executable, "-c", "import time; time.sleep(60)", sys.argv[1]])]
with Supervisor(programs, logs=Path(sys.argv[1]), environment={}, terminal=sys.stdout):
    print("started", flush=True)
    time.sleep(60)
"""


def python(
    name: str, code: str, mark: Path, *, tries: int | None = None, once: bool = False
) -> Program:
    return Program(name, [sys.executable, "-c", code, str(mark)], tries=tries, once=once)


def supervisor(logs: Path, *programs: Program) -> tuple[Supervisor, io.StringIO]:
    terminal = io.StringIO()
    return Supervisor(programs, logs=logs, environment=os.environ, terminal=terminal), terminal


def marked(mark: Path) -> list[str]:
    """Return the living processes whose command line names `mark`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().decode()
        except OSError:
            continue
        if str(mark) in command and int(process.name) != os.getpid():
            found.append(command.replace("\0", " "))
    return found


def within(seconds: float, condition: Callable[[], bool]) -> bool:
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if condition():
            return True
        time.sleep(0.05)
    return False


def test_output_goes_to_the_terminal_and_to_a_log(tmp_path: Path) -> None:
    talker = python("talker", "import time; print('grüezi'); time.sleep(60)", tmp_path)
    everything, terminal = supervisor(tmp_path, talker)
    with everything:
        assert everything.watch(until=lambda: "grüezi" in terminal.getvalue())
    assert terminal.getvalue() == "talker | grüezi\n"
    assert (tmp_path / "talker.log").read_text() == "grüezi\n"


def test_a_program_that_ends_is_started_again(tmp_path: Path) -> None:
    everything, terminal = supervisor(tmp_path, python("brief", "print('here')", tmp_path))
    with everything:
        assert everything.watch(until=lambda: terminal.getvalue().count("here") == 2)
    assert "brief ended with code 0; starting it again in 1 s." in terminal.getvalue()


def test_what_is_done_once_is_not_started_again(tmp_path: Path) -> None:
    single = python("single", "print('done'); raise SystemExit(3)", tmp_path, once=True)
    brief = python("brief", "print('again')", tmp_path)
    everything, terminal = supervisor(tmp_path, single, brief)
    with everything:
        assert everything.watch(until=lambda: terminal.getvalue().count("| again") == 2)
    assert terminal.getvalue().count("| done") == 1
    assert "single ended" not in terminal.getvalue()


def test_a_program_out_of_tries_stops_the_others(tmp_path: Path) -> None:
    web = python("web", "raise SystemExit(3)", tmp_path, tries=2)
    other = python("other", "import time; time.sleep(60)", tmp_path)
    everything, _ = supervisor(tmp_path, web, other)
    with pytest.raises(ProgramFailed, match="web failed 2 times"), everything:
        everything.watch()
    assert marked(tmp_path) == []


def test_whoever_does_not_listen_is_killed_with_all_children(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apps.backoffice.supervisor.TERMINATE_SECONDS", 0.5)
    everything, terminal = supervisor(tmp_path, python("stubborn", STUBBORN, tmp_path))
    with everything:
        assert everything.watch(until=lambda: "ready" in terminal.getvalue())
        assert len(marked(tmp_path)) == 2
    assert marked(tmp_path) == []


def test_a_second_signal_waits_for_nobody(tmp_path: Path) -> None:
    everything, terminal = supervisor(tmp_path, python("stubborn", STUBBORN, tmp_path))
    begun = time.monotonic()
    with everything.listening_to_signals(), everything:
        assert everything.watch(until=lambda: "ready" in terminal.getvalue())
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        assert everything.watch() is False
    assert time.monotonic() - begun < 4
    assert marked(tmp_path) == []


def test_programs_end_when_the_supervisor_is_killed(tmp_path: Path) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdout.readline() == "started\n"
    assert within(5, lambda: len(marked(tmp_path)) == 2)
    parent.kill()
    parent.communicate()
    assert within(5, lambda: marked(tmp_path) == [])
