from __future__ import annotations

from pathlib import Path

from billing_project import environment

FILE = Path(__file__).resolve().parents[1] / ".env.example"


def test_the_example_names_every_setting_with_its_default() -> None:
    assert FILE.read_text(encoding="utf-8") == environment.example()


def test_the_example_changes_nothing_when_it_is_used() -> None:
    lines = FILE.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line and not line.startswith("#")] == []
