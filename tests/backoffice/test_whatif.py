"""The page that compares a plan with another version: shown, refused, and never written."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.test import Client

from apps.audit.models import AuditEntry
from apps.backoffice.admin.panels import Panel
from apps.core import rls
from apps.plans.catalog import SHIPPED
from apps.plans.models import Plan, PlanVersion
from tests.backoffice.pages import rows, url
from tests.worlds import World

GATEWAY = (SHIPPED / "gateway.yaml").read_text(encoding="utf-8")


def compare(client: Client, text: str, **more: object) -> tuple[int, Any]:
    (plan,) = rows(Plan)
    file = io.BytesIO(text.encode())
    file.name = "new.yaml"
    shown = client.post(url(Plan, "compare", plan.pk), {"days": 90, "file": file, **more})
    return shown.status_code, shown.context


def cells(found: object) -> list[list[str]]:
    assert isinstance(found, Panel)
    return [[str(cell) for cell in row] for row in found.rows]


def written() -> tuple[int, int]:
    with rls.ops_scope("test"):
        return PlanVersion.objects.count(), AuditEntry.objects.count()


def test_a_file_is_compared_on_real_usage_and_not_loaded(finance: Client, world: World) -> None:
    """November came to 54.51, 50.00 of it base; with a base of 60.00 it is 64.51."""
    before = written()
    status, context = compare(finance, GATEWAY.replace('"50.00"', '"60.00"'))
    assert status == 200
    result = context["result"]
    assert cells(getattr(result, "sums", None)) == [
        ["USD", "54.51 USD", "64.51 USD", "10.00 USD", "10.00 USD", "1", "0"]
    ]
    ((customer, *amounts),) = cells(getattr(result, "customers", None))
    assert "Acme" in customer
    assert amounts == ["v1", "1", "54.51 USD", "64.51 USD", "10.00 USD", ""]
    assert written() == before


def test_a_published_version_is_chosen_from_the_list(finance: Client, world: World) -> None:
    (plan,) = rows(Plan)
    (version,) = rows(PlanVersion)
    page = url(Plan, "compare", plan.pk)
    assert finance.get(page).status_code == 200
    shown = finance.post(page, {"days": 90, "version": version.public_id})
    assert shown.status_code == 200
    ((_, today, then, change, *_),) = shown.context["result"].sums.rows
    assert (today, then, change) == ("54.51 USD", "54.51 USD", "0.00 USD")


@pytest.mark.parametrize("text", ["plans: [", GATEWAY.replace("interval: month", "interval: x")])
def test_a_file_that_is_no_catalogue_is_refused(finance: Client, world: World, text: str) -> None:
    before = written()
    status, context = compare(finance, text)
    assert status >= 400
    assert context["problems"]
    assert context["result"] is None
    assert written() == before


def test_neither_or_both_is_asked_again(finance: Client, world: World) -> None:
    (plan,) = rows(Plan)
    (version,) = rows(PlanVersion)
    assert finance.post(url(Plan, "compare", plan.pk), {"days": 90}).status_code == 400
    assert compare(finance, GATEWAY, version=version.public_id)[0] == 400
