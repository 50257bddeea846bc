"""Stripe's test cards, each with the answer that the real ones give to it.

Source: https://docs.stripe.com/testing. A card that declines cannot be saved either, except the
ones made for that (`…0341`); the control surface lets a saved card behave like any of these.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Challenge = Literal["never", "until_set_up", "always"]


@dataclass(frozen=True, slots=True)
class Decline:
    """Why a card is refused: the error's code, the bank's reason, what the customer reads."""

    code: str
    decline_code: str | None
    message: str


def _declined(reason: str, message: str = "Your card was declined.") -> Decline:
    return Decline("card_declined", reason, message)


GENERIC = _declined("generic_decline")
INSUFFICIENT = _declined("insufficient_funds", "Your card has insufficient funds.")
AUTHENTICATION = Decline(
    "authentication_required",
    "authentication_required",
    "Your card was declined. This transaction requires authentication.",
)
NOT_AUTHENTICATED = Decline(
    "payment_intent_authentication_failure",
    None,
    "We are unable to authenticate your payment method. "
    "Please choose a different payment method and try again.",
)


@dataclass(frozen=True, slots=True)
class Card:
    """One test card. `saves` tells whether it can be attached although it declines."""

    number: str
    brand: str = "visa"
    decline: Decline | None = None
    challenge: Challenge = "never"
    saves: bool = False
    dispute: str | None = None
    refund: Literal["succeeded", "failed", "pending"] = "succeeded"
    risk: str = "normal"
    country: str = "US"
    funding: str = "credit"


CARDS = {
    card.number: card
    for card in (
        Card("4242424242424242"),
        Card("4000056655665556", funding="debit"),
        Card("5555555555554444", brand="mastercard"),
        Card("5200828282828210", brand="mastercard", funding="debit"),
        Card("378282246310005", brand="amex"),
        Card("6011111111111117", brand="discover"),
        Card("4000002760000016", country="DE"),
        Card("4000002500001001", country="FR"),
        Card("4000000000000002", decline=GENERIC),
        Card("4000000000009995", decline=INSUFFICIENT),
        Card("4000000000009987", decline=_declined("lost_card")),
        Card("4000000000009979", decline=_declined("stolen_card")),
        Card(
            "4000000000000069",
            decline=Decline("expired_card", "expired_card", "Your card has expired."),
        ),
        Card(
            "4000000000000127",
            decline=Decline(
                "incorrect_cvc", "incorrect_cvc", "Your card's security code is incorrect."
            ),
        ),
        Card(
            "4000000000000119",
            decline=Decline(
                "processing_error",
                "processing_error",
                "An error occurred while processing your card. Try again in a little bit.",
            ),
        ),
        Card(
            "4242424242424241",
            decline=Decline(
                "incorrect_number", "incorrect_number", "Your card number is incorrect."
            ),
        ),
        Card("4000000000006975", decline=_declined("card_velocity_exceeded")),
        Card("4100000000000019", decline=_declined("fraudulent"), risk="highest"),
        Card("4000000000009235", risk="elevated"),
        Card("4000000000000341", decline=GENERIC, saves=True),
        Card("4000002500003155", challenge="until_set_up"),
        Card("4000002760003184", challenge="always"),
        Card("4000000000003220", challenge="always"),
        Card("4000003800000446"),
        Card("4000008260003178", challenge="always", decline=INSUFFICIENT, saves=True),
        Card("4000000000000259", dispute="fraudulent"),
        Card("4000000000002685", dispute="product_not_received"),
        Card("4000000000001976", dispute="warning"),
        Card("4000000000005126", refund="failed"),
        Card("4000000000007726", refund="pending"),
    )
}

# What Stripe's ready-made payment methods and tokens stand for.
_NAMES = {
    "visa": "4242424242424242",
    "visa_debit": "4000056655665556",
    "mastercard": "5555555555554444",
    "mastercard_debit": "5200828282828210",
    "amex": "378282246310005",
    "discover": "6011111111111117",
    "de": "4000002760000016",
    "fr": "4000002500001001",
    "us": "4242424242424242",
    "chargeDeclined": "4000000000000002",
    "visa_chargeDeclined": "4000000000000002",
    "chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedInsufficientFunds": "4000000000009995",
    "visa_chargeDeclinedLostCard": "4000000000009987",
    "visa_chargeDeclinedStolenCard": "4000000000009979",
    "chargeDeclinedExpiredCard": "4000000000000069",
    "chargeDeclinedIncorrectCvc": "4000000000000127",
    "chargeDeclinedProcessingError": "4000000000000119",
    "visa_chargeDeclinedVelocityLimitExceeded": "4000000000006975",
    "chargeDeclinedFraudulent": "4100000000000019",
    "radarBlock": "4100000000000019",
    "riskLevelElevated": "4000000000009235",
    "chargeCustomerFail": "4000000000000341",
    "authenticationRequired": "4000002760003184",
    "authenticationRequiredOnSetup": "4000002500003155",
    "authenticationRequiredSetupForOffSession": "4000003800000446",
    "authenticationRequiredChargeDeclinedInsufficientFunds": "4000008260003178",
    "threeDSecure2Required": "4000000000003220",
    "threeDSecureRequired": "4000000000003220",
    "createDispute": "4000000000000259",
    "createDisputeProductNotReceived": "4000000000002685",
    "createDisputeInquiry": "4000000000001976",
    "refundFail": "4000000000005126",
    "pendingRefund": "4000000000007726",
}
READY_MADE = {f"pm_card_{name}": CARDS[number] for name, number in _NAMES.items()}
TOKENS = {f"tok_{name}": CARDS[number] for name, number in _NAMES.items()}


def by_number(number: str) -> Card | None:
    """Return the test card with this number; a real number is not one."""
    return CARDS.get(number.replace(" ", "").replace("-", ""))
