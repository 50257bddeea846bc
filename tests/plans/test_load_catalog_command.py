"""`manage.py load_catalog`, as an operator uses it."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.plans.models import Plan, PlanVersion
from tests.plans.samples import GATEWAY, gateway_text

pytestmark = pytest.mark.django_db


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("load_catalog", *arguments, stdout=out)
    return out.getvalue()


def report(*arguments: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run(*arguments, "--format", "json"))
    return found


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(GATEWAY, encoding="utf-8")
    return path


def test_a_file_loads_once_and_then_changes_nothing(file: Path) -> None:
    first, again = report(str(file)), report(str(file))
    assert (first["changed"], again["changed"]) == (True, False)
    assert first["plans"] == [
        {"code": "gateway", "name": "Gateway", "outcome": "created", "version": 1, "changes": []}
    ]
    assert "nothing has changed" in run(str(file))


def test_a_changed_price_is_shown_old_and_new(file: Path) -> None:
    run(str(file))
    file.write_text(gateway_text(('amount: "50.00"', "amount: 60")), encoding="utf-8")
    shown = run(str(file), "--dry-run")
    assert "prices.base.amount: 50 → 60" in shown
    assert "dry run: nothing was written" in shown
    assert PlanVersion.objects.count() == 1
    assert "new version" in run(str(file))
    assert PlanVersion.objects.count() == 2


def test_a_shipped_catalogue_loads_by_its_name() -> None:
    assert len(report("seats")["plans"]) == 12


def test_a_wrong_file_is_one_line_with_its_place_and_changes_nothing(file: Path) -> None:
    file.write_text(gateway_text(("kind: limit", "kind: limits")), encoding="utf-8")
    with pytest.raises(CommandError, match=r"^gateway\.yaml:3:37: .*did you mean 'limit'\?\)$"):
        run(str(file))
    assert not Plan.objects.exists()


def test_an_unknown_file_names_what_ships() -> None:
    with pytest.raises(CommandError, match="the shipped catalogues are gateway"):
        run("nowhere.yaml")
