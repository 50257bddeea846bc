"""The form in which a visitor types a card, and the test cards that one click chooses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from apps.sandbox.cards import CARDS, Card
from apps.sandbox.errors import Refusal
from apps.sandbox.pages.drawing import moment
from apps.sandbox.resources.checkout import Payer
from apps.sandbox.resources.payment_methods import ACCOUNTS

FIRST = (
    "4242424242424242",
    "4000000000000002",
    "4000000000009995",
    "4000000000000341",
    "4000002500003155",
    "4000002760003184",
)
_EXPIRY = re.compile(r"\s*(0?[1-9]|1[0-2])\s*/\s*(?:20)?(\d\d)\s*")
_CVC = re.compile(r"\d{3,4}")


@dataclass(frozen=True, slots=True)
class Choice:
    """A test card or bank account, and what it does."""

    number: str
    effect: str

    @property
    def shown(self) -> str:
        """Return the number in groups of four."""
        return " ".join(self.number[at : at + 4] for at in range(0, len(self.number), 4))


def effect(card: Card) -> str:
    """Return in words what a test card does."""
    said = []
    if card.challenge == "always":
        said.append("asks for 3-D Secure at every payment")
    elif card.challenge == "until_set_up":
        said.append("asks for 3-D Secure once, until it is saved")
    if card.decline is not None:
        why = (card.decline.decline_code or card.decline.code).replace("_", " ")
        said.append(f"can be saved, then is declined: {why}" if card.saves else f"declined: {why}")
    if card.dispute is not None:
        said.append(f"pays, and is disputed: {card.dispute.replace('_', ' ')}")
    if card.refund != "succeeded":
        said.append(f"pays; a refund is {card.refund}")
    if card.risk == "elevated":
        said.append("pays, at an elevated risk")
    return ", ".join(said) or f"pays ({card.brand}, {card.funding}, {card.country})"


def form_of(given: Mapping[str, str], *, debits: bool = False) -> dict[str, object]:
    """Return what the card form shows: choices, and what was typed before."""
    cards = [Choice(number, effect(card)) for number, card in CARDS.items()]
    accounts = [Choice(each.iban, f"the debit {each.outcome}") for each in ACCOUNTS.values()]
    return {
        "first": [each for number in FIRST for each in cards if each.number == number],
        "more": [each for each in cards if each.number not in FIRST],
        "accounts": accounts if debits else [],
        "chosen": given.get("choice") or FIRST[0],
        "number": given.get("number", ""),
        "expiry": given.get("expiry", "12 / 34"),
        "cvc": given.get("cvc", "123"),
        "email": given.get("email", ""),
        "name": given.get("name", ""),
    }


def payer_of(form: Mapping[str, str], *, now: int) -> Payer:
    """Return who pays with what. Raises Refusal, as Stripe words it, for a card that cannot be."""
    number = (form.get("number") or form.get("choice") or "").strip()
    email, name = form.get("email") or None, form.get("name") or None
    if not number:
        raise _wrong("Your card number is incomplete.", "incomplete_number")
    if number[:2].isalpha():
        return Payer(number, email=email, name=name)
    if not _CVC.fullmatch(form.get("cvc", "").strip()):
        raise _wrong("Your card's security code is incomplete.", "incomplete_cvc")
    return Payer(number, email=email, name=name, expires=_expiry(form.get("expiry", ""), now))


def _expiry(text: str, now: int) -> tuple[int, int]:
    found = _EXPIRY.fullmatch(text)
    if found is None:
        raise _wrong("Your card's expiration date is incomplete.", "incomplete_expiry")
    month, year = int(found[1]), 2000 + int(found[2])
    today = moment(now)
    if (year, month) < (today.year, today.month):
        raise _wrong("Your card's expiration year is in the past.", "invalid_expiry_year")
    return month, year


def _wrong(message: str, code: str) -> Refusal:
    return Refusal(402, message, kind="card_error", code=code)
