"""Secrets at rest: sealed with the first of ENCRYPTION_KEYS, opened with any of them.

A new key is put in front of the others; `resealed` moves what is stored over to it, and then the
old one may go. Fernet: AES-128-CBC with HMAC-SHA256, from the cryptography package.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from functools import lru_cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from django.conf import settings

PURPOSE = b"countinghouse: secrets at rest"


class CannotOpen(Exception):
    """None of ENCRYPTION_KEYS opens what is stored: the key that sealed it is missing."""


def seal(secret: str) -> str:
    """Return the secret as it may be stored."""
    return _box().encrypt(secret.encode()).decode("ascii")


def opened(sealed: str) -> str:
    """Return the secret that `seal` was given. Raises CannotOpen."""
    try:
        return _box().decrypt(sealed.encode()).decode()
    except InvalidToken:
        raise CannotOpen("None of ENCRYPTION_KEYS opens it; put back the one it had.") from None


def opens(sealed: str) -> bool:
    """Tell whether one of ENCRYPTION_KEYS opens it."""
    try:
        opened(sealed)
    except CannotOpen:
        return False
    return True


def resealed(sealed: str) -> str:
    """Return the same secret sealed with the first key. Raises CannotOpen."""
    return seal(opened(sealed))


def _box() -> MultiFernet:
    return _box_of(tuple(settings.ENCRYPTION_KEYS))


@lru_cache(maxsize=4)
def _box_of(keys: Sequence[str]) -> MultiFernet:
    return MultiFernet([Fernet(_derived(key)) for key in keys])


def _derived(key: str) -> bytes:
    """Return a Fernet key made of a random text of any form (HKDF, RFC 5869)."""
    derive = HKDF(SHA256(), length=32, salt=None, info=PURPOSE)
    return base64.urlsafe_b64encode(derive.derive(key.encode()))
