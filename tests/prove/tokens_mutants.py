"""The checks of tokens with one of them missing; each must let something in, or somebody down."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.tenants import bearers, jwks, jwts, own_tokens, trust
from apps.tenants.services import sessions
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Weakened:
    """A guard taken away, and the part of the harness that has to notice."""

    name: str
    change: Callable[[], None]
    part: str = "attacks"


def _any_algorithm() -> None:
    mutate(
        jwts,
        "Token.verify",
        ("if self.algorithm != key.algorithm:", "if False:"),
        ("jwt.PyJWS(algorithms=[key.algorithm])", "jwt.PyJWS()"),
        ("algorithms=[key.algorithm]\n", "algorithms=[self.algorithm]\n"),
    )


def _endless() -> None:
    vars(jwts)["REQUIRED"] = ("iat", "iss", "sub")
    mutate(
        jwts,
        "check_life",
        ('_instant(claims, "exp")', '_instant(claims, "exp", default=at + SKEW)'),
    )


def _long_lived() -> None:
    mutate(jwts, "check_life", ("ends - begins > LONGEST_LIFE", "False"))


def _not_yet() -> None:
    mutate(jwts, "check_life", ("begins > at + SKEW or", "False and"))


def _id_tokens() -> None:
    mutate(jwts, "_check_purpose", ("if ID_TOKEN_CLAIMS & claims.keys():", "if False:"))


def _any_header() -> None:
    mutate(jwts, "_check_header", ("FORBIDDEN_HEADERS & header.keys()", "set()"))


def _any_type() -> None:
    mutate(jwts, "_check_header", ("not in ACCESS_TYPES", "is None"))


def _lenient_json() -> None:
    mutate(jwts, "_object_of", ("object_pairs_hook=_once, ", ""))


def _any_audience() -> None:
    mutate(jwts, "check_audience", ("if not any(", "if False and any("))


def _any_party() -> None:
    mutate(trust, "_check_party", ("if trust.parties and", "if False and"))


def _any_address() -> None:
    mutate(trust, "_verified_email", ('claims.get("email_verified") is True', "True"))


def _pending() -> None:
    mutate(trust, "_check_session", ('if claims.get("sts") == PENDING:', "if False:"))


def _two_organizations() -> None:
    mutate(trust, "_organization_and_role", ("first[0] != second[0]", "False"))


def _believed_role() -> None:
    mutate(bearers, "bearer", ("held &= roles.", "held |= roles."))


def _word_counts_everywhere() -> None:
    here = 'mapped.filter(organization=OuterRef("organization"))'
    mutate(bearers, "_memberships", (here, "mapped"))


def _disabled() -> None:
    mutate(bearers, "_trust", (", disabled_at=None", ""))


def _sessions_for_ever() -> None:
    mutate(bearers, "_signed_in", (", revoked_at=None", ""))


def _reused() -> None:
    mutate(sessions, "refresh", ('_end([session], "user.session_stolen", at)', "pass"))


def _our_name() -> None:
    mutate(
        own_tokens,
        "believe",
        ("if token.algorithm != ALGORITHM:", "if False:"),
        (
            "jwt.PyJWS(algorithms=[ALGORITHM]).decode("
            "token.text, _secret(), algorithms=[ALGORITHM])",
            "pass",
        ),
    )


def _one_request_a_key() -> None:
    mutate(jwks, "_Shelf.takes_turn", ("-BEHIND < at - self.asked_at < PAUSE", "False"))


def _never_renewed() -> None:
    mutate(
        jwks,
        "KeySets.key",
        ("shelf.age(at) > FRESH and", "False and"),
        ("found is None and shelf.takes_turn(at)", "False"),
    )


def _short_memory() -> None:
    mutate(jwks, "KeySets.key", ("if shelf.age(at) > STALE:", "if shelf.age(at) > FRESH:"))
    mutate(jwks, "KeySets._wait_for_keys", ("shelf.age(at) > STALE", "shelf.age(at) > FRESH"))


def _long_memory() -> None:
    vars(jwks)["STALE"] *= 365


def _in_the_way() -> None:
    mutate(
        jwks,
        "KeySets.key",
        (
            "threading.Thread(target=self._renew, args=(url, shelf, at), daemon=True).start()",
            "self._renew(url, shelf, at)",
        ),
    )


MUTANTS = (
    Weakened("the token says which algorithm counts", _any_algorithm),
    Weakened("no end is required", _endless),
    Weakened("a token may live for a hundred years", _long_lived),
    Weakened("what begins later counts now", _not_yet),
    Weakened("an ID token opens doors", _id_tokens),
    Weakened("headers that nobody understands are passed over", _any_header),
    Weakened("any type of token will do", _any_type),
    Weakened("the last of two subjects counts", _lenient_json),
    Weakened("tokens for others count", _any_audience),
    Weakened("tokens handed to others count", _any_party),
    Weakened("an address counts that nobody verified", _any_address, "people"),
    Weakened("a session counts before its second factor", _pending),
    Weakened("the second of two organizations counts", _two_organizations),
    Weakened("the token's role adds to the row's", _believed_role, "good"),
    Weakened("one organization's word counts in others", _word_counts_everywhere, "people"),
    Weakened("a disabled issuer counts", _disabled, "people"),
    Weakened("a session that is over counts", _sessions_for_ever, "own"),
    Weakened("a refresh token may come twice", _reused, "own"),
    Weakened("anybody signs in our name", _our_name, "own"),
    Weakened("each unknown key asks the issuer", _one_request_a_key, "flood"),
    Weakened("a key set is fetched once", _never_renewed, "rotation"),
    Weakened("an outage of the issuer is ours", _short_memory, "outage"),
    Weakened("an issuer that is gone counts for ever", _long_memory, "outage"),
    Weakened("a request waits for the issuer", _in_the_way, "slowness"),
)
