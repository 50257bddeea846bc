"""What visitors of the hosted invoice and of the billing portal do there."""

from __future__ import annotations

from apps.sandbox.errors import Refusal, invalid
from apps.sandbox.resources import collecting, customers, intents, payment_methods, subscriptions
from apps.sandbox.resources.checkout import Payer, method_of
from apps.sandbox.store import Body
from apps.sandbox.world.objects import World
from apps.sandbox.world.params import Params


def methods_of(world: World, customer: Body) -> list[Body]:
    """Return the payment methods saved with a customer, youngest first."""
    return world.find("payment_method", customer=customer["id"])


# --- the hosted invoice --------------------------------------------------------------------------


def pay_saved(world: World, invoice_id: str, method_id: str) -> Body:
    """Pay an invoice with a saved method. Raises Refusal when it is declined, or must be asked."""
    invoice = world.get("invoice", invoice_id)
    collecting.refuse_unpayable(invoice)
    method = world.get("payment_method", method_id)
    if method["customer"] != invoice["customer"]:
        raise invalid("This payment method is another customer's.", param="payment_method")
    return collecting.pay_now(world, invoice, method_id)


def pay_anew(world: World, invoice_id: str, payer: Payer, *, keep: bool) -> Body:
    """Pay an invoice with a card typed in now; `keep` saves it as the default one, once it paid.

    Raises Refusal when it is declined, or its owner must be asked.
    """
    invoice = world.get("invoice", invoice_id)
    collecting.refuse_unpayable(invoice)
    method = method_of(world, payer)
    intent = world.get("payment_intent", invoice["_intent"])
    intent["_keep"] = method["id"] if keep else None
    paid = collecting.pay_now(world, invoice, method["id"])
    _keep(world, intent)
    return paid


@intents.follow
def _keep_what_paid(world: World, intent: Body) -> None:
    if intent["object"] == "payment_intent":
        _keep(world, intent)


def _keep(world: World, intent: Body) -> None:
    """Save the card that paid, when its owner wanted that."""
    kept = intent.get("_keep")
    if kept is None or intent["status"] not in {"succeeded", "processing"}:
        return
    intent["_keep"] = None
    customer = world.get("customer", intent["customer"])
    payment_methods.attach(world, kept, customer)["_set_up"] = True
    make_default(world, customer, kept)


# --- the billing portal --------------------------------------------------------------------------


def customer_of(world: World, session_id: str) -> Body:
    """Return whose portal a session opens."""
    session = world.get("billing_portal.session", session_id)
    return world.get("customer", session["customer"])


def add_method(world: World, session_id: str, payer: Payer) -> Body:
    """Save a payment method as the default one; return the setup intent, which may have to wait.

    Raises Refusal when the bank refuses it.
    """
    customer = customer_of(world, session_id)
    method = method_of(world, payer)
    wanted = {"customer": customer["id"], "payment_method": method["id"]}
    if method["type"] != "card":
        wanted["payment_method_types"] = [method["type"]]
    intent = intents.create_setup(world, Params(wanted))
    intent["_portal"] = session_id
    intents.confirm_setup(world, Params(), intent["id"])
    _prefer_saved(world, intent)
    return intent


@intents.follow
def _prefer_saved(world: World, intent: Body) -> None:
    if intent.get("_portal") is not None and intent["status"] == "succeeded":
        customer = world.get("customer", intent["customer"])
        make_default(world, customer, intent["payment_method"])


def make_default(world: World, customer: Body, method_id: str) -> None:
    """Charge this method from now on. Raises Refusal for one of another customer."""
    method = world.get("payment_method", method_id)
    if method["customer"] != customer["id"]:
        raise invalid("This payment method is another customer's.", param="payment_method")
    wanted = {"invoice_settings": {"default_payment_method": method_id}}
    customers.update(world, Params(wanted), customer["id"])


def remove_method(world: World, customer: Body, method_id: str) -> None:
    """Forget a method. Raises Refusal for one of another customer."""
    if world.get("payment_method", method_id)["customer"] != customer["id"]:
        raise invalid("This payment method is another customer's.", param="payment_method")
    payment_methods.detach(world, Params(), method_id)


def set_ending(world: World, session_id: str, subscription_id: str, *, ends: bool) -> None:
    """Cancel a subscription as the portal's configuration says, or take that back.

    Raises Refusal where the configuration does not offer it.
    """
    session = world.get("billing_portal.session", session_id)
    offer = features(world, session)["subscription_cancel"]
    subscription = world.get("subscription", subscription_id)
    if subscription["customer"] != session["customer"] or not offer["enabled"]:
        raise Refusal(403, "Canceling is not offered here.")
    if ends and offer.get("mode") == "immediately":
        subscriptions.cancel(world, Params(), subscription_id)
    else:
        subscriptions.update(world, Params({"cancel_at_period_end": ends}), subscription_id)


def features(world: World, session: Body) -> Body:
    """Return what a session's configuration lets its visitor do."""
    configuration = world.get("billing_portal.configuration", session["configuration"])
    offered: Body = configuration["features"]
    return offered
