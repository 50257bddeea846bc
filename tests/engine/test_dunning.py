"""When steps come, and which of those that are due happen."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from apps.engine.dunning import (
    DAY,
    LATE,
    TAKING,
    Action,
    Cause,
    Pace,
    Step,
    Verdict,
    begun,
    due,
    instants,
    next_step,
    steps_of,
)

HOUR = timedelta(hours=1)
ANCHOR = datetime(2026, 1, 10, 15, 30, tzinfo=UTC)
PLAIN = Pace(ANCHOR, "UTC", 9)
CAMPAIGN = (
    Step(1, 0, Action.REMIND, "reminder"),
    Step(1, 0, Action.PAST_DUE),
    Step(7, 0, Action.REMIND, "urgent"),
    Step(14, 0, Action.REMIND, "final"),
    Step(21, 0, Action.UNPAID),
    Step(21, 0, Action.NOTIFY_STAFF),
    Step(60, 0, Action.CANCEL),
)


def january(day: int, hour: int = 9) -> datetime:
    return datetime(2026, 1, 1, hour, tzinfo=UTC) + (day - 1) * DAY


def happened(pace: Pace, first: int, as_of: datetime) -> tuple[list[str], int, Pace]:
    """Ask again until nothing is due; return what happened."""
    found: list[str] = []
    while True:
        batch = due(CAMPAIGN, pace, first=first, as_of=as_of)
        if not batch.steps:
            return found, first, pace
        for position, verdict in batch.steps:
            step = CAMPAIGN[position]
            said = step.argument or step.action.value
            found.append(said if verdict is Verdict.HAPPENS else f"({said})")
        first, pace = batch.following, batch.pace


# --- instants -------------------------------------------------------------------------------------
def test_days_are_the_local_days_after_the_anchors_at_the_campaigns_hour() -> None:
    # 10 January 15:30 UTC is 10:30 in New York, whose 09:00 is 14:00 UTC
    pace = Pace(ANCHOR, "America/New_York", 9)
    assert instants([Step(1, 0, Action.PAST_DUE)], pace) == [january(11, 14)]
    # 01:30 UTC is the evening before there: one day after the 9th
    evening = Pace(january(10, 1) + 30 * timedelta(minutes=1), "America/New_York", 9)
    assert instants([Step(1, 0, Action.PAST_DUE)], evening) == [january(10, 14)]


def test_hours_without_days_count_from_the_anchor_itself() -> None:
    steps = [Step(0, 0, Action.REMIND, "reminder"), Step(0, 4, Action.PAST_DUE)]
    assert instants(steps, Pace(ANCHOR, "Asia/Tokyo", 9)) == [ANCHOR, ANCHOR + 4 * HOUR]


def test_the_hour_stays_when_clocks_change() -> None:
    # Berlin goes to summer time on 29 March 2026: 09:00 is 08:00 UTC before and 07:00 after
    pace = Pace(datetime(2026, 3, 27, 12, tzinfo=UTC), "Europe/Berlin", 9)
    steps = [Step(1, 0, Action.PAST_DUE), Step(2, 0, Action.UNPAID)]
    assert instants(steps, pace) == [
        datetime(2026, 3, 28, 8, tzinfo=UTC),
        datetime(2026, 3, 29, 7, tzinfo=UTC),
    ]


def test_an_hour_that_is_skipped_moves_on_and_one_that_comes_twice_means_the_first() -> None:
    spring = Pace(datetime(2026, 3, 28, 12, tzinfo=UTC), "Europe/Berlin", 2)
    # 02:00 does not exist on 29 March: 03:00 summer time, 01:00 UTC
    assert instants([Step(1, 0, Action.PAST_DUE)], spring) == [datetime(2026, 3, 29, 1, tzinfo=UTC)]
    autumn = Pace(datetime(2026, 10, 24, 12, tzinfo=UTC), "Europe/Berlin", 2)
    # 02:00 comes twice on 25 October, first at 00:00 UTC
    assert instants([Step(1, 0, Action.PAST_DUE)], autumn) == [
        datetime(2026, 10, 25, 0, tzinfo=UTC)
    ]


def test_no_step_comes_before_the_one_ahead_of_it() -> None:
    # 23 hours after 15:30 is 14:30 of the next day, whose 09:00 has passed by then
    steps = [Step(0, 23, Action.REMIND, "reminder"), Step(1, 0, Action.PAST_DUE)]
    assert instants(steps, PLAIN) == [ANCHOR + 23 * HOUR, ANCHOR + 23 * HOUR]


def test_a_run_has_the_steps_that_are_for_what_began_it() -> None:
    steps = (
        Step(0, 0, Action.REMIND, "reminder", Cause.FAILED),
        Step(1, 0, Action.REMIND, "reminder", Cause.OVERDUE),
        Step(2, 0, Action.PAST_DUE),
    )
    assert steps_of(steps, Cause.FAILED) == (steps[0], None, steps[2])
    plan = steps_of(steps, Cause.OVERDUE)
    assert next_step(plan, PLAIN, first=0) == (1, january(11))
    assert next_step(plan, PLAIN, first=3) == (3, None)


# --- what happens ---------------------------------------------------------------------------------
def test_nothing_happens_before_its_time() -> None:
    assert due(CAMPAIGN, PLAIN, first=0, as_of=january(11) - HOUR).steps == ()


def test_what_is_in_time_happens_and_nothing_moves() -> None:
    found, first, pace = happened(PLAIN, 0, january(11) + HOUR)
    assert (found, first, pace.shift) == (["reminder", "past_due"], 2, 0)


def test_after_a_weeks_outage_one_mail_is_sent_and_what_follows_keeps_its_distance() -> None:
    # The final notice was due on the 24th, and so was the urgent one on the 17th: both were missed
    found, first, pace = happened(PLAIN, 2, january(26, 12))
    assert found == ["(urgent)", "final"]
    # two days and three hours late: three days, so that seven full ones are left to pay
    assert pace.shift == 3
    assert next_step(CAMPAIGN, pace, first=first)[1] == january(34)


def test_nothing_is_taken_before_the_customer_was_told() -> None:
    # 50 days late: everything is due at once, and only the last mail before `unpaid` is sent
    as_of = january(61)
    found, first, pace = happened(PLAIN, 0, as_of)
    assert found == ["(reminder)", "past_due", "(urgent)", "final"]
    taken_at = next_step(CAMPAIGN, pace, first=first)[1]
    assert taken_at is not None
    assert taken_at - as_of >= 7 * DAY


def test_one_thing_is_taken_at_a_time() -> None:
    as_of = january(90)
    found, first, pace = happened(PLAIN, 4, as_of)
    assert found == ["unpaid", "notify_staff"]
    ends_at = next_step(CAMPAIGN, pace, first=first)[1]
    assert ends_at is not None
    assert ends_at - as_of >= 39 * DAY


def test_a_run_that_begins_late_runs_late_as_a_whole() -> None:
    pace = begun(CAMPAIGN, PLAIN, as_of=january(15, 12))
    # four days and three hours after its time the first mail waits for the next morning
    assert (pace.shift, next_step(CAMPAIGN, pace, first=0)[1]) == (5, january(16))
    assert begun(CAMPAIGN, PLAIN, as_of=january(11) + LATE).shift == 0


def test_a_mail_before_the_due_date_has_no_point_after_it() -> None:
    steps = (Step(-3, 0, Action.REMIND, "reminder"), Step(1, 0, Action.REMIND, "urgent"))
    assert begun(steps, PLAIN, as_of=ANCHOR + HOUR).shift == 0
    batch = due(steps, PLAIN, first=0, as_of=ANCHOR + HOUR)
    assert batch.steps == ((0, Verdict.SUPERSEDED),)
    assert (batch.next_at, batch.pace.shift) == (january(11), 0)
    before = due(steps, PLAIN, first=0, as_of=january(8))
    assert before.steps == ((0, Verdict.HAPPENS),)


# --- whatever the outage --------------------------------------------------------------------------
LOOKS = st.lists(st.integers(min_value=0, max_value=150 * 24), min_size=1, max_size=12)
ZONES = st.sampled_from(["UTC", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia"])


@given(LOOKS, ZONES)
def test_whenever_anybody_looks_each_step_comes_once_and_none_too_early(
    hours: list[int], timezone: str
) -> None:
    anchor = datetime(2026, 3, 1, 3, tzinfo=UTC)
    pace, first = Pace(anchor, timezone, 9), 0
    seen: list[int] = []
    told_at = taken_at = None
    for as_of in sorted({anchor + hour * HOUR for hour in hours}):
        mails = 0
        while (batch := due(CAMPAIGN, pace, first=first, as_of=as_of)).steps:
            for position, verdict in batch.steps:
                step = CAMPAIGN[position]
                seen.append(position)
                if verdict is not Verdict.HAPPENS:
                    continue
                if step.action is Action.REMIND:
                    mails, told_at = mails + 1, as_of
                if step.action in TAKING:
                    assert told_at is not None
                    apart = 7 * DAY if step.action is Action.UNPAID else 39 * DAY
                    since = told_at if step.action is Action.UNPAID else taken_at
                    assert since is not None
                    # whole local days at one hour: an hour may be missing where clocks change
                    assert as_of - since >= apart - LATE - 2 * HOUR
                    taken_at = as_of
            pace, first = batch.pace, batch.following
        assert mails <= 1
    assert seen == list(range(len(seen)))
