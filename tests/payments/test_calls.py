from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import transaction

from apps.core import clock, rls
from apps.payments import gateway, services
from apps.payments.errors import (
    NotConfigured,
    ProviderBusy,
    ProviderDown,
    ProviderRefused,
    UnknownThere,
)
from apps.payments.gateway import Answer, Write
from apps.payments.models import ProviderCall, ProviderCustomer
from apps.payments.services import calls
from apps.tenants.models import Organization
from tests.conftest import STAFF
from tests.payments.scripted import Said, lost, provider, refusal

NOW = datetime(2026, 3, 1, tzinfo=UTC)
State = ProviderCall.State


def create(organization: Organization, name: str = "Acme") -> Answer:
    return calls.call(
        Write.CREATE_CUSTOMER,
        about=organization.public_id,
        params={"name": name},
        organization_id=organization.pk,
    )


def the_call() -> ProviderCall:
    with rls.ops_scope("test: the call"):
        return ProviderCall.objects.get()


def wish(number: int, target: str, lane: str = "") -> None:
    with rls.ops_scope("test: write down a wish"):
        calls.enqueue(
            Write.UPDATE_CUSTOMER,
            about=f"acme:{number}",
            params={"name": str(number)},
            target=target,
            lane=lane,
        )


def later(**by: float) -> Any:
    return clock.frozen(clock.now() + timedelta(**by))


def test_a_call_is_written_down_said_and_recorded(organization: Organization) -> None:
    with provider(Said({"id": "cus_1"})) as script:
        assert create(organization) == {"id": "cus_1"}
    (asked,) = script.asked
    assert (asked.method, asked.path) == ("post", "/v1/customers")
    assert asked.params == {"name": "Acme", "metadata[billing_id]": organization.public_id}
    row = the_call()
    assert asked.key == row.key
    assert row.key == f"create_customer:{organization.pk}:{organization.public_id}:1"
    assert (row.state, row.provider_id, row.tries) == (State.DONE, "cus_1", 1)


def test_the_answer_is_written_down_with_the_call(organization: Organization) -> None:
    with provider(Said({"id": "cus_1"})):
        assert services.ensure_customer(organization.pk) == "cus_1"
        assert services.ensure_customer(organization.pk) == "cus_1"
    with rls.tenant_scope(organization.pk):
        assert ProviderCustomer.objects.get().provider_id == "cus_1"


def test_what_is_done_is_not_done_again_but_read(organization: Organization) -> None:
    with provider(Said({"id": "cus_1"}), Said({"id": "cus_1", "name": "Acme"})) as script:
        create(organization)
        assert create(organization)["name"] == "Acme"
    assert [asked.method for asked in script.asked] == ["post", "get"]


def test_a_lost_answer_is_asked_for_with_the_same_key(organization: Organization) -> None:
    with clock.frozen(NOW), provider(lost(), Said({"id": "cus_1"})) as script:
        with pytest.raises(ProviderDown):
            create(organization)
        assert (the_call().state, the_call().error_class) == (State.PENDING, "down")
        assert services.deliver_calls() == 0  # not yet
        with later(seconds=4):
            assert services.deliver_calls() == 1
    assert script.asked[0] == script.asked[1]
    assert the_call().state == State.DONE
    with rls.tenant_scope(organization.pk):
        assert ProviderCustomer.objects.count() == 1


def test_pauses_grow_to_four_minutes_and_no_further(organization: Organization) -> None:
    with clock.frozen(NOW), provider(*[lost()] * 12):
        with pytest.raises(ProviderDown):
            create(organization)
        at = NOW
        for _ in range(11):
            at = the_call().next_try_at
            with clock.frozen(at):
                services.deliver_calls()
        assert timedelta(minutes=2) <= the_call().next_try_at - at <= timedelta(minutes=4)
    assert the_call().tries == 12


