"""`manage.py prepare_database` on servers that are not ours."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from django.core.management import CommandError, call_command

from apps.core import cluster, embedded
from tests.places import place


@pytest.fixture(scope="module")
def bare_server() -> Iterator[str]:
    """A server without our roles; yields its administrator's URL, who is no superuser."""

    def make_admin(socket_dir: Path) -> None:
        with psycopg.connect(embedded.urls(socket_dir, "postgres").admin, autocommit=True) as root:
            root.execute("CREATE ROLE dba LOGIN CREATEROLE CREATEDB BYPASSRLS")

    with place() as path, cluster.serving(path, prepare=make_admin) as socket_dir:
        yield embedded.urls(socket_dir, "postgres").admin.replace("postgres@", "dba@")


def prepare(admin_url: str, *options: str) -> None:
    call_command(
        "prepare_database", "--admin-url", admin_url, "--database", "books", *options,
        stdout=io.StringIO(), stderr=io.StringIO(),
    )  # fmt: skip


def test_an_administrator_who_is_no_superuser_may_do_it_twice(bare_server: str) -> None:
    prepare(bare_server, "--app-password", "one")
    prepare(bare_server, "--app-password", "two")
    app = bare_server.replace("dba@/postgres", "billing_app:two@/books")
    owner = bare_server.replace("dba@/postgres", "billing_owner@/books")
    with psycopg.connect(owner) as connection:
        connection.execute("CREATE TABLE page (n int)")
    with closing(psycopg.connect(app)) as connection:
        connection.execute("INSERT INTO page VALUES (1)")
        connection.execute("SELECT pgmq.create('queue')")
        connection.execute("SET ROLE billing_ops")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("DROP TABLE page")


def test_a_server_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refusal:
        prepare(f"postgresql://dba@/postgres?host={tmp_path}")
    assert "\n" not in str(refusal.value)
