"""The contract says what Stripe says: measured with Stripe's own example objects.

`stripe_examples.json` is a selection of the examples in Stripe's published API description (MIT).
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from apps.sandbox.contract import current
from apps.sandbox.contract.operations import operations
from apps.sandbox.resources.registered import OPERATIONS
from apps.sandbox.world.kinds import ABSENT

EXAMPLES: dict[str, Any] = json.loads(
    (Path(__file__).parent / "stripe_examples.json").read_text(encoding="utf-8")
)
# What Stripe's examples have that its description does not.
KNOWN = {
    "invoice": {"subscription": "a field of versions before 2025-03-31.basil, still in the example"}
}


def wrong(body: dict[str, Any]) -> set[str]:
    return {each.where for each in current().wrong_in_object(body) if not each.only_noted}


@pytest.mark.parametrize("kind", EXAMPLES)
def test_stripes_example_is_as_the_contract_says(kind: str) -> None:
    assert wrong(EXAMPLES[kind]) == set(KNOWN.get(kind, ()))


@pytest.mark.parametrize("kind", sorted(set(EXAMPLES) - set(KNOWN)))
def test_a_field_too_many_and_a_field_too_few_are_seen(kind: str) -> None:
    grown = {**EXAMPLES[kind], "surprise": 1}
    assert wrong(grown) == {"surprise"}
    shrunk = copy.deepcopy(EXAMPLES[kind])
    del shrunk["id"]
    assert wrong(shrunk) == {"id"}


@pytest.mark.parametrize("kind", ["invoice", "subscription", "charge", "customer", "refund"])
def test_a_new_object_has_the_fields_of_stripes_example(kind: str) -> None:
    ours = set(current().blank(kind)) - ABSENT.get(kind, frozenset()) - {"deleted"}
    theirs = set(EXAMPLES[kind]) - ABSENT.get(kind, frozenset()) - set(KNOWN.get(kind, ()))
    assert ours == theirs


def test_everything_that_is_stood_in_for_is_an_operation_of_stripe() -> None:
    assert set(OPERATIONS) <= set(operations()) | {"GET /v1/account"}


def test_the_contract_knows_every_operation_of_the_installed_client() -> None:
    assert len(operations()) > 500
    assert "POST /v1/invoices/create_preview" in operations()
    found = current().match("POST", "/v1/invoices/create_preview")
    assert found is not None
    assert found[1] == ()


@pytest.mark.parametrize(
    ("params", "where", "code"),
    [
        ({"customer": "cus_1", "quantity": 1}, "quantity", "parameter_unknown"),
        (
            {"customer": "cus_1", "payment_behavior": "hope"},
            "payment_behavior",
            "parameter_invalid",
        ),
        ({"customer": ""}, "customer", "parameter_invalid_empty"),
        ({"items": [{"quantity": "many"}]}, "items[0][quantity]", "parameter_invalid_integer"),
        ({"items": [{"cost": 1}]}, "items[0][cost]", "parameter_unknown"),
    ],
)
def test_a_request_that_stripe_would_refuse_is_refused(
    params: dict[str, Any], where: str, code: str
) -> None:
    operation = operations()["POST /v1/subscriptions"]
    found = current().wrong_in_request(operation, params)
    assert [(each.where, each.code) for each in found] == [(where, code)]
