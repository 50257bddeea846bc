"""The README's walk-through does what it says when it is pasted."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.places import place

ROOT = Path(__file__).parents[2]


def blocks() -> list[str]:
    return re.findall(
        r"^```\w*\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL
    )


def without_fingerprint(text: str) -> str:
    """Events carry the instant of their receipt, so each run has a fingerprint of its own."""
    return re.sub(r"[0-9a-f]{32}", "-", text)


def test_the_walk_through_can_be_pasted() -> None:
    walk = next(block for block in blocks() if "load_catalog" in block)
    explained = next(block for block in blocks() if "exactly, rounded once" in block)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("DATABASE_", "TEST_"))}
    with place() as directory:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", walk.replace(".venv/bin/python", sys.executable)],
            cwd=ROOT,
            env={**kept, "DATA_DIR": str(directory), "ENVIRONMENT": "development"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert "113.55 USD" in done.stdout
    assert "yours is another one" in (ROOT / "README.md").read_text()
    assert without_fingerprint(explained) in without_fingerprint(done.stdout)
    assert "the books hold" in done.stderr
    assert done.stdout.strip().splitlines()[-1].startswith("bk_test_")
