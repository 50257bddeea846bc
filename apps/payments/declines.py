"""What a refused charge means for the next try, by Stripe's decline codes.

From Stripe's page on decline codes and what it advises for each: some clear by themselves, some
need another card, some need the customer in person, and some must not be tried again.
"""

from __future__ import annotations

from apps.payments.events import DeclineClass

_METHOD = """
    account_closed bank_account_closed bank_account_unusable card_not_supported
    currency_not_supported debit_not_authorized expired_card incorrect_address incorrect_cvc
    incorrect_number incorrect_zip invalid_account invalid_cvc invalid_expiry_month
    invalid_expiry_year invalid_number lost_card mandate_invalid new_account_information_available
    no_account payment_method_not_available pickup_card restricted_card stolen_card
    testmode_decline
"""
_ACTION = """
    approve_with_id authentication_failure authentication_not_handled authentication_required
    call_issuer offline_pin_required online_or_offline_pin_required
"""
_NEVER = """
    fraudulent highest_risk_level merchant_blacklist revocation_of_all_authorizations
    revocation_of_authorization security_violation stop_payment_order
"""
CLASSES: dict[str, DeclineClass] = {
    code: kind
    for codes, kind in (
        (_METHOD, DeclineClass.METHOD),
        (_ACTION, DeclineClass.ACTION),
        (_NEVER, DeclineClass.NEVER),
    )
    for code in codes.split()
}
ADVICE = {
    "try_again_later": DeclineClass.RETRY,
    "do_not_try_again": DeclineClass.METHOD,
    "confirm_card_data": DeclineClass.METHOD,
}


def decline_class(code: str, advice: str = "") -> DeclineClass:
    """Return what may be done after a charge was refused with this code.

    `code` is Stripe's decline code, or its error code where there is none; unknown ones, as
    `generic_decline`, may be tried again by the schedule. The issuer's advice, where Stripe passes
    it on, outranks a code that only another card would mend.
    """
    known = CLASSES.get(code, DeclineClass.RETRY)
    if known in {DeclineClass.ACTION, DeclineClass.NEVER}:
        return known
    return ADVICE.get(advice, known)
