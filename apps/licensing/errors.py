"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, NotFound


class UnknownLicense(NotFound):
    """No licence has this id."""

    code = "unknown_licence"


class UnknownInstance(NotFound):
    """No instance has this id."""

    code = "unknown_instance"


class NotLicensed(Conflict):
    """Nothing is granted now that a licence could say; `extra` says why."""

    code = "not_licensed"


class InstanceBlocked(Conflict):
    """The instance was blocked: it gets no licence."""

    code = "instance_blocked"


class InstanceNeeded(DomainError):
    """The organization's licences are bound to instances, and none is named."""

    code = "instance_needed"


class ApplicationNeeded(DomainError):
    """The organization has subscriptions of several applications, and none is named."""

    code = "application_needed"


class UnusableKey(DomainError):
    """What was given is no RSA key of 2048 bits or more, no Ed25519 key, or no pair."""

    code = "unusable_key"
