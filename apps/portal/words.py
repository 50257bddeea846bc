"""Words of the trade, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from apps.engine.calendar import Interval, Unit
from apps.plans.selectors import VersionTerms
from apps.portal.formats import Formats
from apps.subscriptions.selectors import ChangeFacts, DiscountFacts, SubscriptionFacts
from apps.tenants import roles

Words = Mapping[str, str | Promise]

ROLES: Words = {
    roles.OWNER: _("Owner"),
    roles.BILLING_ADMIN: _("Billing admin"),
    roles.ADMIN: _("Admin"),
    roles.MEMBER: _("Member"),
}
ROLE_MEANINGS: Words = {
    roles.OWNER: _("Everything: billing, people and their roles, API keys, company details."),
    roles.BILLING_ADMIN: _("Plan, seats bought, invoices and activity; may invite people."),
    roles.ADMIN: _("Invites people and sees usage; sees no amounts."),
    roles.MEMBER: _("Sees the overview and the usage; sees no amounts."),
}
INVOICE_STATUSES: Words = {
    "draft": _("Draft"),
    "open": _("Open"),
    "overdue": _("Overdue"),
    "credit": _("Credit"),
    "paid": _("Paid"),
    "void": _("Void"),
    "uncollectible": _("Uncollectible"),
    "upcoming": _("Upcoming"),
}
SUBSCRIPTION_STATUSES: Words = {
    "incomplete": _("Incomplete"),
    "trialing": _("Trial"),
    "active": _("Active"),
    "past_due": _("Past due"),
    "unpaid": _("Unpaid"),
    "paused": _("Paused"),
    "canceled": _("Canceled"),
    "canceling": _("Ends soon"),
    "starting": _("Starts later"),
    "pausing": _("Pauses soon"),
}
WHEN: Words = {
    "now": _("From now on"),
    "next_period": _("From the next period on"),
}
CANCEL_WHEN: Words = {
    "period_end": _("When the trial ends"),
    "now": _("Now"),
}
KINDS: Words = {
    "one_off": _("Single invoice"),
    "change": _("For a change"),
    "progressive": _("For usage so far"),
}
GRANT_KINDS: Words = {
    "promotional": _("Promotional"),
    "purchased": _("Prepaid"),
    "refund": _("Owed to you"),
    "commitment": _("Commitment"),
}
METHOD_KINDS: Words = {
    "card": _("Card"),
    "sepa_debit": _("SEPA direct debit"),
    "us_bank_account": _("Bank account"),
    "bacs_debit": _("Bacs direct debit"),
    "link": "Link",
    "other": _("Payment method"),
}
PAYMENT_METHODS: Words = {
    "manual": _("Bank transfer"),
    "card": _("Card"),
    "direct_debit": _("Direct debit"),
    "other": _("Payment method"),
}
# Names that credit has where nobody gave it another.
GRANT_NAMES: Words = {
    "Promotional credit": _("Promotional credit"),
    "Credit": _("Credit"),
    "Prepaid credit": _("Prepaid credit"),
    "Prepaid commitment": _("Prepaid commitment"),
    "Kept as your credit": _("Kept as your credit"),
}
MOVEMENTS: Words = {
    "granted": _("Added"),
    "used": _("Used"),
    "returned": _("Given back by a void invoice"),
    "expired": _("Expired"),
    "voided": _("Withdrawn"),
}
NOTE_REASONS: Words = {
    "duplicate": _("Billed twice"),
    "product_unsatisfactory": _("Not as agreed"),
    "order_change": _("The order was changed"),
    "order_cancellation": _("The order was canceled"),
    "fraudulent": _("Fraud"),
    "usage_corrected": _("The usage was corrected"),
    "other": _("Another reason"),
}
CANCEL_REASONS: Words = {
    "too_expensive": _("It is too expensive"),
    "missing_features": _("It lacks features we need"),
    "switched_service": _("We are moving to another service"),
    "unused": _("We do not use it enough"),
    "customer_service": _("Customer service did not meet our needs"),
    "too_complex": _("It is too hard to use"),
    "low_quality": _("The quality did not meet our needs"),
    "other": _("Another reason"),
}
SCOPES: Words = {
    "usage:write": _("Send usage events"),
    "usage:read": _("Read usage"),
    "invoices:read": _("Read invoices and their PDFs"),
    "subscriptions:read": _("Read subscriptions"),
    "subscriptions:write": _("Subscribe, change seats, cancel"),
    "plans:read": _("Read the price list"),
    "organizations:read": _("Read this organization"),
    "licences:read": _("Fetch and verify licences"),
    "licences:write": _("Revoke licences, block installations"),
    "seats:read": _("Read who has a seat"),
    "seats:write": _("Assign and revoke seats"),
    "seats:verify": _("Ask whether somebody may use an application"),
    "members:read": _("Read members and invitations"),
    "members:write": _("Invite members and admins"),
    "api_keys:read": _("Read what keys there are"),
    "api_keys:write": _("Make, rotate and revoke keys that may no more than itself"),
}
LICENCE_STATES: Words = {
    "valid": _("Good"),
    "grace": _("To be renewed"),
    "superseded": _("Replaced, good until it ends"),
    "revoked": _("Revoked"),
    "expired": _("Expired"),
}
LINE_REASONS: Words = {
    "recurring": _("Recurring charge"),
    "usage": _("Usage"),
    "started": _("Started within the period"),
    "quantity_changed": _("Quantity changed within the period"),
    "ended": _("Ended within the period"),
}
TAX_IDS: Words = {
    "valid_format": _("This is well-formed. If there is a register, it is asked soon."),
    "verified": _("The register confirms this id."),
    "unreachable": _("This is well-formed; the register has not answered yet."),
    "invalid": _("The register does not know this id. Until it does, tax is charged."),
    "country": _("This is another country's id. Choose that country, or correct the id."),
    "form": _("This is no tax id of the country: please compare it with your documents."),
    "checksum": _("The check digits do not agree: is there a typing error?"),
}
ACTIONS: Words = {
    "organization.created": _("Created the organization"),
    "organization.updated": _("Changed the company details"),
    "organization.tax_id_checked": _("Checked the tax id"),
    "external_id.mapped": _("Linked an external id"),
    "member.joined": _("Joined"),
    "member.invited": _("Invited somebody"),
    "member.invitation_revoked": _("Withdrew an invitation"),
    "member.role_changed": _("Changed a role"),
    "member.removed": _("Removed a member"),
    "api_key.created": _("Created an API key"),
    "api_key.revoked": _("Revoked an API key"),
    "subscription.started": _("Subscribed"),
    "subscription.quantity_changed": _("Changed a quantity"),
    "subscription.plan_changed": _("Changed the plan"),
    "subscription.item_added": _("Added an add-on"),
    "subscription.item_removed": _("Removed an add-on"),
    "subscription.price_agreed": _("Agreed a price"),
    "subscription.change_scheduled": _("Scheduled a change"),
    "subscription.change_called_off": _("Called a change off"),
    "subscription.pause_scheduled": _("Scheduled a pause"),
    "subscription.pause_withdrawn": _("Took the pause back"),
    "subscription.resumed": _("Resumed"),
    "subscription.discount_applied": _("Redeemed a code"),
    "subscription.discount_removed": _("Removed a discount"),
    "subscription.discount_spent": _("Used up a discount"),
    "subscription.discount_restored": _("Gave a discount back"),
    "subscription.cancel_scheduled": _("Scheduled the cancellation"),
    "subscription.cancel_withdrawn": _("Took the cancellation back"),
    "subscription.status_changed": _("Subscription changed its status"),
    "invoice.finalized": _("Issued an invoice"),
    "invoice.payment_applied": _("Counted a payment"),
    "invoice.paid": _("Invoice paid"),
    "recharge.set": _("Set the automatic recharge"),
    "recharge.stopped": _("Stopped the automatic recharge"),
    "invoice.voided": _("Declared an invoice void"),
    "alert_rule.set": _("Began to watch a limit"),
    "alert_rule.ended": _("Stopped watching a limit"),
    "anomaly.acknowledged": _("Saw unusual usage"),
    "anomaly.ignored": _("Ignored unusual usage"),
    "anomaly.resolved": _("Dealt with unusual usage"),
    "seat.assigned": _("Assigned a seat"),
    "seat.offered": _("Offered a seat to an address"),
    "seat.offered_again": _("Sent the link to a seat again"),
    "seat.claimed": _("Claimed a seat"),
    "seat.released": _("Released a seat"),
    "pool.auto_expand_set": _("Set how far seats grow by themselves"),
    "billing.parked": _("Billing set aside"),
    "billing.released": _("Billing taken up again"),
}

ALERT_KINDS: Words = {
    "percent_of_included": _("Usage: percent of what is included"),
    "amount": _("Amount of the period under way"),
    "credits": _("Credit left"),
    "forecast_percent": _("Usage at the end of the period: percent of what is included"),
    "forecast_amount": _("Amount at the end of the period"),
}

FIELDS: Words = {
    "amount": _("Amount"),
    "cancel_at": _("Ends on"),
    "currency": _("Currency"),
    "fields": _("Fields"),
    "item": _("Item"),
    "name": _("Name"),
    "person": _("Person"),
    "plan": _("Plan"),
    "prefix": _("Begins with"),
    "quantity": _("Quantity"),
    "reason": _("Reason"),
    "role": _("Role"),
    "scopes": _("It may"),
    "slug": _("Short name"),
    "status": _("Status"),
    "timezone": _("Time zone"),
}


OBSTACLES: Words = {
    "not_issued": _("It is not issued: only a document with a number is an invoice."),
    "void": _("It is void."),
    "no_lines": _("It has no lines."),
    "seller_name": _("The seller has no name."),
    "seller_country": _("The seller has no country."),
    "seller_tax_id": _("The seller has no tax id."),
    "seller_vat_id": _("The seller's tax id is no VAT id."),
    "buyer_name": _("Your name is missing in the billing details."),
    "buyer_country": _("Your country is missing in the billing details."),
    "buyer_vat_id": _("Reverse charge needs your VAT id in the billing details."),
    "corrected_invoice": _("It does not say which invoice it corrects."),
    "currency": _("The standard no longer knows its currency."),
    "currency_decimals": _("An amount has more decimals than the standard knows."),
    "tax_not_stated": _("A line does not say how it is taxed."),
    "several_taxes": _("A line bears several taxes; the standard knows one."),
    "not_vat": _("A line bears a tax that is no value-added tax."),
    "unknown_treatment": _("A tax has no category in the standard."),
    "outside_and_inside": _("Some lines are outside the scope of VAT, others are not."),
    "amounts": _("Its sums cannot be said in the standard."),
    "not_archival": _("No font at hand writes all of it."),
}


def role_words(role: str) -> str:
    """Return a role's name."""
    return str(ROLES[role])


