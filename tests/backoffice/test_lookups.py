from __future__ import annotations

import logging
import re
from html import unescape
from urllib.parse import parse_qsl, urljoin, urlsplit

import pytest
from django.db.models import Model
from django.test import Client

from apps.backoffice.site import SCREENS, site
from apps.tenants.models import ApiKey, User
from tests.backoffice.pages import page, rows, text, url

SECRET = re.compile(r"password|hash|token|secret|digest|previous")
ENDINGS = ("", "__exact", "__startswith", "__regex", "__gte", "__isnull", "__in")
PATHS = ("", "user__", "organization__", "recorded_by__", "created_by__", "invoice__")


def _fields(model: type[Model]) -> set[str]:
    return {field.name for field in model._meta.get_fields()}


def test_no_list_answers_questions_about_secrets() -> None:
    secrets = {name for model in SCREENS for name in _fields(model) if SECRET.search(name)}
    assert {"password", "hash", "content_hash"} <= secrets
    for model, screen in site._registry.items():
        for path in PATHS:
            for lookup in (f"{path}{name}{end}" for name in secrets for end in ENDINGS):
                assert not screen.lookup_allowed(lookup, "x"), (model, lookup)


def test_only_declared_fields_narrow_a_list() -> None:
    for model, screen in site._registry.items():
        declared = {lookup.split("__")[0] for lookup in screen.lookups} | {
            getattr(one, "parameter_name", one) for one in screen.list_filter
        }
        for name in _fields(model) - declared - {screen.date_hierarchy}:
            assert not screen.lookup_allowed(name, "x"), (model, name)
            assert not screen.lookup_allowed(f"{name}__gte", "x"), (model, name)


@pytest.mark.parametrize(
    ("model", "lookup"),
    [
        (User, {"password__startswith": "argon2"}),
        (ApiKey, {"hash__regex": "^[0-7]"}),
        (ApiKey, {"organization__users__password__gt": "a"}),
        (User, {"no_such_field": "1"}),
    ],
)
def test_a_question_that_no_page_asks_is_refused(
    support: Client, caplog: pytest.LogCaptureFixture, model: type[Model], lookup: dict[str, str]
) -> None:
    with caplog.at_level(logging.INFO):
        assert support.get(url(model), lookup).status_code == 400
    assert not [record for record in caplog.records if record.exc_info]


def test_what_staff_may_not_do_leaves_no_traceback(
    support: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        assert support.get(url(User, "create")).status_code == 403
    assert not [record for record in caplog.records if record.exc_info]


def test_every_link_of_every_page_is_answered(admin: Client, everything: None) -> None:
    pages = ["/admin/", *(url(model) for model in SCREENS)]
    pages += [page(row) for model in SCREENS for row in rows(model)[:2]]
    asked: set[tuple[str, tuple[str, ...]]] = set()
    for address in pages:
        for found in re.findall(r'href="([^"]*\?[^"]*)"', text(admin.get(address))):
            link = urljoin(address, unescape(found))
            parts = urlsplit(link)
            keys = (parts.path, tuple(sorted(key for key, _ in parse_qsl(parts.query))))
            if not parts.path.startswith("/admin/") or keys in asked:
                continue
            asked.add(keys)
            answer = admin.get(link)
            assert answer.status_code == 200, (address, link)
    assert len(asked) > 40