def test_a_refusal_is_settled_and_remembered(organization: Organization) -> None:
    said = refusal(402, type="card_error", code="card_declined", decline_code="lost_card")
    with provider(said):
        for _ in range(2):
            with pytest.raises(ProviderRefused) as caught:
                create(organization)
            assert caught.value.provider_code == "card_declined"
            assert caught.value.decline_code == "lost_card"
    assert (the_call().state, the_call().tries) == (State.REFUSED, 1)


def test_what_was_refused_may_be_asked_otherwise(organization: Organization) -> None:
    with provider(refusal(400, code="parameter_invalid"), Said({"id": "cus_1"})) as script:
        with pytest.raises(ProviderRefused):
            create(organization)
        assert create(organization, "Acme Inc.")["id"] == "cus_1"
    assert [asked.key[-2:] for asked in script.asked] == [":1", ":2"]


def test_too_many_requests_put_a_call_off(organization: Organization) -> None:
    with provider(refusal(429, code="lock_timeout")), pytest.raises(ProviderBusy):
        create(organization)
    assert (the_call().state, the_call().error_class) == (State.PENDING, "busy")


def test_a_key_with_other_parameters_is_a_mistake_of_ours(organization: Organization) -> None:
    with (
        clock.frozen(NOW),
        provider(refusal(400, type="idempotency_error"), Said({"id": "cus_1"})) as script,
    ):
        with pytest.raises(ProviderRefused):
            create(organization)
        assert the_call().state == State.STUCK
        assert services.deliver_calls() == 0
        with rls.ops_scope("test: try again"):
            services.retry_calls([the_call().pk], actor=STAFF)
        assert services.deliver_calls() == 1
    assert [asked.key[-2:] for asked in script.asked] == [":1", ":2"]


def test_a_failure_that_sticks_to_its_key_is_looked_up_and_found(
    organization: Organization,
) -> None:
    sticky = Said({"error": {"message": "Oh."}}, 500, {"Idempotent-Replayed": "true"})
    made = {"id": "cus_1", "metadata": {"billing_id": organization.public_id}}
    listed = Said({"data": [{"id": "cus_0", "metadata": {}}, made], "has_more": False})
    with clock.frozen(NOW), provider(refusal(500), sticky, listed) as script:
        with pytest.raises(ProviderDown):
            create(organization)
        for seconds in (10, 60):
            with later(seconds=seconds):
                services.deliver_calls()
    assert [asked.method for asked in script.asked] == ["post", "post", "get"]
    assert (the_call().state, the_call().provider_id) == (State.DONE, "cus_1")


def test_a_failure_that_sticks_and_did_nothing_gets_the_next_key(
    organization: Organization,
) -> None:
    sticky = Said({"error": {"message": "Oh."}}, 500, {"Idempotent-Replayed": "true"})
    nothing = Said({"data": [], "has_more": False})
    with clock.frozen(NOW), provider(sticky, nothing, Said({"id": "cus_2"})) as script:
        with pytest.raises(ProviderDown):
            create(organization)
        with later(seconds=10):
            services.deliver_calls()
    assert [asked.key[-2:] for asked in script.asked if asked.method == "post"] == [":1", ":2"]
    assert the_call().provider_id == "cus_2"


def test_a_key_older_than_23_hours_is_looked_up_first(organization: Organization) -> None:
    made = {"id": "cus_1", "metadata": {"billing_id": organization.public_id}}
    listed = Said({"data": [made], "has_more": False})
    with clock.frozen(NOW), provider(lost(), listed) as script:
        with pytest.raises(ProviderDown):
            create(organization)
        with later(hours=23, seconds=1):
            services.deliver_calls()
    assert [asked.method for asked in script.asked] == ["post", "get"]
    assert the_call().provider_id == "cus_1"


def test_an_object_that_changed_already_is_not_changed_again(organization: Organization) -> None:
    with clock.frozen(NOW), provider(lost(), Said({"id": "in_1", "status": "paid"})) as script:
        with pytest.raises(ProviderDown):
            calls.call(
                Write.PAY_INVOICE,
                about="inv_1:1",
                params={},
                target="in_1",
                organization_id=organization.pk,
            )
        with later(hours=24):
            services.deliver_calls()
    assert [(asked.method, asked.path) for asked in script.asked] == [
        ("post", "/v1/invoices/in_1/pay"),
        ("get", "/v1/invoices/in_1"),
    ]
    assert the_call().state == State.DONE


