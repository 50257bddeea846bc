from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.commands.shell import run, run_json

EVENTS = [
    {
        "specversion": "1.0",
        "id": f"e{number}",
        "source": "test",
        "type": "ai.request",
        "subject": "acme",
        "time": "2023-11-16T18:17:03.9799600Z",
        "data": {"context_tokens": 1_500_000, "generated_tokens": 350},
    }
    for number in range(6)
]


@pytest.fixture
def acme(db: None, tmp_path: Path) -> str:
    """An organization at the gateway since November 2023, with six requests; its slug."""
    run("load_catalog", "gateway")
    assert run("create_organization", "acme", "--name", "Acme").code == 0
    run_json("subscribe", "acme", "gateway", "--start", "2023-11-01T00:00:00Z")
    file = tmp_path / "events.jsonl"
    file.write_text("\n".join(json.dumps(event) for event in EVENTS), encoding="utf-8")
    assert run_json("ingest_usage", str(file))["accepted"] == 6
    return "acme"


@pytest.fixture
def billed(acme: str) -> str:
    """Acme, billed up to 1 December 2023; its slug."""
    run_json("bill_due", "--as-of", "2023-12-01T00:00:00Z")
    return acme
