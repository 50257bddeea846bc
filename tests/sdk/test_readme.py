"""The README of the SDK, pasted: each example, its requests, and what the platform then counted."""

from __future__ import annotations

import inspect
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from apps.core import rls
from apps.tenants import selectors as tenants
from countinghouse import AccessOptions, RequestTracker, UsageOptions
from tests.sdk import programs
from tests.sdk.test_platform import Platform, today

README = (programs.PACKAGE / "README.md").read_text()
FILES = re.compile(r"^```\w+\n# (\S+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
ADDRESS = "http://localhost:8000"
VISIT_DJANGO = """
import django
django.setup()
from django.test import Client
browser = Client()
assert browser.get("/api/hs/jobs").status_code == 200
assert browser.get("/health").status_code == 200
assert browser.get("/reports").content == b"All is well."
"""
VISIT_FASTAPI = """
from fastapi.testclient import TestClient
from main import app
with TestClient(app, headers={"X-Org-Id": "acme"}) as browser:
    assert browser.get("/api/orders/7").json() == {"order": 7}
    assert browser.get("/api/preview").status_code == 200
"""
VISIT_GUARDED = """
from fastapi.testclient import TestClient
from guarded import app
with TestClient(app) as browser:
    assert browser.get("/api/reports", headers={"X-Org-Id": "acme"}).json() == "All is well."
"""
EXPORT = """
import guard
for _ in range(9):
    assert guard.export(["a", "b"]) == "a\\nb"
try:
    guard.export(["one too many"])
except guard.countinghouse.Refused as refused:
    assert refused.code == "access_not_allowed"
"""
INSTALL = """
import installation
token = installation.renewed()
installation.validator = installation.LicenceValidator.cached("licence", instance="plant-1")
assert installation.may_report(token)
assert not installation.may_report(token[:-8])
"""
VISIT_FLASK = """
from app import app
browser = app.test_client()
for token in ("token-of-acme", "token-of-nobody"):
    with browser.get("/api/orders/7", headers={"Authorization": token}) as answer:
        assert answer.get_data() == b"order 7"
"""
ACCOUNTS = """
from types import SimpleNamespace

def Accounts(get_response):
    def serve(request):
        request.user = SimpleNamespace(organization_slug="acme")
        return get_response(request)
    return serve
"""
SITE = """
from django.http import HttpResponse
from django.urls import path
from django.utils.module_loading import import_string

SECRET_KEY, DEBUG, ALLOWED_HOSTS, ROOT_URLCONF = "x", False, ["testserver"], "settings"
urlpatterns = [path(name, lambda request: HttpResponse("ok")) for name in ("api/hs/jobs", "health")]
urlpatterns.append(path("reports", lambda request: import_string("shop.views.reports")(request)))
"""


@pytest.fixture
def shop(committed_db: str, tmp_path: Path) -> Path:
    """A directory with the files that the README shows, and what it takes for granted."""
    for name, content in FILES.findall(README):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    (tmp_path / "shop" / "accounts.py").write_text(ACCOUNTS)
    settings = tmp_path / "settings.py"
    settings.write_text(settings.read_text() + SITE)
    return tmp_path


def set_up(shop: Path, address: str) -> dict[str, str]:
    """Paste what the README does on the platform; return the environment that it exports."""
    blocks = re.findall(r"^```sh\n(.*?)^```", README, re.MULTILINE | re.DOTALL)
    block = next(block for block in blocks if "load_catalog" in block)
    assert ADDRESS in block
    manage = f"{sys.executable} {programs.ROOT / 'manage.py'}"
    script = block.replace(".venv/bin/python manage.py", manage).replace(ADDRESS, address)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", f"{script}\nenv | grep ^COUNTINGHOUSE_"],
        cwd=shop,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(re.findall(r"^(COUNTINGHOUSE_\w+)=(.*)$", done.stdout, re.MULTILINE))


def run(shop: Path, code: str, exported: dict[str, str]) -> None:
    """Run an example's requests in a process of its own, to its normal exit."""
    path = os.pathsep.join((str(shop), str(programs.PACKAGE)))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=shop,
        env={**os.environ, **exported, "PYTHONPATH": path, "DJANGO_SETTINGS_MODULE": "settings"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Error" not in done.stderr


def counted(meter: str) -> int:
    with rls.ops_scope("test: read usage"):
        organization = tenants.find_organization("acme")
    assert organization is not None
    return int(today(organization, meter))


def test_every_example_counts_what_it_says(shop: Path) -> None:
    platform = Platform()
    platform.start()
    try:
        exported = set_up(shop, platform.address)
        run(shop, "import plain", exported)
        assert counted("data_exports") == 1
        visits = ((VISIT_DJANGO, 2), (VISIT_FASTAPI, 3), (VISIT_FLASK, 4), (VISIT_GUARDED, 5))
        for visit, total in visits:
            run(shop, visit, exported)
            assert counted("api_requests") == total
        run(shop, EXPORT, exported)
        assert counted("data_exports") == 10
        run(shop, INSTALL, exported)
    finally:
        platform.kill()


@pytest.mark.parametrize("described", [UsageOptions, RequestTracker, AccessOptions])
def test_every_option_is_explained(described: type) -> None:
    named = [name for name in inspect.signature(described).parameters if name != "client"]
    assert [name for name in named if f"`{name}`" not in README] == []