class Named(Protocol):
    """What is called by a plan of an application: a version, or a subscription in a list."""

    @property
    def plan_name(self) -> str: ...

    @property
    def application_name(self) -> str: ...


def full_name(version: Named) -> str:
    """Return a plan's name after its application's: several of them have a plan "Basic"."""
    return f"{version.application_name} · {version.plan_name}"


def action_words(action: str) -> str:
    """Return an audit entry's action in words; one without words stands as it is."""
    return str(ACTIONS.get(action, action))


def interval_words(interval: Interval) -> str:
    """Return how often a plan is billed: per month, every 3 months."""
    if interval.count == 1:
        return {
            Unit.DAY: gettext("per day"),
            Unit.WEEK: gettext("per week"),
            Unit.MONTH: gettext("per month"),
            Unit.QUARTER: gettext("per quarter"),
            Unit.YEAR: gettext("per year"),
        }[interval.unit]
    many = {
        Unit.DAY: gettext("every %(count)d days"),
        Unit.WEEK: gettext("every %(count)d weeks"),
        Unit.MONTH: gettext("every %(count)d months"),
        Unit.QUARTER: gettext("every %(count)d quarters"),
        Unit.YEAR: gettext("every %(count)d years"),
    }
    return many[interval.unit] % {"count": interval.count}


