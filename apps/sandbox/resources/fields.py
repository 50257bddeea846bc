"""Fields that most objects have, set the way Stripe sets them."""

from __future__ import annotations

from typing import Any

from apps.sandbox.store import Body
from apps.sandbox.world.params import Params


def set_fields(body: Body, params: Params, *names: str) -> Body:
    """Set those of these fields that were given; an empty text unsets one. Metadata is merged."""
    for name, value in params.take(*names).items():
        if name == "metadata":
            merge_metadata(body, value)
        else:
            body[name] = value
    return body


def merge_metadata(body: Body, given: dict[str, str] | None) -> None:
    """Merge metadata: an empty value takes an entry away, empty metadata take all away."""
    if not given:
        body["metadata"] = {} if given is None else body["metadata"]
        return
    merged = {**body["metadata"], **given}
    body["metadata"] = {name: value for name, value in merged.items() if value != ""}


def address(given: dict[str, Any] | None) -> Body | None:
    """Return an address with all its fields."""
    if not given:
        return None
    names = ("city", "country", "line1", "line2", "postal_code", "state")
    return {name: given.get(name) or None for name in names}


def shipping(given: dict[str, Any] | None) -> Body | None:
    """Return where something is sent."""
    if not given:
        return None
    more = {name: given.get(name) for name in ("carrier", "name", "phone", "tracking_number")}
    return {"address": address(given.get("address")), **more}
