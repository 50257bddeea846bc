from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from apps.core import clock, rls
from apps.payments.gateway import Write
from apps.payments.models import ProviderCall, ProviderEvent
from apps.payments.services import calls
from tests.commands.shell import run, run_json
from tests.conftest import STAFF
from tests.payments.there import There, provider

pytestmark = pytest.mark.django_db


@pytest.fixture
def there() -> Iterator[There]:
    with provider() as there:
        yield there


def test_what_was_lost_is_read_from_the_list_and_handled(there: There) -> None:
    for number in range(3):
        there.change("credit_note", f"cn_{number}", at=clock.now() - timedelta(hours=number))
    assert run_json("backfill_stripe_events", "--handle") == {"found": 3, "handled": 3}
    assert run_json("backfill_stripe_events") == {"found": 0, "handled": 0}
    assert run_json("replay_stripe_events", "--object", "cn_1") == {"replayed": 1, "handled": 1}
    again = run("replay_stripe_events", "--type", "credit_note.", "--since", "2020-01-01")
    assert again.err.strip() == "3 events were put back, 3 objects were handled."


def test_a_replay_says_which_events(there: There) -> None:
    refused = run("replay_stripe_events")
    assert refused.code == 1
    assert "Say which events" in refused.err


def test_events_given_up_are_handled_again(there: There) -> None:
    there.change("credit_note", "cn_1", at=clock.now())
    run("backfill_stripe_events")
    with rls.ops_scope("test: give it up"):
        ProviderEvent.objects.update(state=ProviderEvent.State.DEAD)
    assert run_json("replay_stripe_events", "--failed") == {"replayed": 1, "handled": 1}


def test_a_call_that_is_stuck_ends_with_code_1(there: There) -> None:
    assert run("deliver_provider_calls").code == 0
    with rls.ops_scope("test: a call"):
        calls.enqueue(Write.VOID_INVOICE, about="inv_1", params={}, target="in_1")
        ProviderCall.objects.update(state=ProviderCall.State.STUCK)
    assert run("deliver_provider_calls").code == 1
    with rls.ops_scope("test: try again"):
        calls.retry_calls([ProviderCall.objects.get().pk], actor=STAFF)
    shown = run_json("deliver_provider_calls")
    assert shown == {"tried": 1, "pending": 0, "stuck": 0}


def test_without_stripe_the_commands_say_so() -> None:
    refused = run("backfill_stripe_events")
    assert refused.code == 1
    assert "No payment provider is configured" in refused.err


def test_an_event_that_was_given_up_is_a_finding(there: There) -> None:
    there.change("credit_note", "cn_1", at=clock.now())
    run("backfill_stripe_events", "--handle")
    assert checked()["state"] == "ok"
    with rls.ops_scope("test: give it up"):
        ProviderEvent.objects.update(state=ProviderEvent.State.PENDING)
        ProviderEvent.objects.update(state=ProviderEvent.State.DEAD)
        calls.enqueue(Write.VOID_INVOICE, about="inv_1", params={}, target="in_1")
        ProviderCall.objects.update(state=ProviderCall.State.STUCK)
    assert checked() == {
        "check": "stripe",
        "state": "fail",
        "seen": "1 events given up",
        "advice": "See the admin; replay_stripe_events.",
    }


def checked() -> dict[str, str]:
    """What doctor found first about Stripe."""
    found = run("doctor", "--format", "json").json["checks"]
    return dict(next(row for row in found if row["check"] == "stripe"))
