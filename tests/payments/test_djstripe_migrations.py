"""Our copy of dj-stripe's migrations: current, identical in effect, open to later ones."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from django.core.management import call_command
from django.db.migrations import Migration
from django.db.migrations.loader import MigrationLoader
from psycopg import conninfo

from apps.core import embedded
from apps.payments.management.commands import squash_djstripe
from tests.places import place

ROOT = Path(__file__).resolve().parents[2]
SQUASH = ("djstripe", "0001_squashed_0003_2_11")
SCHEMA = {
    "columns": """
        SELECT table_name, column_name, data_type, character_maximum_length, numeric_precision,
            numeric_scale, is_nullable, column_default, is_identity, collation_name
        FROM information_schema.columns WHERE table_name LIKE 'djstripe%' ORDER BY 1, 2""",
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated
        FROM pg_constraint
        WHERE conrelid::regclass::text LIKE '%djstripe%'
            OR confrelid::regclass::text LIKE '%djstripe%'
        ORDER BY 1, 2""",
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes
        WHERE tablename LIKE 'djstripe%' ORDER BY 1, 2""",
    "sequences": """
        SELECT relname FROM pg_class WHERE relkind = 'S' AND relname LIKE 'djstripe%' ORDER BY 1""",
}


@pytest.fixture
def server() -> Iterator[embedded.Urls]:
    with place() as path, embedded.database(path) as urls:
        yield urls


def migrated_schema(server: embedded.Urls, name: str, settings: str) -> dict[str, list[object]]:
    """Migrate dj-stripe in a new database and return what the catalogue says of it."""
    embedded.create_database(server.admin, name)
    environment = os.environ | {
        "DJANGO_SETTINGS_MODULE": settings,
        "DATABASE_URL": url(server.app, name),
        "DATABASE_OWNER_URL": url(server.owner, name),
    }
    options = ("--database=owner", "--skip-checks", "--verbosity=0")
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "djstripe", *options],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    with psycopg.connect(conninfo.make_conninfo(server.admin, dbname=name)) as connection:
        return {part: list(connection.execute(query)) for part, query in SCHEMA.items()}


def url(base: str, name: str) -> str:
    return base.replace("/countinghouse?", f"/{name}?")


@pytest.mark.django_db
def test_the_copy_creates_every_model_of_the_installed_version() -> None:
    call_command("makemigrations", "djstripe", check_changes=True, dry_run=True, verbosity=0)


def test_every_migration_of_the_installed_version_is_replaced_or_copied() -> None:
    disk = MigrationLoader(None).disk_migrations
    ours = {name for label, name in disk if label == "djstripe"}
    replaced = {name for _, name in disk[SQUASH].replaces}
    assert set(squash_djstripe.upstream_names()) <= ours | replaced


def test_a_later_upstream_migration_lines_up_behind_the_copy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Later(Migration):
        dependencies = [("djstripe", "0003_2_11")]

    load_disk = MigrationLoader.load_disk

    def with_later(loader: MigrationLoader) -> None:
        load_disk(loader)
        loader.disk_migrations["djstripe", "0004_later"] = Later("0004_later", "djstripe")

    monkeypatch.setattr(MigrationLoader, "load_disk", with_later)
    graph = MigrationLoader(None).graph
    assert [node.key for node in graph.node_map["djstripe", "0004_later"].parents] == [SQUASH]


@pytest.mark.upstream
def test_the_schema_is_the_one_that_upstream_migrations_make(server: embedded.Urls) -> None:
    ours = migrated_schema(server, "ours", "billing_project.settings")
    upstream = migrated_schema(server, "upstream", "tests.payments.upstream_settings")
    assert len(ours["columns"]) > 500
    for part, rows in upstream.items():
        assert ours[part] == rows, part
