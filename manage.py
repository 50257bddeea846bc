#!/usr/bin/env python
"""The operators' door: `manage.py help` lists the commands."""

from __future__ import annotations

import os
import sys


def main() -> None:
    """Run one management command, on the embedded database unless DATABASE_URL names another."""
    from billing_project import environment  # noqa: PLC0415 - after sys.path is set

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
    environment.load_dotenv()
    if environment.read("DATABASE_URL"):
        execute()
        return
    from apps.core import embedded  # noqa: PLC0415 - only systems on the embedded database need it

    with embedded.database(environment.data_dir()) as urls:
        os.environ["DATABASE_URL"] = urls.app
        os.environ["DATABASE_OWNER_URL"] = urls.owner
        os.environ["DATABASE_EMBEDDED"] = "1"
        execute()


def execute() -> None:
    """Hand the command line to Django."""
    from django.core.management import execute_from_command_line  # noqa: PLC0415 - needs the environment

    execute_from_command_line(sys.argv)


if __name__ == "__main__":
    main()
