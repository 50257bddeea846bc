"""Licences, checked where the product runs: by the public key, without a network.

    validator = LicenceValidator.cached("/var/lib/shop/licence", base_url=URL, instance="plant-1")
    validator.refresh()                      # now and then, where there is a network
    licence = validator.validate(token)      # never asks anybody
    if licence.feature("canExportData"): ...

Needs the extra: `pip install 'countinghouse[licence]'`. PyJWT and cryptography check signatures;
nothing here does cryptography of its own.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from countinghouse.errors import (
    BadSignature,
    ConnectionFailed,
    LicenceError,
    LicenceExpired,
    LicenceNotYetValid,
    LicenceRevoked,
    MalformedLicence,
    RevocationsOutdated,
    UnknownKey,
    WrongInstance,
)

KEYS, REVOCATIONS = "licence-keys.json", "licence-revocations.jwt"
LICENCE_TYPE, REVOCATIONS_TYPE = "licence+jwt", "licence-revocations+jwt"
LEEWAY = 60.0  # seconds that clocks may differ
LARGEST = 4 * 1024 * 1024
TIMEOUT = 10.0
PEM = re.compile(r"-----BEGIN PUBLIC KEY-----.+?-----END PUBLIC KEY-----", re.DOTALL)
# Times and audiences are judged here, by the validator's own clock; the library checks signatures.
SIGNATURE_ONLY: Any = {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}


class Key(NamedTuple):
    """A public key and the one algorithm that it is good for; a PEM has no id."""

    kid: str
    algorithm: str
    public: RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class Licence:
    """What an installation may do. `in_grace`: good, and it ought to have been renewed."""

    claims: Mapping[str, Any]
    in_grace: bool

    @property
    def id(self) -> str:
        """Its id, by which it is revoked."""
        return str(self.claims["jti"])

    @property
    def customer(self) -> str:
        """The customer's id."""
        return str(self.claims["customerId"])

    @property
    def plan(self) -> str:
        """The plan's code."""
        return str(self.claims["plan"])

    @property
    def status(self) -> str:
        """How the subscription stood when it was signed."""
        return str(self.claims["subscription"]["status"])

    @property
    def expires_at(self) -> float:
        """When it ought to be renewed, in seconds since 1970."""
        return float(self.claims["expiresAt"])

    @property
    def ends_at(self) -> float:
        """When its grace is over."""
        return float(self.claims["exp"])

    def feature(self, name: str) -> Any:
        """Return what is granted: a flag, a number, a text; None: no limit; False: nothing."""
        return self.claims["features"].get(name, False)

    def limit(self, name: str) -> int | None:
        """Return the limit; None: there is none; 0 for what the licence does not name."""
        found = self.claims["limits"].get(name, 0)
        return None if found is None else int(found)

    def allows(self, name: str, amount: int = 1) -> bool:
        """Tell whether so much of a feature or limit is granted in all."""
        both = {**self.claims["features"], **self.claims["limits"]}
        found = both.get(name, False)
        if isinstance(found, bool) or found is None:
            return found is not False
        return not isinstance(found, int) or amount <= found


@dataclass(frozen=True, slots=True)
class Revocations:
    """Ids of revoked licences; the platform answers for them until `good_until`."""

    ids: frozenset[str]
    issued_at: float
    good_until: float


