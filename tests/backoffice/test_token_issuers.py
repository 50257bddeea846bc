"""Issuers of tokens in the admin and at the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.test import Client

from apps.tenants.models import TokenIssuer
from tests.backoffice.pages import acts, again, page, post, rows, url
from tests.commands.shell import run, run_json
from tests.issuers import pem_of, private_key
from tests.worlds import World

TERMS: dict[str, Any] = {
    "kind": "oidc",
    "application": "gateway",
    "audiences": "billing\nbilling-eu\n",
    "jwks_url": "https://id.example/jwks",
    "role_map": "kassenwart = BILLING_ADMIN",
}


def test_an_issuer_is_trusted_edited_and_disabled(admin: Client, world: World) -> None:
    made = post(admin, url(TokenIssuer, "create"), issuer="https://id.example", **TERMS)
    assert made.status_code == 302
    (row,) = rows(TokenIssuer)
    assert row.audiences == ["billing", "billing-eu"]
    assert row.role_map == {"kassenwart": "BILLING_ADMIN"}
    assert ("staff", "token_issuer.defined", row.public_id) in acts()
    form = admin.get(page(row, "edit")).context["form"]
    answers = {name: form[name].value() for name in form.fields}
    assert post(admin, page(row, "edit"), **{**answers, "audiences": "other"}).status_code == 302
    assert again(row).audiences == ["other"]
    assert post(admin, page(row, "disable")).status_code == 302
    assert again(row).disabled_at is not None
    assert admin.get(page(row)).status_code == 200


def test_one_that_would_let_anybody_in_is_refused(admin: Client, world: World) -> None:
    loose = {**TERMS, "audiences": "", "issuer": "https://id.example"}
    assert post(admin, url(TokenIssuer, "create"), **loose).status_code == 400
    assert rows(TokenIssuer) == []


def test_one_that_is_known_is_edited_instead(admin: Client, world: World) -> None:
    for status in (302, 409):
        made = post(admin, url(TokenIssuer, "create"), issuer="https://id.example", **TERMS)
        assert made.status_code == status


def test_the_command_trusts_and_disables(world: World, tmp_path: Path) -> None:
    file = tmp_path / "key.pem"
    file.write_text(pem_of(private_key("ES256")))
    named = ("trust_issuer", "https://id.example")
    made = run_json(*named, "--public-key", str(file), "--audience", "billing", "--role", "x=OWNER")
    assert made["disabled"] is False
    (row,) = rows(TokenIssuer)
    assert (row.role_map, row.audiences) == ({"x": "OWNER"}, ["billing"])
    assert run_json(*named, "--disable")["disabled"] is True
    mapped = ("map_external_user", "acme", "gateway", "user_2b")
    assert run_json(*mapped, "OWNER@acme.example")["user"] == world.owner.public_id
    assert run(*mapped, "nobody@acme.example").code == 1
    assert run("trust_issuer", "https://other.example", "--disable").code == 1
    assert run(*named, "--public-key", str(file)).code == 1
