"""The public keys of issuers: from a PEM, or from a key set (RFC 7517) fetched and kept.

An issuer that is down must not lock anybody out, and nobody may make us ask it again and again:
a set is served for as long as 24 hours after it was last fetched, renewed behind the requests' back
every five minutes, and asked for at most once in 30 seconds, whatever key ids tokens name.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.request import HTTPRedirectHandler, Request, build_opener

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from apps.tenants.errors import InvalidToken, KeysUnavailable

log = logging.getLogger(__name__)

FRESH = timedelta(minutes=5)
STALE = timedelta(hours=24)
PAUSE = timedelta(seconds=30)
BEHIND = timedelta(hours=1)  # further back than a request can be, the clock was set
TIMEOUT_SECONDS = 2.0
MOST_BYTES = 262_144
MOST_KEYS = 100
SMALLEST_RSA = 2048
PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey


class UnfitKey(ValueError):
    """A key that no token may be signed with; the message says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """A public key and the one algorithm that it verifies."""

    algorithm: str
    public: PublicKey


def key_of(public: object) -> Key:
    """Return the key with its algorithm: RS256, ES256 or EdDSA. Raises UnfitKey."""
    match public:
        case RSAPublicKey() if public.key_size >= SMALLEST_RSA:
            return Key("RS256", public)
        case EllipticCurvePublicKey() if isinstance(public.curve, SECP256R1):
            return Key("ES256", public)
        case Ed25519PublicKey():
            return Key("EdDSA", public)
    raise UnfitKey("A key is RSA of at least 2048 bits, on the curve P-256, or Ed25519.")


def key_of_pem(pem: str) -> Key:
    """Return the key of a PEM; one in a single line may spell out its line ends."""
    try:
        public = load_pem_public_key(pem.replace("\\n", "\n").strip().encode())
    except (ValueError, UnsupportedAlgorithm):
        raise UnfitKey("This is no public key in PEM.") from None
    return key_of(public)


def keys_of(document: object) -> Mapping[str, Key]:
    """Return the keys of a key set that sign, by id; others, and unfit ones, are passed over.

    Raises UnfitKey for what is no key set.
    """
    rows = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(rows, list) or len(rows) > MOST_KEYS:
        raise UnfitKey("This is no key set.")
    found: dict[str, Key] = {}
    for row in rows:
        if isinstance(row, dict) and isinstance(row.get("kid"), str) and _signs(row):
            key = _key_of_row(row)
            if key is not None and row.get("alg", key.algorithm) == key.algorithm:
                found.setdefault(row["kid"], key)
    return found


def _signs(row: Mapping[str, Any]) -> bool:
    operations = row.get("key_ops", ["verify"])
    verifies = isinstance(operations, list) and "verify" in operations
    return row.get("use", "sig") == "sig" and verifies


def _key_of_row(row: Mapping[str, Any]) -> Key | None:
    try:
        return key_of(jwt.PyJWK({name: row[name] for name in row if name != "alg"}).key)
    except (jwt.PyJWTError, UnfitKey, ValueError, TypeError) as error:
        log.warning("jwk_passed_over", extra={"why": type(error).__name__})
        return None


def is_fit_address(url: str, *, encrypted: bool) -> bool:
    """Tell whether a key set may be fetched from there: over https alone where `encrypted`."""
    return url.startswith("https://" if encrypted else ("https://", "http://"))


class _NoRedirects(HTTPRedirectHandler):
    """Keys come from the address that staff entered, not from where it points."""

    def redirect_request(
        self, req: Request, fp: IO[bytes], code: int, msg: str, headers: HTTPMessage, newurl: str
    ) -> None:
        """Follow nowhere; the answer then counts as an error."""


_opener = build_opener(_NoRedirects)


def fetch(url: str) -> Mapping[str, Key]:
    """Return the keys that an issuer publishes. Raises KeysUnavailable, after 2 seconds at most."""
    try:
        return keys_of(json.loads(_body(url)))
    except (OSError, HTTPException, ValueError, RecursionError) as error:
        log.warning("jwks_unavailable", extra={"url": url, "why": repr(error)[:200]})
        raise KeysUnavailable("The token's issuer does not show its keys; try again.") from None


def _body(url: str) -> bytes:
    """Read it whole before the deadline: a time-out of its own would start anew at each byte."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    request = Request(url, headers={"Accept": "application/json"})  # noqa: S310 - checked when it was entered
    found = bytearray()
    with _opener.open(request, timeout=TIMEOUT_SECONDS) as reply:
        while piece := reply.read1(65_536):
            found += piece
            if len(found) > MOST_BYTES or time.monotonic() > deadline:
                raise ValueError("the key set is too long or comes too slowly")
    return bytes(found)


@dataclass(slots=True)
class _Shelf:
    """What is known of one address. The lock is never held while the issuer is asked."""

    keys: Mapping[str, Key] = field(default_factory=dict)
    fetched_at: datetime | None = None
    asked_at: datetime | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)
    first: threading.Event = field(default_factory=threading.Event)

    def age(self, at: datetime) -> timedelta:
        """Return how old the keys are; without any, older than can be served."""
        return timedelta.max if self.fetched_at is None else at - self.fetched_at

    def takes_turn(self, at: datetime) -> bool:
        """Tell whether the caller shall ask the issuer now: one of all, once in 30 seconds."""
        with self.lock:
            if self.asked_at is not None and -BEHIND < at - self.asked_at < PAUSE:
                return False
            self.asked_at = at
            return True


class KeySets:
    """The key sets of this process, by address."""

    def __init__(self, fetch: Callable[[str], Mapping[str, Key]] = fetch) -> None:
        self._fetch = fetch
        self._shelves: dict[str, _Shelf] = {}

    def key(self, url: str, key_id: str, *, at: datetime) -> Key:
        """Return an issuer's key.

        Raises InvalidToken when the issuer does not publish it, and KeysUnavailable when nobody
        has been able to ask for 24 hours.
        """
        shelf = self._shelves.setdefault(url, _Shelf())
        if shelf.age(at) > STALE:
            self._wait_for_keys(url, shelf, at)
        elif shelf.age(at) > FRESH and shelf.takes_turn(at):
            threading.Thread(target=self._renew, args=(url, shelf, at), daemon=True).start()
        found = shelf.keys.get(key_id)
        if found is None and shelf.takes_turn(at):  # perhaps the issuer has just rotated
            self._renew(url, shelf, at)
            found = shelf.keys.get(key_id)
        if found is None:
            raise InvalidToken("The token's key is none that its issuer publishes.")
        return found

    def _wait_for_keys(self, url: str, shelf: _Shelf, at: datetime) -> None:
        if shelf.takes_turn(at):
            self._renew(url, shelf, at)
        else:
            shelf.first.wait(TIMEOUT_SECONDS)
        if shelf.age(at) > STALE:
            raise KeysUnavailable("The token's issuer does not show its keys; try again.")

    def _renew(self, url: str, shelf: _Shelf, at: datetime) -> None:
        try:
            keys = self._fetch(url)
        except KeysUnavailable:
            return  # told in the log; what is on the shelf stays
        finally:
            shelf.first.set()
        shelf.keys, shelf.fetched_at = keys, at


KEY_SETS = KeySets()
