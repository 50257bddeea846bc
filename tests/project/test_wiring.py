from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import LazySettings, settings
from django.test import Client, RequestFactory

from apps.core import live
from billing_project import environment, health

ROOT = Path(__file__).parents[2]


def test_the_example_environment_lists_every_variable() -> None:
    assert (ROOT / ".env.example").read_text() == environment.example()


def test_the_settings_read_the_environment_through_the_table_only() -> None:
    text = (ROOT / "billing_project" / "settings.py").read_text()
    assert "getenv" not in text
    assert text.count("os.environ") == 1  # whether manage.py has started the embedded database


def test_a_secret_may_come_from_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("s3cret\n")
    assert environment.read("SECRET_KEY", {"SECRET_KEY_FILE": str(secret)}) == "s3cret"


def test_a_variable_beats_its_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("file")
    found = {"SECRET_KEY": "given", "SECRET_KEY_FILE": str(tmp_path / "secret")}
    assert environment.read("SECRET_KEY", found) == "given"


@pytest.mark.parametrize("word", ["maybe", "2"])
def test_a_truth_value_is_true_or_false(monkeypatch: pytest.MonkeyPatch, word: str) -> None:
    monkeypatch.setenv("SECURE_SSL", word)
    with pytest.raises(ValueError, match="SECURE_SSL must be true or false"):
        environment.read_bool("SECURE_SSL")


def test_health_touches_nothing(client: Client) -> None:
    response = client.get("/health")
    assert (response.status_code, response.json()) == (200, {"status": "ok"})
    assert response["X-Request-Id"].startswith("req_")


def test_ready_names_every_dependency(client: Client, db: None) -> None:
    response = client.get("/ready")
    assert response.json() == {
        "status": "ok",
        "dependencies": dict.fromkeys(health.CHECKS, "ok"),
    }


def test_a_failing_dependency_is_named_and_its_reason_is_not(
    client: Client, db: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> bool:
        raise ConnectionError("secret-host refused")

    monkeypatch.setitem(health.CHECKS, "broker", broken)
    response = client.get("/ready")
    assert response.status_code == 503
    assert response.json()["dependencies"]["broker"] == "failing"
    assert "secret-host" not in response.content.decode()


def test_a_callers_request_id_comes_back(client: Client) -> None:
    response = client.get("/health", headers={"X-Request-Id": "trace-12345678"})
    assert response["X-Request-Id"] == "trace-12345678"


def test_a_malformed_request_id_is_replaced(client: Client) -> None:
    response = client.get("/health", headers={"X-Request-Id": "x\ty"})
    assert response["X-Request-Id"].startswith("req_")


def test_pages_forbid_foreign_content(client: Client) -> None:
    policy = client.get("/health")["Content-Security-Policy"]
    assert "default-src 'self'" in policy
    assert "unsafe" not in policy


def test_stripe_is_not_in_live_mode() -> None:
    assert settings.STRIPE_LIVE_MODE is False


@pytest.mark.parametrize("address", ["/portal/invoices/%00/", "/portal/?before=%00", "/admin/%00"])
def test_a_nul_byte_in_an_address_leads_nowhere(client: Client, db: None, address: str) -> None:
    assert client.get(address).status_code == 404


SAFE = {
    "ENVIRONMENT": "production",
    "SECRET_KEY": "x" * 60,
    "ENCRYPTION_KEYS": "y" * 32,
    "ALLOWED_HOSTS": "billing.example",
    "API_BASE_URL": "https://billing.example",
    "EMAIL_URL": "smtp+tls://u:p@mail.example:587",
}


def start_the_web(**changes: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import billing_project.wsgi"],
        cwd=ROOT,
        env={**os.environ, **SAFE, **changes},
        capture_output=True,
        text=True,
        check=False,
    )


def test_production_starts_on_safe_settings() -> None:
    assert start_the_web().returncode == 0


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"SECRET_KEY": ""}, "core.E001"),
        ({"ALLOWED_HOSTS": "*"}, "core.E002"),
        ({"ENCRYPTION_KEYS": f"{'y' * 32},short"}, "core.E007"),
        ({"DATABASE_URL": "owner"}, "core.E012"),
        ({"DATABASE_URL": "superuser"}, "is a superuser"),
    ],
)
def test_production_refuses_to_start_on_what_is_not_safe(
    changes: dict[str, str], told: str
) -> None:
    logins = {
        "owner": os.environ["DATABASE_OWNER_URL"],
        "superuser": os.environ["DATABASE_URL"].replace("//billing_app@", "//postgres@"),
    }
    changes = {key: logins.get(value, value) for key, value in changes.items()}
    refused = start_the_web(**changes)
    assert refused.returncode != 0
    assert told in refused.stderr


def test_a_worker_refuses_to_start_on_development_defaults() -> None:
    worker = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "billing_project", "worker", "--pool", "solo"],
        cwd=ROOT,
        env={**os.environ, **SAFE, "SECRET_KEY": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=45,
    )
    assert worker.returncode != 0
    assert "core.E001" in worker.stderr


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"live_url": "https://live.example", "live_port": 0}, "https://live.example/ws/org/org_1"),
        ({"live_url": "", "live_port": 8001}, "http://acme.test:8001/ws/org/org_1"),
        ({"live_url": "", "live_port": 0}, ""),
    ],
)
def test_pages_listen_where_they_are_told_to(
    rf: RequestFactory, settings: LazySettings, asked: dict[str, object], found: str
) -> None:
    settings.LIVE_URL, settings.LIVE_PORT = asked["live_url"], asked["live_port"]
    assert live.address(rf.get("/", headers={"Host": "acme.test:8000"}), "org_1") == found
