"""Stripe's own clients from npm drive the sandbox as they are: stripe-node and the Stripe CLI.

`npm/triggers.txt` names the events of `stripe trigger` that pass; docs/sandbox.md says why others
do not.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

import pytest

from apps.sandbox.engine import Sandbox
from apps.sandbox.transports import Application
from tests.sandbox.shop import KEY

# Needs Node.js and npm, which .ci/run installs.
pytestmark = pytest.mark.upstream
HERE = Path(__file__).parent / "npm"
INSTALL = ("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--silent")
TRIGGERS = (HERE / "triggers.txt").read_text(encoding="ascii").split()


class Server(ThreadingMixIn, WSGIServer):
    """Answers each request in a thread of its own."""

    daemon_threads = True


class Quiet(WSGIRequestHandler):
    """Logs nothing."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def npm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the clients, at the versions locked here."""
    place = shutil.copytree(HERE, tmp_path_factory.mktemp("npm") / "clients")
    subprocess.run(INSTALL, cwd=place, check=True, capture_output=True, timeout=300)
    return Path(place)


@pytest.fixture
def served(sandbox: Sandbox) -> Iterator[int]:
    """Serve a sandbox; return the port."""
    sandbox.strict = False  # the clients are refused here and there, and go on
    application: Any = Application(sandbox)
    with make_server("127.0.0.1", 0, application, Server, Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield int(server.server_port)
        server.shutdown()
    assert sandbox.violations == []


def run(place: Path, *command: str, **environment: str) -> str:
    done = subprocess.run(
        command,
        cwd=place,
        env={**os.environ, "HOME": str(place), **environment},
        capture_output=True,
        text=True,
        timeout=60,
    )
    return done.stdout + done.stderr


def test_stripe_node_subscribes_pages_and_is_refused(npm: Path, served: int) -> None:
    told = json.loads(run(npm, "node", "check.mjs", KEY=KEY, PORT=str(served)))
    assert told.pop("events") > 10
    assert told == {
        "status": "active",
        "total": 20_00,
        "payments": 1,
        "same": True,
        "refused": ["StripeCardError", "card_declined", "lost_card"],
    }


def test_the_cli_triggers_what_the_list_says(npm: Path, served: int) -> None:
    base = f"http://127.0.0.1:{served}/_stripe"
    command = (
        "node_modules/@stripe/cli-linux-x64/bin/stripe",
        "trigger",
        "--api-base",
        base,
        "--api-key",
        KEY,
    )
    told = {name: run(npm, *command, name) for name in TRIGGERS}
    assert {name: each for name, each in told.items() if "Trigger succeeded" not in each} == {}
