"""Keys and signatures: the only module that touches either. PyJWT and cryptography do the work.

Parsed keys stay in the process: reading an RSA key from its PEM takes a hundred times as long as
signing with it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import (
    RSAPrivateKey,
    RSAPublicKey,
    generate_private_key,
)
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt.algorithms import OKPAlgorithm, RSAAlgorithm

from apps.core import crypto
from apps.licensing.errors import UnusableKey

RS256, EDDSA = "RS256", "EdDSA"
BITS, EXPONENT = 2048, 65537
LICENSE_TYPE, REVOCATIONS_TYPE = "licence+jwt", "licence-revocations+jwt"
THUMBPRINT = {"RSA": ("e", "kty", "n"), "OKP": ("crv", "kty", "x")}  # RFC 7638, RFC 8037
# Times are judged against whose clock it is, which a library cannot know.
SIGNATURE_ONLY = {
    f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "iss", "sub", "jti")
}

PrivateKey = RSAPrivateKey | Ed25519PrivateKey
PublicKey = RSAPublicKey | Ed25519PublicKey


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A pair as PEM, PKCS #8 and SubjectPublicKeyInfo."""

    algorithm: str
    kid: str
    private_pem: str
    public_pem: str


class BadSignature(Exception):
    """The token was not signed by this key, or was signed otherwise than the key signs."""


def generate(algorithm: str) -> KeyPair:
    """Make a pair: RSA of 2048 bits, or Ed25519."""
    if algorithm == EDDSA:
        return _pair(Ed25519PrivateKey.generate())
    return _pair(generate_private_key(EXPONENT, BITS))


def read_pair(private_pem: str, public_pem: str = "") -> KeyPair:
    """Read a private key without a password, and hold it against its public half if that is given.

    Raises UnusableKey.
    """
    try:
        key = load_pem_private_key(private_pem.encode(), password=None)
    except (ValueError, TypeError):
        raise UnusableKey("This is no private key in PEM without a password.") from None
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise UnusableKey("Licences are signed with an RSA or an Ed25519 key.")
    if isinstance(key, RSAPrivateKey) and key.key_size < BITS:
        raise UnusableKey(f"An RSA key has {BITS} bits or more; this one has {key.key_size}.")
    pair = _pair(key)
    if public_pem and _public_text(public_pem) != pair.public_pem:
        raise UnusableKey("The public key is not this private key's.")
    return pair


def jwk(kid: str, algorithm: str, public_pem: str) -> dict[str, str]:
    """Return the public key as a JSON Web Key (RFC 7517)."""
    return {**_members(_public(public_pem)), "use": "sig", "alg": algorithm, "kid": kid}


def sign(
    claims: Mapping[str, Any], *, kid: str, algorithm: str, sealed: str, kind: str = LICENSE_TYPE
) -> str:
    """Return the compact token of these claims. Raises `crypto.CannotOpen`."""
    headers = {"kid": kid, "typ": kind}
    return jwt.encode(dict(claims), _private(sealed), algorithm=algorithm, headers=headers)


def header_of(token: str) -> Mapping[str, Any]:
    """Return what the token says of itself, unchecked. Raises BadSignature for what is none."""
    try:
        return jwt.get_unverified_header(token)
    except jwt.PyJWTError as error:
        raise BadSignature(str(error)) from None


def claims_of(token: str, *, algorithm: str, public_pem: str) -> dict[str, Any]:
    """Return the claims that the key signed; times are for the caller to judge.

    Raises BadSignature.
    """
    try:
        return jwt.decode(
            token,
            _public(public_pem),
            algorithms=[algorithm],
            options=SIGNATURE_ONLY,  # type: ignore[arg-type] # a TypedDict of these very keys
        )
    except jwt.PyJWTError as error:
        raise BadSignature(str(error)) from None


def _pair(key: PrivateKey) -> KeyPair:
    public = key.public_key()
    algorithm = RS256 if isinstance(key, RSAPrivateKey) else EDDSA
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return KeyPair(algorithm, _thumbprint(public), private_pem.decode(), _pem(public))


def _pem(key: PublicKey) -> str:
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _public_text(pem: str) -> str:
    try:
        return _pem(_public(pem))
    except (ValueError, TypeError):
        raise UnusableKey("This is no RSA or Ed25519 public key in PEM.") from None


def _members(key: PublicKey) -> dict[str, str]:
    if isinstance(key, RSAPublicKey):
        found = RSAAlgorithm.to_jwk(key, as_dict=True)
    else:
        found = OKPAlgorithm.to_jwk(key, as_dict=True)
    return {name: str(value) for name, value in dict(found).items() if name != "key_ops"}


def _thumbprint(key: PublicKey) -> str:
    """Return the key's name: a digest of what it is, so that the same key has the same name."""
    members = _members(key)
    said = {name: members[name] for name in THUMBPRINT[members["kty"]]}
    digest = hashlib.sha256(json.dumps(said, separators=(",", ":"), sort_keys=True).encode())
    return base64.urlsafe_b64encode(digest.digest()).rstrip(b"=").decode()


@lru_cache(maxsize=8)
def _private(sealed: str) -> PrivateKey:
    key = load_pem_private_key(crypto.opened(sealed).encode(), password=None)
    if not isinstance(key, RSAPrivateKey | Ed25519PrivateKey):
        raise TypeError("a key of another kind was stored")
    return key


@lru_cache(maxsize=32)
def _public(pem: str) -> PublicKey:
    key = load_pem_public_key(pem.encode())
    if not isinstance(key, RSAPublicKey | Ed25519PublicKey):
        raise TypeError("a key of another kind")
    return key
