"""How often somebody may try: counted in the cache, in windows of a fixed length."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from django.conf import settings
from django.core.cache import cache
from django.http import HttpRequest

from apps.core.errors import DomainError


class TooManyAttempts(DomainError):
    """There were too many attempts; `extra` says in how many seconds the next one may be made."""

    code = "too_many_attempts"
    status = 429


@dataclass(frozen=True, slots=True)
class Limit:
    """So many attempts in so many seconds, for each of whom it is asked about."""

    name: str
    attempts: int
    seconds: int

    def spend(self, who: str, *, at: datetime) -> None:
        """Count an attempt. Raises TooManyAttempts beyond the limit."""
        key = self._key(who, at)
        cache.add(key, 0, self.seconds)
        if cache.incr(key) > self.attempts:
            left = self.seconds - int(at.timestamp()) % self.seconds
            raise TooManyAttempts("Too many attempts; wait before the next one.", retry_after=left)

    def forgive(self, who: str, *, at: datetime) -> None:
        """Forget the attempts of this window: the last one was good."""
        cache.delete(self._key(who, at))

    def _key(self, who: str, at: datetime) -> str:
        """Return a key that tells nobody with a look into the cache who it was."""
        digest = sha256(who.encode()).hexdigest()
        return f"throttle:{self.name}:{digest}:{int(at.timestamp()) // self.seconds}"


def address_of(request: HttpRequest) -> str:
    """Return the address that a request comes from.

    Behind TRUSTED_PROXIES proxies it is what the outermost of them saw; whatever a client writes
    into X-Forwarded-For itself stands further left and is not read.
    """
    seen = [str(request.META.get("REMOTE_ADDR", ""))]
    if settings.TRUSTED_PROXIES:
        given = str(request.META.get("HTTP_X_FORWARDED_FOR", ""))
        seen = [part.strip() for part in given.split(",") if part.strip()][
            -settings.TRUSTED_PROXIES :
        ] or seen
    return seen[0][:64]
