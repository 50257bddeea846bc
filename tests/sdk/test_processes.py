"""Processes that exit, fork and are killed: what the queue and the spool promise."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import countinghouse
from tests.sdk import programs
from tests.sdk.server import Reply, Seen, Server, serving


@pytest.fixture
def nobody() -> str:
    """An address where nobody listens."""
    with serving() as gone:
        return gone.address


def spooled(directory: Path) -> list[Path]:
    return sorted(directory.iterdir())


def test_a_program_that_ends_sends_what_waits(server: Server) -> None:
    programs.run('client(interval=60).usage.track("call", id="a")', server.address)
    assert server.ids == ["a"]


def test_a_program_that_fails_sends_what_waits(server: Server) -> None:
    code = """
        client(interval=60).usage.track("call", id="a")
        raise RuntimeError
        """
    programs.run(code, server.address, status=1)
    assert server.ids == ["a"]


def test_a_program_that_is_told_to_stop_sends_what_waits_when_it_exits_by_itself(
    server: Server,
) -> None:
    code = """
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        client(interval=60).usage.track("call", id="a")
        os.kill(os.getpid(), signal.SIGTERM)
        """
    programs.run(code, server.address)
    assert server.ids == ["a"]


def test_an_unreachable_platform_holds_up_an_exit_for_seconds_only(nobody: str) -> None:
    programs.run('client().usage.track("call")', nobody)


def test_a_fork_sends_its_own_events_and_not_its_parents(server: Server) -> None:
    code = """
        one = client(interval=60)
        one.usage.track("call", id="parent-1")
        child = os.fork()
        one.usage.track("call", id="parent-2" if child else "child-1")
        if child:
            assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        """
    programs.run(code, server.address)
    assert sorted(server.ids) == ["child-1", "parent-1", "parent-2"]


def test_a_fork_in_the_middle_of_sending_sends_nothing_twice(server: Server) -> None:
    code = """
        one = client(batch_size=10)
        for number in range(200):
            one.usage.track("call", id=f"before-{number}")
        children = []
        for child in range(4):
            pid = os.fork()
            if not pid:
                for number in range(100):
                    one.usage.track("call", id=f"child-{child}-{number}")
                sys.exit(0)
            children.append(pid)
        for pid in children:
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        """
    programs.run(code, server.address)
    assert len(server.ids) == len(set(server.ids)) == 600


def test_what_a_killed_process_tracked_is_sent_by_the_next(nobody: str, tmp_path: Path) -> None:
    code = """
        one = client(spool=sys.argv[2])
        for number in range(1000):
            one.usage.track("call", id=f"e-{number}")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    programs.run(code, nobody, tmp_path, status=-signal.SIGKILL)
    with serving() as server:
        programs.run("assert client(spool=sys.argv[2]).usage.flush()", server.address, tmp_path)
        assert server.ids == [f"e-{number}" for number in range(1000)]
    assert spooled(tmp_path) == []


def test_killed_at_any_moment_nothing_that_was_tracked_is_lost(
    server: Server, tmp_path: Path
) -> None:
    code = """
        one = client(spool=sys.argv[2], batch_size=50)
        for number in range(100_000):
            one.usage.track("call", id=f"{sys.argv[3]}-{number}")
            os.write(1, b"%d\\n" % number)
        """
    promised: set[str] = set()
    for life, lines in enumerate([1, 60, 400, 1500]):
        program = programs.start(code, server.address, tmp_path, life)
        assert program.stdout is not None
        printed = [program.stdout.readline() for _ in range(lines)]
        program.kill()
        rest, _ = program.communicate()
        heard = [*printed, *rest.splitlines(keepends=True)]
        promised |= {f"{life}-{int(line)}" for line in heard if line.endswith("\n")}
    programs.run("assert client(spool=sys.argv[2]).usage.flush(60)", server.address, tmp_path)
    assert len(promised) >= 1961
    assert promised <= set(server.ids)
    assert spooled(tmp_path) == []