def test_what_is_to_be_deleted_may_be_gone(organization: Organization) -> None:
    with provider(refusal(404, code="resource_missing")):
        answer = calls.call(Write.DELETE_INVOICE, about="inv_1", params={}, target="in_1")
    assert answer["deleted"]
    assert the_call().state == State.DONE


def test_another_change_of_what_is_not_there_is_refused(organization: Organization) -> None:
    with provider(refusal(404, code="resource_missing")), pytest.raises(UnknownThere):
        calls.call(Write.VOID_INVOICE, about="inv_1", params={}, target="in_1")
    assert the_call().state == State.REFUSED


def test_calls_of_a_lane_keep_their_order(organization: Organization) -> None:
    with clock.frozen(NOW):
        for number in (1, 2):
            wish(number, "cus_1", "cus_1")
        with provider(lost()):
            assert services.deliver_calls() == 1  # the second waits for the first
        with later(seconds=10), provider(Said({"id": "cus_1"}), Said({"id": "cus_1"})) as script:
            assert services.deliver_calls() == 2
    assert [asked.params["name"] for asked in script.asked] == ["1", "2"]


def test_nobody_overtakes_what_waits_in_its_lane(organization: Organization) -> None:
    with clock.frozen(NOW):
        wish(1, "cus_1", "cus_1")
        with provider(), pytest.raises(ProviderBusy):
            calls.call(
                Write.UPDATE_CUSTOMER, about="acme:2", params={}, target="cus_1", lane="cus_1"
            )


def test_a_provider_that_is_down_is_not_asked_for_everything(organization: Organization) -> None:
    with clock.frozen(NOW):
        for number in range(5):
            wish(number, f"cus_{number}")
        with provider(lost(), lost(), lost()):
            assert services.deliver_calls() == 3


def test_an_answer_that_cannot_be_recorded_is_asked_for_again(organization: Organization) -> None:
    with clock.frozen(NOW), provider(Said({}), Said({"id": "cus_1"})) as script:
        with rls.tenant_scope(organization.pk):
            calls.enqueue(
                Write.CREATE_CUSTOMER,
                about=organization.public_id,
                params={},
                organization_id=organization.pk,
            )
        services.deliver_calls()  # the answer has no id to write down
        assert "KeyError" in the_call().error
        with later(seconds=10):
            services.deliver_calls()
    assert script.asked[0].key == script.asked[1].key
    assert the_call().state == State.DONE


def test_the_provider_is_never_asked_inside_a_transaction(committed_db: str) -> None:
    with provider(), transaction.atomic(), pytest.raises(RuntimeError, match="transaction"):
        gateway.read("/v1/account")


def test_without_a_key_nobody_is_asked(organization: Organization) -> None:
    assert not gateway.configured()
    with pytest.raises(NotConfigured):
        gateway.read("/v1/account")


def test_nothing_is_written_down_without_a_provider(organization: Organization) -> None:
    with pytest.raises(NotConfigured):
        services.ensure_customer(organization.pk)
    with rls.ops_scope("test: calls"):
        assert not ProviderCall.objects.exists()


def test_a_write_says_whether_it_acts_on_something() -> None:
    assert Write.PAY_INVOICE.path("in_1") == "/v1/invoices/in_1/pay"
    assert Write.UPDATE_COUPON.path("25 % off") == "/v1/coupons/25%20%25%20off"
    for operation, target in ((Write.PAY_INVOICE, ""), (Write.CREATE_INVOICE, "in_1")):
        with pytest.raises(ValueError, match="acts on"):
            operation.path(target)
    assert [op.name for op in Write if not op.kind] == ["CREATE_PORTAL_SESSION"]
