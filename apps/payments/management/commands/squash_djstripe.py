"""Write dj-stripe's schema as one migration; see docs/stripe.md for when to do that."""

from __future__ import annotations

import pkgutil
from pathlib import Path
from typing import Any

from django.apps import apps
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db.migrations import Migration
from django.db.migrations.autodetector import MigrationAutodetector
from django.db.migrations.graph import MigrationGraph
from django.db.migrations.questioner import NonInteractiveMigrationQuestioner
from django.db.migrations.state import ProjectState
from django.db.migrations.writer import MigrationWriter
from djstripe import migrations as upstream

from apps.payments import djstripe_migrations

LABEL = "djstripe"


class Command(BaseCommand):
    """Write one migration that creates what all of upstream's migrations would create."""

    help = __doc__
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Add the flag that protects an existing squash."""
        parser.add_argument("--replace", action="store_true", help="overwrite the existing file")

    def handle(self, **options: Any) -> None:
        """Write the file and print its path."""
        replaced = upstream_names()
        path = package_path() / f"{squash_name(replaced)}.py"
        if path.exists() and not options["replace"]:
            raise CommandError(f"{path.name} exists: --replace overwrites it.")
        path.write_text(MigrationWriter(squashed(replaced)).as_string(), encoding="utf-8")
        self.stdout.write(str(path))


def upstream_names() -> list[str]:
    """Return the names of the migrations that the installed dj-stripe ships, in order."""
    return sorted(name for _, name, _ in pkgutil.iter_modules(upstream.__path__))


def package_path() -> Path:
    """Return the directory of the owned migrations."""
    return Path(djstripe_migrations.__path__[0])


def squash_name(replaced: list[str]) -> str:
    """Return 0001_squashed_ and the last replaced name, as Django's squashmigrations does."""
    return f"0001_squashed_{replaced[-1]}"


def squashed(replaced: list[str]) -> Migration:
    """Return the one migration that makes dj-stripe's models out of nothing.

    It replaces upstream's names: a database that ran those counts as migrated, and a later upstream
    migration that depends on the last of them finds this one instead.
    """
    before = ProjectState.from_apps(apps)
    for model in apps.get_app_config(LABEL).get_models(include_auto_created=False):
        before.models.pop((LABEL, model._meta.model_name or ""))
    questioner = NonInteractiveMigrationQuestioner(specified_apps={LABEL}, dry_run=True)
    detector = MigrationAutodetector(before, ProjectState.from_apps(apps), questioner)
    changes = detector.changes(MigrationGraph(), trim_to_apps={LABEL})[LABEL]
    if len(changes) != 1:
        raise CommandError(f"Expected one migration, got {[change.name for change in changes]}.")

    class Squash(Migration):
        initial = True
        replaces = [(LABEL, name) for name in replaced]
        dependencies = changes[0].dependencies
        operations = changes[0].operations

    return Squash(squash_name(replaced), LABEL)
