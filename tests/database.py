"""The tests' PostgreSQL: embedded, with the real roles, one cloned database a worker.

Loaded with `-p tests.database`, before Django's settings are read. The migrated template is kept
between runs and made anew when a migration changes; cloning it takes a tenth of a second.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg

from apps.core import embedded

ROOT = Path(__file__).resolve().parents[1]
DATA_DIR = Path(os.environ.get("TEST_DATA_DIR", ROOT / ".data" / "tests")).resolve()
_open = contextlib.ExitStack()


def fingerprint() -> str:
    """Return a name for the schema that the migrations of this checkout make."""
    files = sorted(
        path
        for pattern in ("apps/*/migrations/*.py", "apps/payments/djstripe_migrations/*.py")
        for path in ROOT.glob(pattern)
    )
    extra = [
        ROOT / "apps/core/operations.py",
        ROOT / "apps/core/roles.py",
        ROOT / "requirements.lock",
    ]
    digest = hashlib.sha256()
    for path in [*files, *extra]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def named(url: str, name: str) -> str:
    """Return the URL for another database of the same server."""
    return url.replace(f"/{embedded.DATABASE}?", f"/{name}?")


@contextlib.contextmanager
def server() -> Iterator[embedded.Urls]:
    """Run the tests' server for as long as the context lasts."""
    with embedded.database(DATA_DIR) as urls:
        yield urls


def template(urls: embedded.Urls) -> str:
    """Return the name of the migrated template, made when it is not there yet."""
    name = f"template_{fingerprint()}"
    with open(DATA_DIR / "template.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with psycopg.connect(urls.admin, autocommit=True) as connection:
            found = connection.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'template\\_%' ORDER BY oid"
            ).fetchall()
        if (name,) in found:
            return name
        for (old,) in found[:-2]:  # a run of another state of the checkout may be using the latest
            embedded.drop_database(urls.admin, old)
        building = f"building_{name}"
        embedded.drop_database(urls.admin, building)
        embedded.create_database(urls.admin, building)
        _migrate(urls, building)
        with psycopg.connect(urls.admin, autocommit=True) as connection:
            connection.execute(f'ALTER DATABASE "{building}" RENAME TO "{name}"')
    return name


def _migrate(urls: embedded.Urls, name: str) -> None:
    environment = {
        **os.environ,
        "DATABASE_URL": named(urls.app, name),
        "DATABASE_OWNER_URL": named(urls.owner, name),
    }
    environment.pop("PYTEST_XDIST_WORKER", None)
    subprocess.run(
        [sys.executable, "manage.py", "migrate", "--skip-checks", "--verbosity", "0"],
        cwd=ROOT,
        env=environment,
        check=True,
    )


def clone(urls: embedded.Urls, name: str) -> tuple[str, str]:
    """Make a fresh copy of the template; return its run-time and owner URLs."""
    embedded.drop_database(urls.admin, name)
    with open(DATA_DIR / "clone.lock", "w") as lock:  # a template takes one copy at a time
        fcntl.flock(lock, fcntl.LOCK_EX)
        embedded.create_database(urls.admin, name, template=template_name())
    return named(urls.app, name), named(urls.owner, name)


def template_name() -> str:
    """Return the template's name that the controlling process has made."""
    return os.environ["TEST_TEMPLATE"]


def urls_of_server() -> embedded.Urls:
    """Return the URLs of the running server's main database."""
    app, owner, admin = os.environ["TEST_SERVER"].split("\n")
    return embedded.Urls(app, owner, admin)


def _start() -> None:
    os.environ["ENVIRONMENT"] = "test"
    os.environ.pop("DATABASE_EMBEDDED", None)
    if "TEST_SERVER" not in os.environ:
        urls = _open.enter_context(server())
        os.environ["TEST_SERVER"] = "\n".join((urls.app, urls.owner, urls.admin))
        os.environ["TEST_TEMPLATE"] = template(urls)
        os.environ["TEST_RUN"] = str(os.getpid())
    worker = os.environ.get("PYTEST_XDIST_WORKER", "main")
    name = f"test_{os.environ['TEST_RUN']}_{worker}"
    os.environ["DATABASE_URL"], os.environ["DATABASE_OWNER_URL"] = clone(urls_of_server(), name)
    _open.callback(embedded.drop_database, urls_of_server().admin, name)


def pytest_unconfigure() -> None:
    """Drop this process's database; the controlling process stops the server."""
    _open.close()


_start()
