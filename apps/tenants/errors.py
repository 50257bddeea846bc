"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, DomainError, Forbidden, Invalid, NotFound


class SlugTaken(Conflict):
    """Another organization has this slug."""

    code = "slug_taken"


class LastOwner(Conflict):
    """An organization keeps at least one owner."""

    code = "last_owner"


class AlreadyMember(Conflict):
    """The person is a member or invited already."""

    code = "already_member"


class InvitationInvalid(DomainError):
    """The link was used, withdrawn or has expired."""

    code = "invitation_invalid"
    status = 410


class UnknownOrganization(NotFound):
    """No organization has this slug or id."""

    code = "unknown_organization"


class PayerRing(Conflict):
    """An organization would pay for itself, by way of others."""

    code = "payer_ring"


class SandboxOnly(DomainError):
    """Time may be moved in a sandbox, not where real invoices go out."""

    code = "sandbox_only"
    status = 403


class ClockGoesBack(Conflict):
    """A test clock only goes forward."""

    code = "clock_goes_back"


class InvalidToken(DomainError):
    """The token is malformed, not its issuer's, or not for this system."""

    code = "invalid_token"
    status = 401


class TokenExpired(InvalidToken):
    """The token has expired."""

    code = "token_expired"


class WrongCredentials(DomainError):
    """The e-mail address or the password is wrong."""

    code = "wrong_credentials"
    status = 401


class SecondFactorRequired(DomainError):
    """The password is right, and the account asks for a code too."""

    code = "second_factor_required"
    status = 401


class WrongCode(DomainError):
    """The code, or the passkey, is not one of this account, or was used before."""

    code = "wrong_code"
    status = 401


class EmailUnproved(Conflict):
    """The person has to show first that the e-mail address is theirs."""

    code = "email_unproved"


class LinkInvalid(DomainError):
    """The link of a mail was used, or is too old."""

    code = "link_invalid"
    status = 410


class IdentityUnmatched(Conflict):
    """Another provider's account may not be taken for one of ours; the message says why."""

    code = "identity_unmatched"


class SessionOver(InvalidToken):
    """The session was signed out, has expired, or never was."""

    code = "session_over"


class RefreshReused(InvalidToken):
    """The refresh token came a second time; its session has ended."""

    code = "refresh_reused"


class KeysUnavailable(DomainError):
    """The token's issuer does not show its keys; the same request may be sent again."""

    code = "keys_unavailable"
    status = 503


class NotAMember(Forbidden):
    """The token names nobody who belongs to the organization."""

    code = "not_a_member"


class OrganizationNeeded(Invalid):
    """The person belongs to several organizations, and the request names none."""

    code = "organization_needed"