class LicenceValidator:
    """Checks licences by keys at hand. Safe to share between threads.

    `instance` is the name of this installation: a licence for another one is refused, and one for
    any is taken unless `bound`. `issuer` is the platform's address, checked where it is given.
    `leeway` are the seconds that clocks may differ. With `fresh_revocations` a licence is refused
    when the list of revoked ones is missing or outdated; else what is at hand counts.
    """

    def __init__(
        self,
        keys: Sequence[Key],
        *,
        revocations: str = "",
        instance: str = "",
        bound: bool = False,
        issuer: str = "",
        leeway: float = LEEWAY,
        fresh_revocations: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keys = list(keys)
        self._instance, self._bound, self._issuer = instance, bound, issuer
        self._leeway, self._fresh, self._clock = leeway, fresh_revocations, clock
        self._directory: Path | None = None
        self._base_url = ""
        self._revocations = self._read_list(revocations) if revocations else None

    @classmethod
    def from_pem(cls, pem: str, **options: Any) -> LicenceValidator:
        """Check by a public key in PEM, or several one after the other. Raises ValueError."""
        return cls(_pem_keys(pem), **options)

    @classmethod
    def from_jwks(cls, document: str | bytes, **options: Any) -> LicenceValidator:
        """Check by a JSON Web Key Set. Raises ValueError."""
        return cls(_jwks_keys(document), **options)

    @classmethod
    def cached(
        cls, directory: str | os.PathLike[str], *, base_url: str = "", **options: Any
    ) -> LicenceValidator:
        """Check by what is kept in a directory; `refresh` brings it up to date.

        The directory may also be filled by hand, with the two files of the platform's
        `/.well-known/`, where there is no network at all.
        """
        found = cls([], **options)
        found._directory, found._base_url = Path(directory), base_url.rstrip("/")
        found._load()
        return found

    def refresh(self) -> None:
        """Fetch keys and revocations and keep them; without success all stays as it was.

        Raises ConnectionFailed, and ValueError or BadSignature for an answer that is no such thing.
        """
        if self._directory is None or urlsplit(self._base_url).scheme not in ("http", "https"):
            raise ValueError("refresh() needs a validator of a directory, with base_url")
        keys = _fetched(f"{self._base_url}/.well-known/{KEYS}")
        listed = _fetched(f"{self._base_url}/.well-known/{REVOCATIONS}").decode("ascii")
        known, self._keys = self._keys, _jwks_keys(keys)
        try:
            found = self._read_list(listed)
        except Exception:
            self._keys = known
            raise
        if self._revocations is None or found.issued_at >= self._revocations.issued_at:
            self._revocations = found
            _keep(self._directory / REVOCATIONS, listed.encode())
        _keep(self._directory / KEYS, keys)

    def validate(self, token: str) -> Licence:
        """Return what the licence grants, or raise one of the LicenceError: never asks anybody."""
        claims = self._signed(token.strip(), LICENCE_TYPE)
        if not _is_complete(claims):
            raise MalformedLicence("The licence lacks claims.")
        now = self._clock()
        self._judge_times(claims, now)
        self._judge_owner(claims)
        self._judge_revocation(claims, now)
        return Licence(claims, in_grace=now >= claims["expiresAt"] + self._leeway)

    def _judge_times(self, claims: Mapping[str, Any], now: float) -> None:
        if now < claims["nbf"] - self._leeway:
            raise LicenceNotYetValid("The licence is not valid yet: is this clock behind?")
        if now >= claims["exp"] + self._leeway:
            raise LicenceExpired("The licence has expired, and its grace is over.")

    def _judge_owner(self, claims: Mapping[str, Any]) -> None:
        audience = claims.get("aud")
        if audience is None and self._bound:
            raise WrongInstance("The licence is for any instance, and one for this is wanted.")
        if audience is not None and self._instance not in _audiences(audience):
            raise WrongInstance(f"The licence is for the instance {audience}.")
        if self._issuer and claims.get("iss") != self._issuer:
            raise UnknownKey("The licence is of another platform.")

    def _judge_revocation(self, claims: Mapping[str, Any], now: float) -> None:
        known = self._revocations
        if known is not None and claims["jti"] in known.ids:
            raise LicenceRevoked("The licence was revoked; fetch another.")
        if self._fresh and (known is None or now >= known.good_until + self._leeway):
            raise RevocationsOutdated("The list of revoked licences is missing or outdated.")

    def _signed(self, token: str, kind: str) -> Mapping[str, Any]:
        for key in self._keys:
            try:  # the algorithm is the key's own: what the token says of it does not count
                found = jwt.decode_complete(
                    token, key.public, algorithms=[key.algorithm], options=SIGNATURE_ONLY
                )
            except jwt.PyJWTError:
                continue
            if found["header"].get("typ") != kind:
                raise MalformedLicence(f"This is no {kind}.")
            return dict(found["payload"])
        raise self._why_not(token, kind)

    def _why_not(self, token: str, kind: str) -> LicenceError:
        """Return why no key at hand signed it."""
        try:
            header = jwt.get_unverified_header(token)
        except jwt.PyJWTError as error:
            return MalformedLicence(str(error))
        if header.get("typ") != kind:
            return MalformedLicence(f"This is no {kind}.")
        if not any(key.kid in ("", header.get("kid")) for key in self._keys):
            return UnknownKey("No key at hand signed this: refresh, or give this instance the key.")
        return BadSignature("The signature is not by this key.")

    def _read_list(self, token: str) -> Revocations:
        claims = self._signed(token.strip(), REVOCATIONS_TYPE)
        ids = frozenset(str(one["jti"]) for one in claims["revoked"])
        return Revocations(ids, float(claims["iat"]), float(claims["exp"]))

    def _load(self) -> None:
        """Read the directory; what is not there yet is not there."""
        keys, listed = self._file(KEYS), self._file(REVOCATIONS)
        if keys is not None:
            self._keys = _jwks_keys(keys)
        if listed is not None and self._keys:
            self._revocations = self._read_list(listed.decode("ascii"))

    def _file(self, name: str) -> bytes | None:
        path = Path(self._directory or "") / name
        return path.read_bytes() if path.is_file() else None


def _is_complete(claims: Mapping[str, Any]) -> bool:
    numbers = all(isinstance(claims.get(name), int) for name in ("nbf", "exp", "expiresAt"))
    texts = all(isinstance(claims.get(name), str) for name in ("jti", "plan", "customerId"))
    objects = ("features", "limits", "subscription")
    return numbers and texts and all(isinstance(claims.get(name), dict) for name in objects)


def _audiences(audience: object) -> Sequence[object]:
    return audience if isinstance(audience, list) else [audience]


def _pem_keys(pem: str) -> list[Key]:
    found = [_key("", load_pem_public_key(block.encode())) for block in PEM.findall(pem)]
    if not found:
        raise ValueError("there is no public key in this PEM")
    return found


def _jwks_keys(document: str | bytes) -> list[Key]:
    keys = json.loads(document)["keys"]
    return [_key(str(one["kid"]), jwt.PyJWK(one).key) for one in keys]


def _key(kid: str, public: object) -> Key:
    if isinstance(public, RSAPublicKey):
        return Key(kid, "RS256", public)
    if isinstance(public, Ed25519PublicKey):
        return Key(kid, "EdDSA", public)
    raise ValueError("licences are signed with RSA or Ed25519 keys")


def _fetched(url: str) -> bytes:
    request = urllib.request.Request(url, headers={"Accept": "*/*"})  # noqa: S310 - http(s) only
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:  # noqa: S310 - as above
            content: bytes = answer.read(LARGEST)
            return content
    except OSError as error:
        raise ConnectionFailed(f"{type(error).__name__}: {error}") from error


def _keep(path: Path, content: bytes) -> None:
    """Put the file there whole, whatever happens meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(name, path)
