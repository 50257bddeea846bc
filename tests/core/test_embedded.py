"""The embedded server: shared by processes that start, stop and die as they like."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo

from apps.core import cluster, embedded, roles
from tests.places import place

ROOT = Path(__file__).resolve().parents[2]
# Opens the database, says so, and keeps it until its standard input ends.
USER = """
import sys
from pathlib import Path
from apps.core import embedded
with embedded.database(Path(sys.argv[1])) as urls:
    print(urls.app, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server() -> Iterator[embedded.Urls]:
    with place() as path, embedded.database(path) as urls:
        yield urls


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    with place() as path:
        yield path


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "place"
    assert eventually_alone(tmp_path / "place"), processes_of(tmp_path / "place")


def user_of(data_dir: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", USER, str(data_dir)],
        cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


def url_seen_by(user: subprocess.Popen[str]) -> str:
    assert user.stdout is not None
    return user.stdout.readline().strip()


def leave(user: subprocess.Popen[str]) -> None:
    user.communicate("", timeout=20)
    assert user.returncode == 0


def kill(user: subprocess.Popen[str]) -> None:
    user.send_signal(signal.SIGKILL)
    user.communicate(timeout=20)


def processes_of(data_dir: Path) -> list[str]:
    """Return the command lines of living processes that name the directory or work in it."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            place = str((process / "cwd").readlink())
        except OSError:
            continue
        if command and (str(data_dir) in command or place.startswith(str(data_dir))):
            found.append(f"{process.name} {command}")
    return found


def eventually_alone(data_dir: Path) -> bool:
    give_up = time.monotonic() + 10
    while processes_of(data_dir):
        if time.monotonic() > give_up:
            return False
        time.sleep(0.05)
    return True


def answers(url: str) -> bool:
    with closing(psycopg.connect(url)) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)


def test_the_last_user_stops_the_server_before_it_ends(data_dir: Path) -> None:
    with embedded.database(data_dir) as urls:
        assert answers(urls.app)
        assert processes_of(data_dir)
    assert processes_of(data_dir) == []


def test_a_command_that_ends_leaves_the_server_to_those_who_came_meanwhile(data_dir: Path) -> None:
    first = user_of(data_dir)
    url = url_seen_by(first)
    with embedded.database(data_dir):
        leave(first)
        assert answers(url)
    assert processes_of(data_dir) == []


def test_a_guest_leaves_the_server_running(data_dir: Path) -> None:
    with embedded.database(data_dir) as urls:
        guest = user_of(data_dir)
        url_seen_by(guest)
        leave(guest)
        assert answers(urls.app)


def test_a_killed_guest_does_not_take_the_server_along(data_dir: Path) -> None:
    with embedded.database(data_dir) as urls:
        guest = user_of(data_dir)
        url_seen_by(guest)
        kill(guest)
        time.sleep(0.3)
        assert answers(urls.app)


def test_a_killed_command_leaves_no_server_behind(data_dir: Path) -> None:
    user = user_of(data_dir)
    url_seen_by(user)
    kill(user)
    assert eventually_alone(data_dir)
    with embedded.database(data_dir) as urls:
        assert answers(urls.app)


def test_a_killed_command_does_not_stop_the_one_that_follows_at_once(data_dir: Path) -> None:
    for _ in range(5):
        user = user_of(data_dir)
        url_seen_by(user)
        kill(user)
        with embedded.database(data_dir) as urls:
            assert answers(urls.app)
            time.sleep(0.1)
            assert answers(urls.app)


def test_commands_that_start_at_once_share_one_server(data_dir: Path) -> None:
    users = [user_of(data_dir) for _ in range(4)]
    urls = {url_seen_by(user) for user in users}
    assert len(urls) == 1
    assert answers(urls.pop())
    for user in users:
        leave(user)


def test_a_killed_server_starts_again(data_dir: Path) -> None:
    with embedded.database(data_dir):
        pid = int((data_dir / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        os.kill(pid, signal.SIGKILL)
    with embedded.database(data_dir) as urls:
        assert answers(urls.app)


def test_a_pid_that_somebody_else_has_by_now_is_no_server(data_dir: Path) -> None:
    with embedded.database(data_dir):
        pid_file = data_dir / "postgres" / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]) + "\n")
    with embedded.database(data_dir) as urls:
        assert answers(urls.app)


def test_a_long_path_with_spaces_works(tmp_path: Path) -> None:
    data_dir = tmp_path / "a directory" / ("long" * 40)
    with embedded.database(data_dir) as urls:
        assert answers(urls.app)
        socket_dir = Path(str(conninfo.conninfo_to_dict(urls.app)["host"]))
        assert socket_dir.stat().st_mode & 0o077 == 0
    assert not socket_dir.exists()


def test_another_version_of_the_data_is_refused_in_words(data_dir: Path) -> None:
    (data_dir / "postgres").mkdir(parents=True)
    (data_dir / "postgres" / "PG_VERSION").write_text("16\n")
    with pytest.raises(cluster.ClusterError, match="made by PostgreSQL 16"):
        embedded.database(data_dir).__enter__()


def test_the_run_time_login_is_bound_by_row_level_security(server: embedded.Urls) -> None:
    with closing(psycopg.connect(server.admin)) as connection:
        rows = connection.execute(
            "SELECT rolname, rolsuper OR rolcreatedb OR rolcreaterole, rolbypassrls, rolcanlogin,"
            " pg_has_role('billing_app', oid, 'USAGE') FROM pg_roles"
            " WHERE rolname LIKE 'billing%' ORDER BY rolname"
        ).fetchall()
    assert rows == [
        ("billing_app", False, False, True, True),
        ("billing_backup", False, True, True, False),
        ("billing_ops", False, False, False, False),
        ("billing_owner", False, False, True, False),
    ]


def test_a_table_of_the_owner_is_written_by_the_app_and_read_by_the_backup(
    server: embedded.Urls,
) -> None:
    with psycopg.connect(server.owner) as owner:
        owner.execute("CREATE TABLE thing (id bigserial, name text)")
    with psycopg.connect(server.app) as app:
        app.execute("INSERT INTO thing (name) VALUES ('one')")
        app.execute("SET LOCAL ROLE billing_ops")
        app.execute("UPDATE thing SET name = 'two'")
    with closing(psycopg.connect(conninfo.make_conninfo(server.app, user=roles.BACKUP))) as backup:
        assert backup.execute("SELECT name FROM thing").fetchone() == ("two",)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            backup.execute("DELETE FROM thing")


@pytest.mark.parametrize(
    "statement",
    [
        "CREATE TABLE mine (id int)",
        "CREATE SCHEMA mine",
        "SET ROLE billing_owner",
        "SET ROLE postgres",
    ],
)
def test_the_run_time_login_cannot(server: embedded.Urls, statement: str) -> None:
    with (
        closing(psycopg.connect(server.app)) as app,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        app.execute(statement.encode())


def test_preparing_again_changes_no_grant_and_keeps_queued_messages(server: embedded.Urls) -> None:
    with psycopg.connect(server.owner) as owner:
        owner.execute("CREATE TABLE sealed (id int)")
        owner.execute("REVOKE UPDATE, DELETE ON sealed FROM billing_app")
    with psycopg.connect(server.app) as app:
        app.execute("SELECT pgmq.create('kept'), pgmq.send('kept', '{}')")
    roles.prepare(server.admin, embedded.DATABASE)
    with closing(psycopg.connect(server.app)) as app:
        assert app.execute("SELECT count(*) FROM pgmq.q_kept").fetchone() == (1,)
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("DELETE FROM sealed")


def test_drifted_roles_are_put_right(server: embedded.Urls) -> None:
    with psycopg.connect(server.admin, autocommit=True) as admin:
        admin.execute("ALTER ROLE billing_app BYPASSRLS CREATEDB")
        roles.prepare(server.admin, embedded.DATABASE)
        found = admin.execute(
            "SELECT rolbypassrls, rolcreatedb FROM pg_roles WHERE rolname = 'billing_app'"
        ).fetchone()
    assert found == (False, False)


def test_passwords_are_stored_as_verifiers(server: embedded.Urls) -> None:
    roles.prepare(server.admin, embedded.DATABASE, roles.Passwords(app="it's a \\ secret"))
    with closing(psycopg.connect(server.admin)) as admin:
        stored = admin.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = 'billing_app'"
        ).fetchone()
    assert stored is not None
    assert stored[0].startswith("SCRAM-SHA-256$")


def test_a_copy_has_the_rows_and_rights_of_its_template(server: embedded.Urls) -> None:
    embedded.create_database(server.admin, "first")
    with psycopg.connect(conninfo.make_conninfo(server.owner, dbname="first")) as owner:
        owner.execute("CREATE TABLE counted AS SELECT 7 AS n")
    embedded.create_database(server.admin, "second", template="first")
    with closing(psycopg.connect(conninfo.make_conninfo(server.app, dbname="second"))) as app:
        assert app.execute("SELECT n FROM counted").fetchone() == (7,)
        assert app.execute("SELECT count(*) FROM pgmq.meta").fetchone() == (0,)
    embedded.drop_database(server.admin, "second")
    embedded.drop_database(server.admin, "first")
    embedded.drop_database(server.admin, "first")
