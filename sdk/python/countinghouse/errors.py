"""What may go wrong, as types: all of them are `CountinghouseError`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class CountinghouseError(Exception):
    """The base of every error of this package."""


class InvalidEvent(CountinghouseError, ValueError):
    """What can never be an event: a wrong id or time, or data that is no JSON."""


class QueueFull(CountinghouseError):
    """The queue is full and was told to refuse rather than to wait or to forget."""


class ClientClosed(CountinghouseError):
    """The client was closed; nothing can be tracked any more."""


class SpoolFailed(CountinghouseError):
    """The spool cannot be written, so it cannot keep what it promises."""


class ConnectionFailed(CountinghouseError):
    """No answer came: the network, a timeout, or no HTTP at all."""


class Refused(CountinghouseError):
    """The platform said no, and why: `code` is stable, `extra` has facts by code."""

    def __init__(self, status: int, code: str, detail: str, extra: Mapping[str, Any]) -> None:
        super().__init__(detail or code)
        self.status, self.code, self.detail, self.extra = status, code, detail, extra


class WebhookInvalid(CountinghouseError):
    """The webhook is not the platform's, or is too old."""


class LicenceError(CountinghouseError):
    """The base of every reason why a licence is not good."""


class MalformedLicence(LicenceError):
    """The text is no licence."""


class UnknownKey(LicenceError):
    """It is signed by a key that is not at hand."""


class BadSignature(LicenceError):
    """Its signature is not by the key that it names."""


class LicenceNotYetValid(LicenceError):
    """It is not valid yet."""


class LicenceExpired(LicenceError):
    """It has expired, and its grace is over."""


class LicenceRevoked(LicenceError):
    """It was revoked."""


class WrongInstance(LicenceError):
    """It is for another installation."""


class RevocationsOutdated(LicenceError):
    """The list of revoked licences is missing or outdated, and a fresh one was asked for."""


class UnexpectedAnswer(CountinghouseError):
    """An answer that settles nothing: an outage, a wrong key, or somebody else's page.

    `status` is the HTTP status, `code` the platform's reason where it gave one, and `retry_after`
    the seconds that it asked to wait.
    """

    def __init__(self, status: int, code: str = "", *, retry_after: float = 0.0) -> None:
        super().__init__(f"status {status}" + (f" ({code})" if code else ""))
        self.status, self.code, self.retry_after = status, code, retry_after
