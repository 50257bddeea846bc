"""How commands say a wish: what is to change of a subscription, how it is billed, from when."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from django.core.management.base import CommandParser

from apps.backoffice.commands import Command, amount, decimal, instant
from apps.core.errors import Invalid
from apps.engine.period import iso
from apps.invoicing.document import Document
from apps.invoicing.quoting import Quoted
from apps.plans import selectors as plans
from apps.subscriptions.changes import (
    AddItem,
    Behaviour,
    ChangePlan,
    ChangeQuantity,
    OverridePrice,
    RemoveItem,
    Wish,
    agreed_terms,
)
from apps.subscriptions.facts import SubscriptionFacts


def add_wishes(parser: CommandParser) -> None:
    """Let a command say one wish, its behaviour and its moment."""
    parser.add_argument("organization", metavar="SLUG")
    parser.add_argument(
        "--subscription", default="", metavar="ID", help="or its application or plan"
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--plan", metavar="PLAN", help="change to this plan: its code or id")
    what.add_argument("--quantity", type=decimal, metavar="N", help="in all; see --item")
    what.add_argument("--add", metavar="PLAN", help="add this add-on")
    what.add_argument("--remove", metavar="KEY", help="end the add-on of this plan or item")
    what.add_argument(
        "--price", type=_price, metavar="KEY=AMOUNT", help="agree a price; KEY= ends that"
    )
    parser.add_argument("--item", default="", metavar="KEY", help="of several quantities")
    parser.add_argument(
        "--behaviour",
        choices=[one.value for one in Behaviour],
        default=Behaviour.NEXT_INVOICE.value,
        help="how the change is billed",
    )
    parser.add_argument("--from", dest="start", type=instant, help="schedule it for then")


def _price(text: str) -> tuple[str, Decimal | None]:
    key, _, agreed = text.partition("=")
    return key.strip(), decimal(agreed.strip()) if agreed.strip() else None


def wish_of(facts: SubscriptionFacts, options: Mapping[str, Any]) -> Wish:
    """Return the wish that the options say. Raises Invalid and UnknownPlan."""
    if options["plan"]:
        return ChangePlan(plans.current_version(options["plan"]).public_id)
    if options["quantity"] is not None:
        return ChangeQuantity(options["quantity"], options["item"])
    if options["add"]:
        return AddItem(plans.current_version(options["add"]).public_id)
    if options["remove"]:
        return RemoveItem(options["remove"])
    return price_wish(facts, *options["price"])


def price_wish(facts: SubscriptionFacts, key: str, amount: Decimal | None) -> OverridePrice:
    """Return the wish to agree on an item's amount, in major units, or on the list's with None."""
    chosen = next((one for one in facts.items if one.item.key == key and one.open), None)
    if chosen is None:
        raise Invalid(f"The subscription has no item '{key}'.", param="item")
    terms = None if amount is None else agreed_terms(chosen.price, amount=amount)
    return OverridePrice(key, terms)


def show_quote(command: Command, quoted: Quoted) -> None:
    """Print the lines of the invoices that the change makes or alters."""
    for title, document in (("Billed now", quoted.now), ("Next invoice", quoted.upcoming)):
        if document is not None:
            heads = [title, "Reason", ">Amount"]
            command.print_table(heads, [*_lines(document), *sums(document)])


def _lines(document: Document) -> list[tuple[str, str, str]]:
    return [
        (line.name, line.reason, amount(line.amount, document.currency)) for line in document.lines
    ]


def sums(document: Document) -> list[tuple[str, str, str]]:
    """Return discounts, taxes, credit and the total as rows of (name, what, amount)."""
    currency = document.currency
    taxes = [
        (tax.name, "included" if tax.inclusive else tax.treatment.replace("_", " "), tax.amount)
        for tax in document.taxes
        if tax.treatment != "none"
    ]
    rows = [
        *((one.name, "discount", -one.amount) for one in document.discounts),
        *taxes,
        *((one.name, "credit", -one.amount) for one in document.credits),
        ("Total", "", document.total),
    ]
    return [(name, what, amount(minor, currency)) for name, what, minor in rows]


def told(quoted: Quoted) -> str:
    """Return in one sentence what the change costs and from when it counts."""
    if not quoted.considered.changes:
        return "That is so already; nothing would change."
    moment = iso(quoted.considered.effective_at)
    if quoted.bills_now:
        return f"From {moment} on; {quoted.amount} at once."
    return f"From {moment} on; the next invoice changes by {quoted.amount}."