def test_a_living_process_keeps_its_spool_to_itself(server: Server, tmp_path: Path) -> None:
    code = """
        one = client(spool=sys.argv[2], interval=60)
        one.usage.track("call", id="mine")
        print("ready", flush=True)
        sys.stdin.read()
        """
    owner = subprocess.Popen(
        [sys.executable, "-c", programs.CLIENT + code.replace("\n        ", "\n"),
         server.address, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(programs.PACKAGE)},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert owner.stdout is not None
    assert owner.stdout.readline() == "ready\n"
    with server.client(spool=tmp_path) as other:
        other.usage.track("call", id="other")
        assert other.usage.flush()
    assert server.ids == ["other"]
    owner.communicate("")
    assert server.ids == ["other", "mine"]
    assert spooled(tmp_path) == []


def test_a_fork_writes_a_spool_of_its_own(server: Server, tmp_path: Path) -> None:
    code = """
        one = client(spool=sys.argv[2], interval=60)
        one.usage.track("call", id="parent")
        child = os.fork()
        if not child:
            one.usage.track("call", id="child")
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        """
    programs.run(code, server.address, tmp_path)
    assert server.ids == ["parent"]
    with server.client(spool=tmp_path) as next_one:
        assert next_one.usage.flush()
    assert server.ids == ["parent", "child"]


def test_an_outage_fills_the_spool_and_not_the_trash(nobody: str, tmp_path: Path) -> None:
    with serving() as gone:
        client = gone.client(spool=tmp_path)
    for number in range(10):
        client.usage.track("call", id=f"e-{number}")
    assert not client.close(timeout=0.1)
    assert client.usage.counts.dropped == 0
    with serving() as server, server.client(spool=tmp_path) as later:
        assert later.usage.flush()
        assert later.usage.counts.accepted == later.usage.counts.tracked == 10
        assert server.ids == [f"e-{number}" for number in range(10)]


def test_a_sent_event_leaves_no_file_behind(server: Server, tmp_path: Path) -> None:
    with server.client(spool=tmp_path) as client:
        for number in range(3):
            client.usage.track("call", id=f"e-{number}")
            assert client.usage.flush()
            assert [path.stat().st_size for path in spooled(tmp_path)] == [0]
    assert spooled(tmp_path) == []


def test_a_full_spool_forgets_the_oldest(server: Server, tmp_path: Path) -> None:
    with server.client(spool=tmp_path, max_waiting=3, interval=60) as client:
        for number in range(5):
            client.usage.track("call", id=f"e-{number}")
        assert client.usage.counts.dropped == 2
        assert client.usage.flush()
    assert server.ids == ["e-2", "e-3", "e-4"]


def test_what_was_found_in_the_spool_is_not_forgotten_for_what_is_new(
    nobody: str, tmp_path: Path
) -> None:
    code = """
        one = client(spool=sys.argv[2])
        for number in range(5):
            one.usage.track("call", id=f"old-{number}")
        os.kill(os.getpid(), signal.SIGKILL)
        """
    programs.run(code, nobody, tmp_path, status=-signal.SIGKILL)
    with serving() as server, server.client(spool=tmp_path, max_waiting=2, interval=60) as client:
        client.usage.track("call", id="new")
        assert client.usage.flush()
        assert server.ids == [*(f"old-{number}" for number in range(5)), "new"]
        assert client.usage.counts.dropped == 0


def test_a_spool_that_somebody_tidied_up_stops_nothing(server: Server, tmp_path: Path) -> None:
    with server.client(spool=tmp_path, interval=60) as client:
        client.usage.track("call", id="a")
        for path in spooled(tmp_path):
            path.unlink()
        assert client.usage.flush()
        client.usage.track("call", id="b")
        assert client.usage.flush()
    assert server.ids == ["a", "b"]


def test_an_event_tracked_while_another_is_on_its_way_stays(server: Server, tmp_path: Path) -> None:
    def track_more(seen: Seen) -> Reply:
        client.usage.track("call", id="b")
        return Reply()

    server.replies = [track_more]
    with server.client(spool=tmp_path) as client:
        client.usage.track("call", id="a")
        assert client.usage.flush()
        assert client.usage.flush()
    assert server.ids == ["a", "b"]
    assert spooled(tmp_path) == []


def cut(content: bytes) -> bytes:
    return content[:-20]


def zeroed(content: bytes) -> bytes:
    return content + b"\0" * 4096 + b"\n"


@pytest.mark.parametrize(("damage", "arrives"), [(cut, ["a"]), (zeroed, ["a", "b"])])
def test_a_damaged_spool_gives_what_is_whole(
    tmp_path: Path, damage: Callable[[bytes], bytes], arrives: list[str]
) -> None:
    leave(tmp_path, damage)
    with serving() as server, server.client(spool=tmp_path) as client:
        assert client.usage.flush()
        assert server.ids == arrives
    assert spooled(tmp_path) == []


def leave(directory: Path, damage: Callable[[bytes], bytes]) -> None:
    """Leave two events in a spool, damaged."""
    with serving() as gone:
        client = gone.client(spool=directory)
    client.usage.track("call", id="a")
    client.usage.track("call", id="b")
    client.close(timeout=0)
    (path,) = spooled(directory)
    path.write_bytes(damage(path.read_bytes()))


def test_a_spool_that_cannot_be_written_says_so(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    client = server.client(spool=tmp_path / "file")
    with pytest.raises(countinghouse.SpoolFailed):
        client.usage.track("call")
