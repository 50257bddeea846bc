"""Where the admin's pages are, and what a page that asks is answered."""

from __future__ import annotations

from typing import Any

from django.db.models import Model
from django.test import Client
from django.urls import reverse

from apps.audit.models import AuditEntry
from apps.core import rls


def url(model: type[Model], what: str = "changelist", *args: object) -> str:
    """Return the address of a model's list, page or act."""
    meta = model._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_{what}", args=args)


def page(row: Model, what: str = "change") -> str:
    """Return the address of a row's page, or of an act on it."""
    return url(type(row), what, row.pk)


def post(client: Client, url_: str, /, **answers: Any) -> Any:
    """Answer a page that asks."""
    return client.post(url_, answers)


def confirm(client: Client, url_: str, /, **answers: Any) -> Any:
    """Answer a page that quotes a change, and confirm what it quotes."""
    shown = post(client, url_, **answers)
    assert shown.status_code == 200, text(shown)
    return client.post(url_, dict(shown.context["answers"]))


def text(response: Any) -> str:
    """Return what the page says."""
    return str(response.content.decode())


def rows(model: type[Model]) -> list[Any]:
    """Return every row of every organization."""
    with rls.ops_scope("test"):
        return list(model._default_manager.all())


def again(row: Any) -> Any:
    """Return the row as it is stored now."""
    with rls.ops_scope("test"):
        return type(row)._default_manager.get(pk=row.pk)


def acts() -> list[tuple[str, str, str]]:
    """Return (kind of actor, action, target) of every act recorded."""
    return [(e.actor_kind, e.action, e.target) for e in rows(AuditEntry)]