def discount_worth(facts: DiscountFacts, currency: str, formats: Formats) -> str:
    """Return what a discount takes off: 20 %, or an amount."""
    if facts.coupon.percent is not None:
        return formats.words().percent(facts.coupon.percent)
    worth = facts.coupon.worth(currency)
    return "" if worth is None else formats.money(worth.minor, currency)


def change_words(
    change: ChangeFacts, facts: SubscriptionFacts, versions: Mapping[str, VersionTerms]
) -> str:
    """Return a scheduled change in words; `versions` are plan versions by public id."""
    told = change.arguments
    version = versions.get(str(told.get("version", "")))
    plan = gettext("another plan") if version is None else version.plan_name
    names = {item.item.key: item.price.name for item in facts.items}
    names |= {item.version.plan_code: item.version.plan_name for item in facts.items}
    name = names.get(str(told.get("key", "")), "") or next(iter(names.values()), "")
    match change.action:
        case "plan":
            return gettext("Change to %(plan)s") % {"plan": plan}
        case "quantity":
            return gettext("%(name)s: %(count)s") % {"name": name, "count": told["quantity"]}
        case "add_item":
            return gettext("Add %(plan)s") % {"plan": plan}
        case "remove_item":
            return gettext("Remove %(plan)s") % {"plan": name}
        case "price":
            return gettext("Agreed price: %(name)s") % {"name": name}
    return gettext("Resume")
