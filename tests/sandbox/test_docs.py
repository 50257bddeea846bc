"""docs/sandbox.md lists what is stood in for, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from apps.sandbox.resources.registered import OPERATIONS

PAGE = Path(__file__).resolve().parents[2] / "docs" / "sandbox.md"
LISTED = re.compile(r"((?:(?:GET|POST|DELETE)/?)+) `([a-z_/{}]+)`")


def test_the_page_lists_every_operation() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Operations")[1]
    listed = {
        f"{verb} /v1/{path}"
        for verbs, path in LISTED.findall(section)
        for verb in verbs.strip("/").split("/")
    }
    assert listed == set(OPERATIONS)
