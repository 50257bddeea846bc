"""How the admin looks: its name, its colours, its menu. `settings.UNFOLD` is this."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy

# Names and not functions: the settings import this file before any model may be imported.
SEES = "apps.backoffice.access.sees_"
Entry = dict[str, Any]


def _brand(request: HttpRequest) -> str:
    return str(settings.BRAND_NAME)


def _environment(request: HttpRequest) -> list[str] | None:
    if settings.ENVIRONMENT == "production":
        return None
    return [str(settings.ENVIRONMENT).capitalize(), "info"]


def _icon(request: HttpRequest) -> str:
    return static("portal/favicon.svg")


def _style(request: HttpRequest) -> str:
    return static("backoffice/backoffice.css")


def _list(title: str, icon: str, model: str, sees: str = "platform") -> Entry:
    link = reverse_lazy(f"admin:{model}_changelist")
    return {"title": title, "icon": icon, "link": link, "permission": SEES + sees}


def _page(title: str, icon: str, name: str, sees: str = "platform") -> Entry:
    link = reverse_lazy(f"admin:{name}")
    return {"title": title, "icon": icon, "link": link, "permission": SEES + sees}


def _group(title: str, *items: Entry) -> Entry:
    return {"title": title, "separator": True, "collapsible": False, "items": list(items)}


NAVIGATION = [
    {"items": [_page("Dashboard", "space_dashboard", "index")]},
    _group(
        "Customers",
        _list("Organizations", "domain", "tenants_organization"),
        _list("Subscriptions", "autorenew", "subscriptions_subscription"),
        _list("Overrides", "tune", "entitlements_override"),
        _list("Spend caps", "speed", "entitlements_spendcap"),
        _list("Seats", "event_seat", "seats_seat"),
        _list("Seat pools", "groups", "seats_pool"),
        _list("Reservations", "pending_actions", "entitlements_reservation"),
        _list("Licences", "verified_user", "licensing_license", "licences"),
        _list("Instances", "dns", "licensing_instance", "licences"),
        _list("Members", "groups", "tenants_membership"),
        _list("API keys", "key", "tenants_apikey"),
        _list("Token issuers", "verified_user", "tenants_tokenissuer"),
    ),
    _group(
        "Billing",
        _list("Invoices", "receipt_long", "invoicing_invoice", "invoices"),
        _list("Charges", "add_card", "invoicing_charge", "invoices"),
        _list("Credit notes", "receipt", "invoicing_creditnote", "invoices"),
        _list("Payments", "payments", "payments_payment", "invoices"),
        _list("Refunds", "undo", "payments_refund", "invoices"),
        _list("Payment methods", "credit_card", "payments_paymentmethod", "invoices"),
        _list("Collections", "sync_alt", "payments_collection", "invoices"),
        _list("Attempts", "point_of_sale", "payments_paymentattempt", "invoices"),
        _list("Refund orders", "assignment_return", "payments_refundorder", "invoices"),
        _list("Disputes", "gavel", "payments_dispute", "invoices"),
        _list("Credit", "savings", "invoicing_creditgrant", "invoices"),
        _list("Corrections", "healing", "invoicing_correction", "invoices"),
        _list("Dunning", "notification_important", "dunning_run", "invoices"),
        _list("Dunning campaigns", "format_list_numbered", "dunning_campaign"),
        _list("Parked", "car_crash", "invoicing_parked", "invoices"),
        _list("Ledger", "account_balance", "invoicing_ledgertransaction", "invoices"),
        _page("Books", "verified", "books", "invoices"),
    ),
    _group(
        "Catalogue",
        _list("Plans", "sell", "plans_plan"),
        _list("Features", "toggle_on", "plans_feature"),
        _list("Coupons", "loyalty", "plans_coupon"),
        _list("Promotion codes", "confirmation_number", "plans_promotioncode"),
        _list("Tax rates", "percent", "plans_taxrate"),
        _list("Meters", "speed", "usage_meter"),
        _list("Applications", "apps", "tenants_application"),
        _list("Billing entities", "business_center", "tenants_billingentity"),
    ),
    _group(
        "Usage",
        _list("Events", "data_object", "usage_event", "usage"),
        _list("Rejected events", "report", "usage_rejectedevent", "usage"),
        _list("Device reports", "devices", "usage_devicereport", "usage"),
        _list("Buckets", "inventory_2", "usage_usagebucket", "usage"),
        _list("Seals", "lock", "usage_usageseal", "usage"),
        _list("Epochs", "timeline", "usage_usageepoch"),
    ),
    _group(
        "Watching",
        _list("Anomalies", "monitoring", "watch_anomaly", "usage"),
        _list("Alerts", "notifications_active", "watch_alert", "usage"),
        _list("Alert rules", "rule", "watch_alertrule", "usage"),
        _list("Watch terms", "tune", "watch_watchterms", "usage"),
    ),
    _group(
        "Stripe",
        _list("Events", "inbox", "payments_providerevent"),
        _list("Calls", "call_made", "payments_providercall"),
        _list("Customers", "badge", "payments_providercustomer", "invoices"),
        *(
            _list(title, icon, f"djstripe_{model}", "invoices")
            for title, icon, model in (
                ("Their customers", "person", "customer"),
                ("Their invoices", "request_quote", "invoice"),
                ("Their invoice items", "list_alt", "invoiceitem"),
                ("Their subscriptions", "sync", "subscription"),
                ("Their schedules", "event_repeat", "subscriptionschedule"),
                ("Payment methods", "credit_card", "paymentmethod"),
                ("Payment intents", "price_check", "paymentintent"),
                ("Setup intents", "add_card", "setupintent"),
                ("Checkout sessions", "shopping_cart_checkout", "session"),
                ("Charges", "paid", "charge"),
                ("Refunds", "undo", "refund"),
                ("Disputes", "gavel", "dispute"),
                ("Products", "inventory_2", "product"),
                ("Prices", "sell", "price"),
                ("Coupons", "loyalty", "coupon"),
                ("Promotion codes", "confirmation_number", "promotioncode"),
                ("Tax rates", "percent", "taxrate"),
            )
        ),
    ),
    _group(
        "System",
        _list("Users & staff", "manage_accounts", "tenants_user"),
        _list("Facts told", "campaign", "core_outboxevent"),
        _list("Deliveries", "outbox", "core_outboxdelivery"),
        _list("Signing keys", "vpn_key", "licensing_signingkey"),
        _list("Test clocks", "schedule", "tenants_testclock"),
        _list("Audit", "history_edu", "audit_auditentry", "audit"),
    ),
]

UNFOLD: dict[str, Any] = {
    "SITE_TITLE": _brand,
    "SITE_HEADER": _brand,
    "SITE_SUBHEADER": "Back office",
    "SITE_SYMBOL": "account_balance_wallet",
    "SITE_URL": "/",
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_HISTORY": True,
    "ENVIRONMENT": _environment,
    "STYLES": [_style],
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": _icon}],
    "BORDER_RADIUS": "6px",
    "COLORS": {
        "primary": {
            "50": "oklch(97.3% .012 190)",
            "100": "oklch(94.2% .03 190)",
            "200": "oklch(88.8% .055 190)",
            "300": "oklch(81% .083 190)",
            "400": "oklch(70.5% .1 190)",
            "500": "oklch(59.8% .1 190)",
            "600": "oklch(50.5% .088 190)",
            "700": "oklch(43.4% .075 190)",
            "800": "oklch(37.4% .06 190)",
            "900": "oklch(32.6% .05 190)",
            "950": "oklch(23.5% .04 190)",
        },
    },
    "SIDEBAR": {"show_search": False, "show_all_applications": False, "navigation": NAVIGATION},
}
