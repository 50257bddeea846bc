"""docs/api.md: every snippet is sent, every answer shown is compared."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.core import clock
from apps.tenants.roles import SCOPES
from tests import worlds
from tests.api.client import ROOT, Api

GUIDE = (ROOT / "docs" / "api.md").read_text()
TODAY = datetime(2026, 1, 15, 9, 0, tzinfo=UTC)
BLOCK = re.compile(r"^```(sh|json)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass
class Snippet:
    """A curl call and the answer that the guide shows for it, where it shows one."""

    words: list[str]
    shown: Any = None

    @property
    def method(self) -> str:
        return "POST" if self.data else "GET"

    @property
    def path(self) -> str:
        [url] = [word for word in self.words if word.startswith("$API")]
        return url.replace("$API", "/api/v1")

    @property
    def data(self) -> str:
        return self._after("-d")[0] if "-d" in self.words else ""

    @property
    def headers(self) -> dict[str, str]:
        return dict(header.split(": ", 1) for header in self._after("-H"))

    def _after(self, option: str) -> list[str]:
        pairs = zip(self.words, self.words[1:], strict=False)
        return [value for name, value in pairs if name == option]


def snippets() -> list[Snippet]:
    found: list[Snippet] = []
    for language, text in BLOCK.findall(GUIDE):
        if language == "json":
            found[-1].shown = json.loads(text)
            continue
        calls = re.sub(r"\\\n", " ", text)
        found += [
            Snippet(shlex.split(line))
            for line in re.split(r"\n(?=curl|export|python)", calls)
            if line.startswith("curl")
        ]
    return found


def shows(answer: Any, shown: Any) -> bool:
    """Tell whether the answer holds what is shown; `…` stands for anything."""
    if shown == "…":
        return True
    if isinstance(shown, dict):
        return all(key in answer and shows(answer[key], value) for key, value in shown.items())
    if isinstance(shown, list):
        pairs = zip(answer, shown, strict=True)
        return all(shows(left, right) for left, right in pairs)
    return bool(answer == shown)


@pytest.fixture
def key(db: None) -> Iterator[str]:
    with clock.frozen(TODAY):
        worlds.load_catalog("gateway")
        organization, _ = worlds.make_customer("acme")
        [line] = [line for line in GUIDE.splitlines() if "create_api_key acme" in line]
        yield worlds.make_key(organization, line.split("--scopes ")[1].split(","))


def test_every_snippet_answers_what_the_guide_shows(key: str) -> None:
    api = Api(None)
    found = snippets()
    assert len(found) == 11
    for snippet in found:
        headers: dict[str, Any] = {
            name: value.replace("$KEY", key) for name, value in snippet.headers.items()
        }
        media_type = headers.pop("Content-Type", "application/json")
        at = TODAY if snippet.path.endswith("/subscriptions") else TODAY.replace(hour=10)
        with clock.frozen(at):
            if "/invoices?" in snippet.path:  # the scheduler comes by every minute
                worlds.bill(as_of=at, at=at)
            reply = api.call(
                snippet.method,
                snippet.path,
                snippet.data or None,
                content_type=media_type,
                **headers,
            )
        if snippet.shown is None:
            assert reply.content.startswith(b"%PDF"), snippet.path
        else:
            assert shows(reply.json(), snippet.shown), (snippet.path, reply.content)


def test_every_scope_is_explained() -> None:
    for scope in SCOPES:
        assert f"| `{scope}` |" in GUIDE
