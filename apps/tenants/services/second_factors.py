"""Everything that changes or uses up second factors: authenticator apps, passkeys, recovery codes.

The rows are allauth's. They are people's and no organization's: all of this needs the ops scope.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from allauth.mfa.models import Authenticator
from allauth.mfa.recovery_codes.internal.auth import RecoveryCodes
from django.db import transaction

from apps.core import crypto
from apps.core.actor import Actor
from apps.core.errors import Conflict, Invalid, NotFound
from apps.core.throttle import Limit
from apps.tenants import passkeys, securing, totp
from apps.tenants.errors import EmailUnproved, WrongCode
from apps.tenants.models import User
from apps.tenants.services.telling import own, record_change

# Of one account, wherever the attempts come from: three of a million codes are good at a time.
CODES = Limit("second-factor", 5, 300)
CODES_OF_A_DAY = Limit("second-factor-day", 50, 86_400)
MOST_PASSKEYS = 10
LONGEST_NAME = 60
WRONG = "This code is not right, or was used before."
Kind = Authenticator.Type


@transaction.atomic
def use_code(user: User, *, code: str, at: datetime) -> None:
    """Use up a code of somebody's authenticator app, or one of their recovery codes.

    No code counts twice. Raises TooManyAttempts and WrongCode.
    """
    _spend(user, at)
    rows = Authenticator.objects.select_for_update().filter(user_id=user.pk)
    found = {row.type: row for row in rows.exclude(type=Kind.WEBAUTHN)}
    if Kind.TOTP in found and _use_step(found[Kind.TOTP], code, at):
        CODES.forgive(user.public_id, at=at)
        return
    kept = found[Kind.RECOVERY_CODES].wrap() if Kind.RECOVERY_CODES in found else None
    if kept is None or not kept.validate_code(code):
        raise WrongCode(WRONG, param="code")
    CODES.forgive(user.public_id, at=at)
    _note_use(kept.instance, at)  # the row as it is now, this code marked
    person = securing.own_actor(user)
    record_change(user, what="recovery_code_used", actor=person, at=at)


@transaction.atomic
def use_passkey(
    answer: passkeys.Answer, *, state: dict[str, Any] | None, at: datetime, user: User | None = None
) -> User:
    """Return whose passkey has answered the question of `state`: the user's, or anybody's.

    Raises WrongCode.
    """
    holder = user or passkeys.holder_of(answer)
    if holder is None:
        raise WrongCode(passkeys.NOT_IT)
    _note_use(passkeys.check(holder, answer, state=state), at)
    return holder


@transaction.atomic
def add_authenticator(
    user_id: str, *, secret: str, code: str, actor: Actor, at: datetime
) -> list[str]:
    """Let an authenticator app be asked from now on, shown by a code that it has.

    Returns new recovery codes, shown this once; none where the person has some. Raises
    TooManyAttempts, WrongCode, EmailUnproved, and Conflict when there is an app already.
    """
    user = _proved(user_id, actor)
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.TOTP).exists():
        raise Conflict("There is an authenticator app already; remove it first.")
    _spend(user, at)
    step = totp.step_of(secret, code, at=at)
    if step is None:
        raise WrongCode(WRONG, param="code")
    kept = {"secret": crypto.seal(secret), "last_step": step}
    Authenticator.objects.create(user_id=user.pk, type=Kind.TOTP, data=kept, created_at=at)
    CODES.forgive(user.public_id, at=at)
    record_change(user, what="authenticator_added", actor=actor, at=at)
    return _first_recovery_codes(user)


@transaction.atomic
def remove_authenticator(user_id: str, *, actor: Actor, at: datetime) -> None:
    """Ask for codes of the app no more; safe to repeat. The last factor takes the codes along."""
    user = own(user_id, actor=actor)
    removed, _ = Authenticator.objects.filter(user_id=user.pk, type=Kind.TOTP).delete()
    if removed:
        _drop_idle_codes(user)
        record_change(user, what="authenticator_removed", actor=actor, at=at)


@transaction.atomic
def add_passkey(
    user_id: str,
    *,
    name: str,
    answer: passkeys.Answer,
    state: dict[str, Any] | None,
    actor: Actor,
    at: datetime,
) -> list[str]:
    """Let the passkey sign in that has answered the question of `state`.

    Returns new recovery codes, shown this once; none where the person has some. Raises WrongCode,
    EmailUnproved, and Invalid beyond ten passkeys.
    """
    user = _proved(user_id, actor)
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.WEBAUTHN).count() >= MOST_PASSKEYS:
        raise Invalid("Ten passkeys are the most; remove one first.")
    passkeys.check_new(answer, state=state)
    kept = {"name": name.strip()[:LONGEST_NAME], "credential": dict(answer)}
    Authenticator.objects.create(user_id=user.pk, type=Kind.WEBAUTHN, data=kept, created_at=at)
    after = {"name": kept["name"]}
    record_change(user, what="passkey_added", actor=actor, at=at, after=after)
    return _first_recovery_codes(user)


@transaction.atomic
def remove_passkey(user_id: str, *, passkey: int, actor: Actor, at: datetime) -> None:
    """Let a passkey sign in no more. Raises NotFound."""
    user = own(user_id, actor=actor)
    rows = Authenticator.objects.filter(user_id=user.pk, type=Kind.WEBAUTHN)
    removed, _ = rows.filter(pk=passkey).delete()
    if not removed:
        raise NotFound("There is no such passkey.")
    _drop_idle_codes(user)
    record_change(user, what="passkey_removed", actor=actor, at=at)


@transaction.atomic
def renew_recovery_codes(user_id: str, *, actor: Actor, at: datetime) -> list[str]:
    """Return ten new recovery codes, shown this once; the former ones are worth nothing.

    Raises Conflict for somebody without a second factor.
    """
    user = own(user_id, actor=actor)
    if not securing.has_second_factor(user.pk):
        raise Conflict("Recovery codes stand in for a second factor; set one up first.")
    Authenticator.objects.filter(user_id=user.pk, type=Kind.RECOVERY_CODES).delete()
    record_change(user, what="recovery_codes_renewed", actor=actor, at=at)
    return _first_recovery_codes(user)


@transaction.atomic
def remove_second_factors(user_id: str, *, actor: Actor, at: datetime) -> int:
    """Take all second factors from somebody who has lost them; return how many there were.

    Needs manage_platform: whoever asks has made sure by other means who they are.
    """
    user = own(user_id, actor=actor)
    rows = Authenticator.objects.filter(user_id=user.pk)
    count: int = rows.exclude(type=Kind.RECOVERY_CODES).count()
    rows.delete()
    if count:
        record_change(user, what="second_factors_removed", actor=actor, at=at)
    return count


@transaction.atomic
def reseal_second_factors() -> int:
    """Seal every secret with the first of ENCRYPTION_KEYS; return how many rows. Safe to repeat."""
    rows = Authenticator.objects.select_for_update().exclude(type=Kind.WEBAUTHN).order_by("pk")
    for row in rows:
        name = "secret" if row.type == Kind.TOTP else "seed"
        row.data[name] = crypto.resealed(row.data[name])
        row.save(update_fields=["data"])
    return len(rows)


def _spend(user: User, at: datetime) -> None:
    for limit in (CODES_OF_A_DAY, CODES):
        limit.spend(user.public_id, at=at)


def _use_step(row: Authenticator, code: str, at: datetime) -> bool:
    last = int(row.data.get("last_step", -1))
    step = totp.step_of(crypto.opened(row.data["secret"]), code, at=at, after=last)
    if step is None:
        return False
    row.data["last_step"] = step
    _note_use(row, at)
    return True


def _note_use(row: Authenticator, at: datetime) -> None:
    row.last_used_at = at
    row.save(update_fields=["data", "last_used_at"])


def _proved(user_id: str, actor: Actor) -> User:
    """A stranger's address must not be held by whoever was there first with a second factor."""
    user = own(user_id, actor=actor)
    if user.email_verified_at is None:
        raise EmailUnproved("Confirm your e-mail address first.")
    return user


def _first_recovery_codes(user: User) -> list[str]:
    if Authenticator.objects.filter(user_id=user.pk, type=Kind.RECOVERY_CODES).exists():
        return []
    return list(RecoveryCodes.activate(user).generate_codes())


def _drop_idle_codes(user: User) -> None:
    if not securing.has_second_factor(user.pk):
        Authenticator.objects.filter(user_id=user.pk).delete()
