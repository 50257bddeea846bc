"""How Stripe names things, and which of their fields it shows on request only."""

from __future__ import annotations

import secrets
import string

LETTERS = string.ascii_letters + string.digits

PREFIXES = {
    "account": "acct_",
    "balance_transaction": "txn_",
    "billing.meter": "mtr_test_",
    "billing.meter_event": "mtrevt_",
    "billing_portal.configuration": "bpc_",
    "billing_portal.session": "bps_",
    "charge": "ch_",
    "checkout.session": "cs_test_",
    "coupon": "",
    "credit_note": "cn_",
    "credit_note_line_item": "cnli_",
    "customer": "cus_",
    "customer_balance_transaction": "cbtxn_",
    "discount": "di_",
    "dispute": "du_",
    "event": "evt_",
    "invoice": "in_",
    "invoice_payment": "inpay_",
    "invoiceitem": "ii_",
    "item": "li_",
    "line_item": "il_",
    "mandate": "mandate_",
    "payment_intent": "pi_",
    "payment_method": "pm_",
    "price": "price_",
    "product": "prod_",
    "promotion_code": "promo_",
    "refund": "re_",
    "setup_attempt": "setatt_",
    "setup_intent": "seti_",
    "subscription": "sub_",
    "subscription_item": "si_",
    "tax_id": "txi_",
    "tax_rate": "txr_",
    "test_helpers.test_clock": "clock_",
    "token": "tok_",
    "webhook_endpoint": "we_",
}

# Not in an answer unless set or expanded; taken from Stripe's own example objects.
ABSENT: dict[str, frozenset[str]] = {
    "account": frozenset({"company", "groups", "individual"}),
    "charge": frozenset(
        {
            "authorization_code",
            "level3",
            "presentment_details",
            "radar_options",
            "refunds",
            "transfer",
        }
    ),
    "checkout.session": frozenset(
        {
            "branding_settings",
            "excluded_payment_method_types",
            "line_items",
            "name_collection",
            "optional_items",
            "presentment_details",
            "redirect_on_completion",
            "return_url",
            "tax_id_collection",
        }
    ),
    "coupon": frozenset({"applies_to", "currency_options"}),
    "customer": frozenset(
        {
            "business_name",
            "cash_balance",
            "customer_account",
            "individual_name",
            "invoice_credit_balance",
            "sources",
            "subscriptions",
            "tax",
            "tax_ids",
        }
    ),
    "dispute": frozenset({"network_reason_code"}),
    "event": frozenset({"account", "context"}),
    "invoice": frozenset(
        {"amount_paid_off_stripe", "confirmation_secret", "payments", "threshold_reason"}
    ),
    "invoiceitem": frozenset({"frozen_fields", "proration_details"}),
    "mandate": frozenset({"on_behalf_of", "single_use"}),
    "payment_intent": frozenset(
        {"allowed_payment_method_types", "hooks", "payment_details", "presentment_details"}
    ),
    "price": frozenset({"currency_options", "tiers"}),
    "refund": frozenset(
        {
            "description",
            "failure_balance_transaction",
            "failure_reason",
            "instructions_email",
            "next_action",
            "pending_reason",
            "presentment_details",
        }
    ),
    "setup_intent": frozenset(
        {"allowed_payment_method_types", "attach_to_self", "customer_account", "managed_payments"}
    ),
    "setup_attempt": frozenset({"attach_to_self"}),
    "subscription": frozenset({"presentment_details"}),
    "subscription_item": frozenset({"billed_until"}),
    "token": frozenset({"bank_account"}),
    "webhook_endpoint": frozenset({"secret"}),
}


def random_text(length: int, letters: str = LETTERS) -> str:
    """Return letters and digits nobody can guess."""
    return "".join(secrets.choice(letters) for _ in range(length))


def new_id(kind: str) -> str:
    """Return an id that looks like Stripe's for this kind of object."""
    prefix = PREFIXES[kind]
    return prefix + random_text(24) if prefix else random_text(8)


def client_secret(identity: str) -> str:
    """Return what a browser needs to confirm an intent."""
    return f"{identity}_secret_{random_text(24)}"
