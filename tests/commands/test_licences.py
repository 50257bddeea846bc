"""Licences from the shell: keys, signing, verifying, revoking."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.commands.shell import run, run_json

pytestmark = pytest.mark.django_db


def test_a_licence_is_signed_verified_and_revoked(acme: str, tmp_path: Path) -> None:
    file = tmp_path / "licence.jwt"
    file.write_text(run("issue_license", acme, "--instance", "plant", "--format", "token").out)
    good = run("verify_license", str(file), "--instance", "plant", "--format", "json")
    assert (good.code, good.json["valid"], good.json["claims"]["aud"]) == (0, True, "plant")
    other = run("verify_license", str(file), "--instance", "office", "--format", "json")
    assert (other.code, other.json["reason"]) == (1, "wrong_instance")
    revoked = run_json("revoke_license", good.json["claims"]["jti"], "--because", "stolen")
    assert revoked["revoked_at"] is not None
    bad = run("verify_license", str(file), "--format", "json")
    assert (bad.code, bad.json["reason"]) == (1, "revoked")
    assert run("verify_license", str(file)).code == 1


def test_a_year_is_agreed_before_it_is_signed(acme: str) -> None:
    words = ("issue_license", acme, "--lifetime-days", "366", "--grace-days", "30")
    found = run_json(*words)["claims"]
    assert found["expiresAt"] - found["issuedAt"] == 366 * 86_400
    assert found["exp"] - found["expiresAt"] == 30 * 86_400
    assert run("issue_license", acme, "--lifetime-days", "30").code == 1
    assert run("issue_license", acme, "--lifetime-days", "367", "--grace-days", "0").code == 1


def test_keys_are_made_published_and_rotated(db: None, tmp_path: Path) -> None:
    public = tmp_path / "public-key.pem"
    [first] = run_json("generate_keys", "--public-key-file", str(public))
    assert public.read_text() == first["public_key"]
    signing, coming = run_json("generate_keys", "--algorithm", "EdDSA")
    assert (signing["kid"], coming["status"]) == (first["kid"], "next")
    now_signing, old = run_json("rotate_keys")
    assert (now_signing["kid"], now_signing["algorithm"]) == (coming["kid"], "EdDSA")
    assert (old["kid"], old["status"]) == (first["kid"], "retired")
    [only] = [one for one in run_json("rotate_keys", "--compromised") if one["status"] == "signing"]
    assert only["algorithm"] == "EdDSA"
    assert run_json("rotate_encryption_keys") == {"signing_keys": 3, "second_factors": 0}


def test_unknown_things_are_refused_in_one_line(db: None, tmp_path: Path) -> None:
    assert run("revoke_license", "lic_none").err == "There is no such licence."
    no_key = tmp_path / "no.pem"
    no_key.write_text("no key")
    refused = run("generate_keys", "--private-key", str(no_key))
    assert (refused.code, refused.err[:21]) == (1, "This is no private ke")
