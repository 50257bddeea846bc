"""The embedded database: a PostgreSQL of one's own under DATA_DIR, for an empty environment.

No Django here: `manage.py` starts it before the settings are read.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from apps.core import cluster, roles

DATABASE = "countinghouse"


@dataclass(frozen=True, slots=True)
class Urls:
    """Connection URLs of one database, one per role that logs in.

    `app` is the run-time login, `owner` migrates, `admin` is the server's superuser and for tests,
    bootstrapping and repairs only.
    """

    app: str
    owner: str
    admin: str


@contextmanager
def database(data_dir: Path) -> Iterator[Urls]:
    """Yield the URLs of a prepared database on the server of `data_dir`, started when needed.

    At the end the server is stopped, unless another process uses it (see `cluster`). Raises
    `cluster.ClusterError` when the server cannot start.
    """
    with cluster.serving(data_dir, prepare=_prepare) as socket_dir:
        yield urls(socket_dir)


def urls(socket_dir: Path, name: str = DATABASE) -> Urls:
    """Return the URLs of database `name`; the socket's directory is protected, so no passwords."""

    def url(role: str) -> str:
        return f"postgresql://{role}@/{name}?host={quote(str(socket_dir))}"

    return Urls(app=url(roles.APP), owner=url(roles.OWNER), admin=url(cluster.SUPERUSER))


def create_database(admin_url: str, name: str, template: str | None = None) -> None:
    """Create database `name`, prepared like the main one, or as a copy of `template`.

    Nobody may be connected to the template. Takes about 0.1 s with one, 0.2 s without.
    """
    with psycopg.connect(admin_url, autocommit=True) as connection:
        roles.create_database(connection, name, template=template)
    if template is None:
        roles.prepare_database(admin_url, name)


def drop_database(admin_url: str, name: str) -> None:
    """Drop database `name` if it is there, ending the connections to it."""
    with psycopg.connect(admin_url, dbname="postgres", autocommit=True) as connection:
        connection.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name))
        )


def _prepare(socket_dir: Path) -> None:
    """Prepare the server unless a comment on the database says that this version did."""
    admin_url = urls(socket_dir, "postgres").admin
    fingerprint = f"Countinghouse, prepared as {roles.fingerprint()}"
    with psycopg.connect(admin_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = %s",
            [DATABASE],
        ).fetchone()
        if found == (fingerprint,):
            return
        roles.prepare(admin_url, DATABASE)
        connection.execute(
            sql.SQL("COMMENT ON DATABASE {} IS {}").format(
                sql.Identifier(DATABASE), sql.Literal(fingerprint)
            )
        )
