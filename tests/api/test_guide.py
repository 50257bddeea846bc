"""docs/api.md, pasted into a shell beside the demo world: every answer shown is compared."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
from django.core.wsgi import get_wsgi_application

from apps.backoffice import demo
from apps.core import clock
from apps.tenants.roles import SCOPES
from tests.api.client import ROOT
from tests.conftest import STAFF

GUIDE = (ROOT / "docs" / "api.md").read_text()
BLOCK = re.compile(r"^```sh\n(.*?)^```\n(?:```json\n(.*?)^```)?", re.MULTILINE | re.DOTALL)
ADDRESS = "http://localhost:8000"
CUT = "---- the next snippet ----"


class QuietHandler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class's name
        """Say nothing: failures show in the test."""


@pytest.fixture
def address(committed_db: str) -> Iterator[str]:
    """Serve the demo world of today; yields the address."""
    demo.build(actor=STAFF, at=clock.now())
    server = ThreadedWSGIServer(("127.0.0.1", 0), QuietHandler)
    server.daemon_threads = True
    server.set_app(get_wsgi_application())
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://localhost:{server.server_address[1]}"
    server.shutdown()
    server.server_close()
    thread.join()


def shows(answer: Any, shown: Any) -> bool:
    """Tell whether the answer holds what is shown; `…` stands for anything, or for the rest."""
    if isinstance(shown, str) and "…" in shown:
        pattern = re.escape(shown).replace("…", ".*")
        return re.fullmatch(pattern, str(answer)) is not None
    if isinstance(shown, dict):
        return all(key in answer and shows(answer[key], value) for key, value in shown.items())
    if isinstance(shown, list):
        if shown[-1:] == ["…"]:
            shown = shown[:-1]
            answer = answer[: len(shown)]
        return len(answer) == len(shown) and all(map(shows, answer, shown))
    return bool(answer == shown)


def paste(snippets: list[str], address: str, directory: Path) -> list[str]:
    """Run the snippets in one shell in this directory and return what each of them printed."""
    script = f"\necho '{CUT}'\n".join(snippets).replace(ADDRESS, address)
    manage = f"{sys.executable} {ROOT / 'manage.py'}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(".venv/bin/python manage.py", manage)],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split(CUT)


def test_the_guide_can_be_pasted_beside_the_demo_world(address: str, tmp_path: Path) -> None:
    found = BLOCK.findall(GUIDE)
    assert ADDRESS in GUIDE
    assert len(found) == GUIDE.count("```sh") == 21
    printed = paste([snippet for snippet, _ in found], address, tmp_path)
    for (snippet, shown), answer in zip(found, printed, strict=True):
        if shown:
            assert shows(json.loads(answer), json.loads(shown)), (snippet, answer)
    assert (tmp_path / "invoice.pdf").read_bytes().startswith(b"%PDF")


def test_every_scope_is_explained() -> None:
    for scope in SCOPES:
        assert f"| `{scope}` |" in GUIDE
