"""The keys that sign: made, adopted, taking their turn, and sealed anew."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection, transaction
from django.db.models import Max

from apps.audit import services as audit
from apps.core import crypto, rls
from apps.core.actor import Actor, require, system
from apps.core.errors import Conflict
from apps.licensing import selectors, signer
from apps.licensing.models import License, SigningKey
from apps.licensing.selectors import PublicKey
from apps.licensing.services.revoking import revoke_good
from apps.licensing.signer import KeyPair

Status = SigningKey.Status
ONE_AT_A_TIME = 0x6C6963  # the advisory lock of whoever changes which key signs
LIST_LASTS = timedelta(days=7)


@transaction.atomic
def generate_signing_key(algorithm: str, *, actor: Actor, at: datetime) -> SigningKey:
    """Make a key: the one that signs when there is none, else the next, published ahead of its
    turn. Needs the ops scope. Raises Conflict when there is a next one already.
    """
    require("manage_platform", actor=actor)
    _take_turns()
    return _add(signer.generate(algorithm), actor=actor, at=at)


@transaction.atomic
def adopt_signing_key(
    private_pem: str, *, public_pem: str = "", actor: Actor, at: datetime
) -> SigningKey:
    """Take over a key that was made elsewhere, as `generate_signing_key` would one of its own.

    Needs the ops scope. Safe to repeat. Raises UnusableKey, Conflict.
    """
    require("manage_platform", actor=actor)
    pair = signer.read_pair(private_pem, public_pem)
    _take_turns()
    known = SigningKey.objects.filter(kid=pair.kid).first()
    return known or _add(pair, actor=actor, at=at)


@transaction.atomic
def rotate_signing_key(
    algorithm: str = "", *, compromised: bool = False, actor: Actor, at: datetime
) -> SigningKey:
    """Let the next key sign from now on: the one that waits, or a new one (of the same kind).

    What the old key signed stays good until it ends, and the key stays published as long. One that
    is `compromised` is withdrawn at once: nothing that it signed is good any more, and everybody
    gets a licence by the new key with the next request. Needs the ops scope.
    """
    require("manage_platform", actor=actor)
    _take_turns()
    old, new = _one(Status.SIGNING), _one(Status.NEXT)
    if new is not None and algorithm not in ("", new.algorithm):
        raise Conflict(f"The next key is of {new.algorithm}; rotate to that one first.")
    if old is not None:
        _retire(old, compromised=compromised, actor=actor, at=at)
    if new is None:
        kind = algorithm or (signer.RS256 if old is None else old.algorithm)
        return _add(signer.generate(kind), actor=actor, at=at)
    new.status, new.signs_from = Status.SIGNING, at
    new.save(update_fields=["status", "signs_from"])
    _record("signing_key.promoted", new, actor=actor, at=at)
    return new


@transaction.atomic
def reseal_signing_keys(*, actor: Actor, at: datetime) -> int:
    """Seal every private key with the first of ENCRYPTION_KEYS; return how many. Safe to repeat.

    Needs the ops scope. Raises `crypto.CannotOpen`, and then nothing was changed.
    """
    require("manage_platform", actor=actor)
    _take_turns()
    rows = SigningKey.objects.select_for_update().order_by("id")
    for row in rows:
        row.sealed_private_pem = crypto.resealed(row.sealed_private_pem)
        row.save(update_fields=["sealed_private_pem"])
        _record("signing_key.resealed", row, actor=actor, at=at)
    return len(rows)


def signed(claims: Mapping[str, Any], key: SigningKey, *, kind: str = signer.LICENSE_TYPE) -> str:
    """Return the token of these claims, by this key."""
    return signer.sign(
        claims, kid=key.kid, algorithm=key.algorithm, sealed=key.sealed_private_pem, kind=kind
    )


def sign_revocations(at: datetime) -> str:
    """Return the list of revoked licences that would be good otherwise, as a signed token.

    It carries ids and times, and says until when it may be gone by. The first one makes the first
    key, where there is none.
    """
    with rls.ops_scope("licences: revocation list"):
        revoked = selectors.revocations(at)
        key = signing_key(at)
    claims = {
        "iss": settings.API_BASE_URL,
        "iat": int(at.timestamp()),
        "exp": int((at + LIST_LASTS).timestamp()),
        "revoked": [
            {"jti": license_id, "revokedAt": int(when.timestamp())} for license_id, when in revoked
        ],
    }
    return signed(claims, key, kind=signer.REVOCATIONS_TYPE)


def published_keys(at: datetime) -> list[PublicKey]:
    """Return the keys that licences may be checked with, the one that signs first.

    Whoever asks before there is one makes the first: installations are given it ahead.
    """
    return selectors.public_keys(at) or _with_first(at)


def _with_first(at: datetime) -> list[PublicKey]:
    signing_key(at)
    return selectors.public_keys(at)


def signing_key(at: datetime) -> SigningKey:
    """Return the key that signs. The first licence makes the first key, when nobody has."""
    with rls.ops_scope("licences: the key that signs"):
        found = _one(Status.SIGNING)
        if found is not None:
            return found
        _take_turns()
        return _one(Status.SIGNING) or _first(at)


def _first(at: datetime) -> SigningKey:
    actor = system("licensing")
    given = settings.LICENSE_PRIVATE_KEY
    if given:
        public_pem = settings.LICENSE_PUBLIC_KEY
        return adopt_signing_key(given, public_pem=public_pem, actor=actor, at=at)
    return generate_signing_key(signer.RS256, actor=actor, at=at)


def _one(status: str) -> SigningKey | None:
    return SigningKey.objects.filter(status=status).first()


def _take_turns() -> None:
    """Wait for whoever else changes which key signs; until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [ONE_AT_A_TIME])


def _add(pair: KeyPair, *, actor: Actor, at: datetime) -> SigningKey:
    signs = _one(Status.SIGNING) is None
    if not signs and _one(Status.NEXT) is not None:
        raise Conflict("There is a next key already; rotate to it first.")
    if SigningKey.objects.filter(kid=pair.kid).exists():
        raise Conflict("This key was used before; make another.")
    row = SigningKey.objects.create(
        kid=pair.kid,
        algorithm=pair.algorithm,
        public_pem=pair.public_pem,
        sealed_private_pem=crypto.seal(pair.private_pem),
        status=Status.SIGNING if signs else Status.NEXT,
        made_at=at,
        signs_from=at if signs else None,
    )
    _record("signing_key.made", row, actor=actor, at=at)
    return row


def _retire(row: SigningKey, *, compromised: bool, actor: Actor, at: datetime) -> None:
    last = License.objects.filter(key=row).aggregate(last=Max("ends_at"))["last"]
    row.status = Status.WITHDRAWN if compromised else Status.RETIRED
    row.retired_at = at
    # The list of revoked licences that it signed last may be gone by as long.
    row.published_until = at if compromised else max(last or at, at + LIST_LASTS)
    row.save(update_fields=["status", "retired_at", "published_until"])
    _record("signing_key.retired", row, actor=actor, at=at)
    if compromised:
        signed_by_it = License.objects.filter(key=row)
        revoke_good(signed_by_it, because="its key was compromised", actor=actor, at=at)


def _record(action: str, row: SigningKey, *, actor: Actor, at: datetime) -> None:
    after = {"algorithm": row.algorithm, "status": row.status, "kid": row.kid}
    audit.record(action=action, target=row.kid[:60], actor=actor, at=at, after=after)
