"""Run several long-lived programs as one: started together, restarted alone, stopped together.

Each program leads a session of its own, so that Ctrl-C in the terminal reaches the supervisor only
and a whole family can be ended by its group. On Linux the kernel tells the programs when the
supervisor dies without a word.
"""

from __future__ import annotations

import contextlib
import logging
import logging.handlers
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import TextIO

from apps.backoffice import leash

# Together with the database these stay below the ten seconds that a stop may take.
TERMINATE_SECONDS = 4.0
LONGEST_PAUSE = 30.0
# A program that ran this long and then failed starts again as if for the first time.
STEADY_SECONDS = 60.0
COLOURS = ("36", "35", "33", "32")


class ProgramFailed(Exception):
    """A program that the others cannot do without ends again and again."""

    def __init__(self, program: Program, log: Path) -> None:
        super().__init__(f"{program.name} failed {program.tries} times in a row; see {log}")


@dataclass(frozen=True, slots=True)
class Program:
    """A command line to keep running. With `tries`, so many failures in a row stop everything.

    One that is to be done `once` is left alone when it ends, however it ends.
    """

    name: str
    command: Sequence[str]
    tries: int | None = None
    once: bool = False


@dataclass(slots=True)
class _Running:
    """One program's process and how it fared."""

    program: Program
    process: subprocess.Popen[str]
    since: float
    reader: threading.Thread
    failures: int = 0
    due: float | None = field(default=None)
    is_over: bool = False


class Supervisor:
    """Keeps programs running until it is told to stop; for one `with` block, in the main thread.

    Output goes line by line to `terminal`, prefixed with the program's name, and to NAME.log under
    `logs`. On leaving the block every process that was started is gone.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        *,
        logs: Path,
        environment: Mapping[str, str],
        terminal: TextIO,
    ) -> None:
        self._programs = programs
        self._logs = logs
        self._environment = environment
        self._terminal = terminal
        self._running: list[_Running] = []
        self._stopping = threading.Event()
        self._hurry = False

    def __enter__(self) -> Supervisor:
        """Start all programs, without waiting for any."""
        self._logs.mkdir(parents=True, exist_ok=True)
        try:
            for program in self._programs:
                self._running.append(self._start(program))
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        """End all programs: ask, wait, and kill what is left of their families."""
        self._stopping.set()
        for one in self._running:
            _signal(one.process, signal.SIGTERM)
        give_up = time.monotonic() + TERMINATE_SECONDS
        while any(one.process.poll() is None for one in self._running):
            if self._hurry or time.monotonic() > give_up:
                break
            time.sleep(0.05)
        # What was over long ago is nobody's family any more: its number may be another's by now.
        for one in (one for one in self._running if not one.is_over):
            _kill_family(one.process)
            one.process.wait()
            one.reader.join(timeout=1)

    @contextlib.contextmanager
    def listening_to_signals(self) -> Iterator[None]:
        """Stop on SIGINT, SIGTERM or SIGHUP; the second one does not wait for anybody."""
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        before = {number: signal.signal(number, self._on_signal) for number in signals}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._hurry = self._stopping.is_set()
        self._stopping.set()

    def watch(self, until: Callable[[], bool] = lambda: False) -> bool:
        """Keep the programs running; return True once `until` holds, False once told to stop.

        Raises ProgramFailed when a program has used up its tries.
        """
        while not self._stopping.is_set():
            if until():
                return True
            for position, one in enumerate(self._running):
                self._running[position] = self._looked_after(one)
            self._stopping.wait(0.2)
        return False

    def say(self, text: str) -> None:
        """Write a line of our own to the terminal."""
        self._terminal.write(f"{text}\n")
        self._terminal.flush()

    def _looked_after(self, one: _Running) -> _Running:
        code = one.process.poll()
        if code is None or one.is_over:
            return one
        if one.program.once:
            _kill_family(one.process)
            one.is_over = True
            return one
        if one.due is None:
            return self._put_off(one, code)
        if time.monotonic() < one.due:
            return one
        again = self._start(one.program)
        again.failures = one.failures
        return again

    def _put_off(self, one: _Running, code: int) -> _Running:
        _kill_family(one.process)
        steady = time.monotonic() - one.since > STEADY_SECONDS
        one.failures = 1 if steady else one.failures + 1
        if one.program.tries is not None and one.failures >= one.program.tries:
            raise ProgramFailed(one.program, self._log_path(one.program))
        pause = min(2.0 ** (one.failures - 1), LONGEST_PAUSE)
        one.due = time.monotonic() + pause
        self.say(f"{one.program.name} ended with code {code}; starting it again in {pause:.0f} s.")
        return one

    def _start(self, program: Program) -> _Running:
        process = subprocess.Popen(  # noqa: S603 - our own command lines
            [sys.executable, "-I", "-S", leash.__file__, str(os.getpid()), *program.command],
            env={**self._environment, "PYTHONUNBUFFERED": "1"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
        )
        reader = threading.Thread(target=self._copy_output, args=(program, process), daemon=True)
        reader.start()
        return _Running(program, process, time.monotonic(), reader)

    def _copy_output(self, program: Program, process: subprocess.Popen[str]) -> None:
        log = logging.handlers.RotatingFileHandler(
            self._log_path(program), maxBytes=10_000_000, backupCount=2, encoding="utf-8"
        )
        prefix = self._prefix(program)
        with contextlib.closing(log):
            for line in process.stdout or ():
                log.emit(logging.makeLogRecord({"msg": line.rstrip("\n")}))
                self.say(prefix + line.rstrip("\n"))

    def _prefix(self, program: Program) -> str:
        width = max(len(each.name) for each in self._programs)
        label = f"{program.name:<{width}} | "
        if not self._terminal.isatty() or os.environ.get("NO_COLOR"):
            return label
        colour = COLOURS[list(self._programs).index(program) % len(COLOURS)]
        return f"\x1b[{colour}m{label}\x1b[0m"

    def _log_path(self, program: Program) -> Path:
        return self._logs / f"{program.name}.log"


def _signal(process: subprocess.Popen[str], number: signal.Signals) -> None:
    """Signal the program itself: it knows how to end its own children in order."""
    if process.poll() is None:
        process.send_signal(number)


def _kill_family(process: subprocess.Popen[str]) -> None:
    """Kill whatever is left of the program's session, children of children too."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
