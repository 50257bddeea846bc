"""What a refused charge means for the next try."""

from __future__ import annotations

import pytest

from apps.payments.declines import CLASSES, decline_class
from apps.payments.events import DeclineClass


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("insufficient_funds", DeclineClass.RETRY),
        ("generic_decline", DeclineClass.RETRY),
        ("processing_error", DeclineClass.RETRY),
        ("a_code_that_comes_next_year", DeclineClass.RETRY),
        ("", DeclineClass.RETRY),
        ("expired_card", DeclineClass.METHOD),
        ("lost_card", DeclineClass.METHOD),
        ("authentication_required", DeclineClass.ACTION),
        ("fraudulent", DeclineClass.NEVER),
    ],
)
def test_a_code_says_what_comes_next(code: str, kind: DeclineClass) -> None:
    assert decline_class(code) == kind


def test_the_issuers_advice_outranks_a_code_that_says_little() -> None:
    assert decline_class("generic_decline", "do_not_try_again") == DeclineClass.METHOD
    assert decline_class("incorrect_cvc", "try_again_later") == DeclineClass.RETRY


@pytest.mark.parametrize("advice", ["try_again_later", "confirm_card_data", ""])
def test_no_advice_tries_again_what_must_not_be_tried(advice: str) -> None:
    for code, kind in CLASSES.items():
        if kind in {DeclineClass.NEVER, DeclineClass.ACTION}:
            assert decline_class(code, advice) == kind
