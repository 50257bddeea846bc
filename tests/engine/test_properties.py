"""Engine and oracle agree on whatever hypothesis makes of each subject, and shrinks.

The long run of the same subjects, with mutants of the engine, is `make prove NAME=oracle`.
"""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.prove.oracle_examples import SUBJECTS


@pytest.mark.parametrize("subject", SUBJECTS)
@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(chance=st.randoms(use_true_random=False))
def test_the_engine_and_the_oracle_say_the_same(subject: str, chance: Random) -> None:
    difference = SUBJECTS[subject](chance).difference()
    assert difference is None, difference
