"""The EU's register of VAT ids (VIES), asked over HTTP. Never inside a transaction.

https://ec.europa.eu/taxation_customs/vies/ : GET {VIES_URL}/ms/{prefix}/vat/{number}. A member
state that does not answer is reported with HTTP 200, `isValid` false and the reason in `userError`:
only INVALID and INVALID_INPUT say something about the number.
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured

from apps.tenants.models import Organization
from apps.tenants.vat import TaxNumber

log = logging.getLogger(__name__)

TIMEOUT_SECONDS = 10
MOST_BYTES = 65_536
ABOUT_THE_NUMBER = frozenset({"INVALID", "INVALID_INPUT"})
Status = Organization.TaxIdStatus


@dataclass(frozen=True, slots=True)
class Register:
    """The register at this address."""

    url: str
    timeout: float = TIMEOUT_SECONDS

    def __post_init__(self) -> None:
        if not self.url.startswith(("https://", "http://")):
            raise ImproperlyConfigured("VIES_URL must start with https:// or http://.")

    def ask(self, number: TaxNumber) -> Organization.TaxIdStatus:
        """Return VERIFIED, INVALID or, whatever went wrong on the way, UNREACHABLE."""
        try:
            answer = self._fetch(number)
        except (OSError, HTTPException, ValueError) as error:
            log.warning("vies_unreachable", extra={"prefix": number.prefix, "why": repr(error)})
            return Status.UNREACHABLE
        return _verdict(answer)

    def _fetch(self, number: TaxNumber) -> Any:
        path = f"ms/{quote(number.prefix, safe='')}/vat/{quote(number.number, safe='')}"
        request = Request(  # noqa: S310 - the scheme is checked above
            f"{self.url.rstrip('/')}/{path}", headers={"Accept": "application/json"}
        )
        with urlopen(request, timeout=self.timeout) as reply:  # noqa: S310 - as above
            return json.loads(reply.read(MOST_BYTES))


def _verdict(answer: Any) -> Organization.TaxIdStatus:
    if not isinstance(answer, dict):
        return Status.UNREACHABLE
    if answer.get("isValid") is True:
        return Status.VERIFIED
    if answer.get("userError") in ABOUT_THE_NUMBER:
        return Status.INVALID
    log.warning("vies_unreachable", extra={"why": str(answer.get("userError"))[:100]})
    return Status.UNREACHABLE


def register() -> Register | None:
    """Return the register that VIES_URL names; None when it is off."""
    return Register(settings.VIES_URL) if settings.VIES_URL else None
