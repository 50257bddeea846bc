"""The four database roles, what each may do, and the queue schema: one place for every server.

| role | logs in | may |
|---|---|---|
| billing_owner | for migrations only | owns the database and its schemas |
| billing_app | always: the only run-time login | read and write rows under row-level security |
| billing_ops | never; billing_app may *become* it, and inherits nothing from it | see all tenants |
| billing_backup | for pg_dump | read everything past row-level security, write nothing |

The embedded server is prepared with these statements at its first start, any other one by
`manage.py prepare_database`. All of it may be run again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256

import psycopg
from pgmq.install import get_embedded_install_sql, get_embedded_sql_version
from psycopg import conninfo, sql

OWNER = "billing_owner"
APP = "billing_app"
OPS = "billing_ops"
BACKUP = "billing_backup"
LOWEST_VERSION = 16

LOGINS = {OPS: "NOLOGIN", OWNER: "LOGIN", APP: "LOGIN", BACKUP: "LOGIN"}


class UnfitServer(Exception):
    """The server cannot be prepared; the message says why."""


@dataclass(frozen=True, slots=True)
class Passwords:
    """The passwords of the logins; None leaves a password as it is (and none needed, embedded)."""

    app: str | None = None
    owner: str | None = None
    backup: str | None = None

    def by_role(self) -> dict[str, str]:
        """Return the passwords to set, by role."""
        given = {APP: self.app, OWNER: self.owner, BACKUP: self.backup}
        return {role: password for role, password in given.items() if password}


def prepare(admin_url: str, database: str, passwords: Passwords | None = None) -> None:
    """Create roles, database, privileges and queue schema on the server, or bring them up to date.

    `admin_url` names a role that may create roles and databases. Safe to repeat; not safe to run
    twice at once on one server. Raises UnfitServer below PostgreSQL 16, and psycopg's errors.
    """
    with psycopg.connect(admin_url, autocommit=True) as connection:
        _refuse_old_server(connection)
        _execute(connection, role_statements())
        _set_passwords(connection, passwords or Passwords())
        _ensure_database(connection, database)
    prepare_database(admin_url, database)


def prepare_database(admin_url: str, database: str) -> None:
    """Give one database its privileges and queue schema."""
    url = conninfo.make_conninfo(admin_url, dbname=database)
    with psycopg.connect(url, autocommit=True) as connection:
        _execute(connection, database_statements(database))
        _ensure_queues(connection)
        _execute(connection, queue_statements())


def fingerprint() -> str:
    """Return what changes when a server prepared by an older version needs preparing again."""
    statements = [*role_statements(), *database_statements("main"), *queue_statements()]
    text = "\n".join([*statements, get_embedded_sql_version()])
    return sha256(text.encode()).hexdigest()[:16]


def role_statements() -> list[str]:
    """Return the SQL that creates the roles and fixes their attributes, server-wide.

    PostgreSQL 16+: `INHERIT FALSE, SET TRUE` lets billing_app become billing_ops by SET ROLE and
    gives it none of its rights before.
    """
    return [
        *(_create_role(role) for role in LOGINS),
        *(f"ALTER ROLE {role} {login}" for role, login in LOGINS.items()),
        *(_correct(role, bypassrls=role == BACKUP) for role in LOGINS),
        f"GRANT {OPS} TO {APP} WITH INHERIT FALSE, SET TRUE",
        f"GRANT {OWNER}, {APP} TO CURRENT_USER",
    ]


def database_statements(database: str) -> list[str]:
    """Return the SQL, to be run inside `database`, that fixes who may do what there.

    Only default privileges, never GRANT ... ON ALL TABLES: migrations take rights away again from
    single tables (append-only ones), and a second run must not hand them back.
    """
    return [
        f"REVOKE ALL ON DATABASE {database} FROM PUBLIC",
        f"GRANT CONNECT ON DATABASE {database} TO {APP}, {BACKUP}",
        f"ALTER SCHEMA public OWNER TO {OWNER}",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
        f"GRANT USAGE ON SCHEMA public TO {APP}, {OPS}, {BACKUP}",
        f"SET ROLE {OWNER}",
        *_default_privileges("public", f"{APP}, {OPS}"),
        "RESET ROLE",
    ]


def queue_statements() -> list[str]:
    """Return the SQL that lets billing_app use and make queues in schema pgmq, and backup read."""
    return [
        f"GRANT USAGE, CREATE ON SCHEMA pgmq TO {APP}",
        f"GRANT USAGE ON SCHEMA pgmq TO {BACKUP}",
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA pgmq TO {APP}",
        f"GRANT SELECT ON ALL TABLES IN SCHEMA pgmq TO {BACKUP}",
        # A queue is a pair of tables that belong to the login that made it.
        f"SET ROLE {APP}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT SELECT ON TABLES TO {BACKUP}",
        f"ALTER DEFAULT PRIVILEGES IN SCHEMA pgmq GRANT SELECT ON SEQUENCES TO {BACKUP}",
        "RESET ROLE",
    ]


def _create_role(role: str) -> str:
    """PostgreSQL has no CREATE ROLE IF NOT EXISTS."""
    return (
        f"DO $$ BEGIN IF to_regrole('{role}') IS NULL THEN "
        f"CREATE ROLE {role} NOSUPERUSER NOCREATEDB NOCREATEROLE; END IF; END $$"
    )


def _correct(role: str, *, bypassrls: bool) -> str:
    """Fix the attributes of a role that have drifted, and mention no others.

    Only a superuser may mention SUPERUSER and REPLICATION at all, and the admin of a managed
    service is none. Giving BYPASSRLS takes a superuser or a role that has it.
    """
    bypass = "NOT rolbypassrls, 'BYPASSRLS'" if bypassrls else "rolbypassrls, 'NOBYPASSRLS'"
    return f"""DO $$ DECLARE attribute text; BEGIN
        FOR attribute IN
            SELECT correction FROM pg_roles, LATERAL (VALUES
                (rolsuper, 'NOSUPERUSER'), (rolcreatedb, 'NOCREATEDB'),
                (rolcreaterole, 'NOCREATEROLE'), (rolreplication, 'NOREPLICATION'), ({bypass})
            ) AS attributes (wrong, correction) WHERE wrong AND rolname = '{role}'
        LOOP EXECUTE 'ALTER ROLE {role} ' || attribute; END LOOP;
    END $$"""  # noqa: S608 - constants


def _default_privileges(schema: str, writers: str) -> list[str]:
    default = f"ALTER DEFAULT PRIVILEGES IN SCHEMA {schema} GRANT"
    return [
        f"{default} SELECT, INSERT, UPDATE, DELETE ON TABLES TO {writers}",
        f"{default} USAGE, SELECT ON SEQUENCES TO {writers}",
        f"{default} EXECUTE ON FUNCTIONS TO {writers}",
        f"{default} SELECT ON TABLES TO {BACKUP}",
        f"{default} SELECT ON SEQUENCES TO {BACKUP}",
    ]


def _refuse_old_server(connection: psycopg.Connection) -> None:
    version = connection.info.server_version // 10000
    if version < LOWEST_VERSION:
        raise UnfitServer(
            f"This is PostgreSQL {version}; {LOWEST_VERSION} or newer is needed "
            "(membership without inheritance keeps tenants apart)."
        )


def _set_passwords(connection: psycopg.Connection, passwords: Passwords) -> None:
    """Set passwords as SCRAM verifiers made here: the clear text never reaches a server log."""
    for role, password in passwords.by_role().items():
        verifier = connection.pgconn.encrypt_password(
            password.encode(), role.encode(), b"scram-sha-256"
        )
        connection.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(
                sql.Identifier(role), sql.Literal(verifier.decode())
            )
        )


def _ensure_database(connection: psycopg.Connection, database: str) -> None:
    found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
    if found.fetchone() is None:
        create_database(connection, database)


def create_database(
    connection: psycopg.Connection, database: str, *, template: str | None = None
) -> None:
    """Create a database that billing_owner owns, empty or as a copy of `template`."""
    connection.execute(
        sql.SQL("CREATE DATABASE {} OWNER {} ENCODING 'UTF8' TEMPLATE {}").format(
            sql.Identifier(database), sql.Identifier(OWNER), sql.Identifier(template or "template0")
        )
    )


def _ensure_queues(connection: psycopg.Connection) -> None:
    """Install pgmq's own SQL as the owner, in place of any other version.

    The script cannot upgrade. Queues hold nudges only (what is due lives in rows and is found again
    by the scheduler), so the schema is simply made anew.
    """
    version = f"pgmq {get_embedded_sql_version()}"
    found = connection.execute(
        "SELECT obj_description(to_regnamespace('pgmq')::oid, 'pg_namespace')"
    ).fetchone()
    if found == (version,):
        return
    with connection.transaction():
        connection.execute(f"SET LOCAL ROLE {OWNER}".encode())
        connection.execute(b"DROP SCHEMA IF EXISTS pgmq CASCADE")
        connection.execute(get_embedded_install_sql().encode())
        connection.execute(
            sql.SQL("COMMENT ON SCHEMA pgmq IS {}").format(sql.Literal(version)),
        )


def _execute(connection: psycopg.Connection, statements: Iterable[str]) -> None:
    for statement in statements:
        connection.execute(statement.encode())
