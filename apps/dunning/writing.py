"""Steps of a campaign as people write them, a line each, and as they are kept.

    0 remind reminder if failed
    1d past_due
    3d retry
    7d remind urgent
    14d+2h unpaid
    30d downgrade free

A line says when, what and with what: days from the anchor (-3d is before it), hours, or both; then
the action, the mail or the plan, and which runs it is for where that is not all of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from apps.core.errors import Invalid
from apps.engine.dunning import Action, Cause, Step

MAILS = ("reminder", "urgent", "final")
WITH_ARGUMENT = {Action.REMIND, Action.DOWNGRADE}
ACTIONS, CAUSES = [one.value for one in Action], [one.value for one in Cause]
MOST_DAYS, MOST_STEPS = 365, 40
WHEN = re.compile(r"(?:([+-]?[0-9]{1,3})d)?(?:\+?([0-9]{1,2})h)?|0")


def parse_steps(text: str) -> tuple[Step, ...]:
    """Read steps, a line each; raises Invalid with the line at fault. Empty lines are left out."""
    lines = [(number, line.split()) for number, line in enumerate(text.splitlines(), 1)]
    return check_steps([_step(words, number) for number, words in lines if words])


def write_steps(steps: Iterable[Step]) -> str:
    """Write steps, a line each, as `parse_steps` reads them."""
    return "\n".join(map(write_step, steps))


def write_step(step: Step) -> str:
    """Write one step: 14d+2h remind final if failed."""
    words = [write_when(step), step.action.value, step.argument]
    return " ".join(word for word in words if word) + (f" if {step.only}" if step.only else "")


def write_when(step: Step) -> str:
    """Write when a step comes: -3d, 0, 4h, 14d+2h."""
    if not step.days:
        return f"{step.hours}h" if step.hours else "0"
    return f"{step.days}d" + (f"+{step.hours}h" if step.hours else "")


def kept(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return steps as plain JSON."""
    return [
        {
            "days": step.days,
            "hours": step.hours,
            "action": step.action.value,
            "argument": step.argument,
            "only": step.only.value if step.only else "",
        }
        for step in steps
    ]


def read_steps(rows: Sequence[Mapping[str, Any]]) -> tuple[Step, ...]:
    """Return steps that were kept."""
    return tuple(
        Step(
            row["days"],
            row["hours"],
            Action(row["action"]),
            row["argument"],
            Cause(row["only"]) if row["only"] else None,
        )
        for row in rows
    )


def check_steps(steps: Sequence[Step]) -> tuple[Step, ...]:
    """Return the steps if they make a campaign; raises Invalid with the step at fault."""
    if not 0 < len(steps) <= MOST_STEPS:
        raise _refused(f"A campaign has 1 to {MOST_STEPS} steps.")
    for number, step in enumerate(steps, 1):
        _check_step(step, number)
    for number, (one, other) in enumerate(pairwise(steps), 2):
        if (other.days, other.hours) < (one.days, one.hours):
            raise _refused(f"Step {number} comes before the one ahead of it: put them in order.")
    _check_order(steps)
    return tuple(steps)


def _check_step(step: Step, number: int) -> None:
    if not -MOST_DAYS <= step.days <= MOST_DAYS or not 0 <= step.hours <= 23:
        raise _refused(f"Step {number}: at most {MOST_DAYS} days either way, and 23 hours.")
    if step.before_due and step.action is not Action.REMIND:
        raise _refused(f"Step {number}: before the due date there are reminders only.")
    if step.action is Action.REMIND and step.argument not in MAILS:
        raise _refused(f"Step {number}: a reminder is one of {', '.join(MAILS)}.")
    if step.action is Action.DOWNGRADE and not step.argument:
        raise _refused(f"Step {number}: say to which plan, by its code.")
    if step.action not in WITH_ARGUMENT and step.argument:
        raise _refused(f"Step {number}: '{step.action}' takes nothing more.")


def _check_order(steps: Sequence[Step]) -> None:
    """Refuse what could never come: a cancellation before something else that is taken away, and
    two ends.
    """
    for cause in Cause:
        if not any(step.only in {None, cause} and not step.before_due for step in steps):
            raise _refused(f"Say at least one step for runs that began because of '{cause}'.")
        ends = [n for n, step in enumerate(steps, 1) if _ends(step) and step.only in {None, cause}]
        taken = [n for n, step in enumerate(steps, 1) if step.takes and step.only in {None, cause}]
        if len(ends) > 1:
            raise _refused(f"Step {ends[1]}: a run cancels or downgrades once.")
        if ends and taken[-1] != ends[0]:
            raise _refused(f"Step {taken[-1]}: nothing is left to take after step {ends[0]}.")
        told = [
            step.action is Action.REMIND and step.only in {None, cause}
            for step in steps[: taken[0] if taken else 0]
        ]
        if taken and not any(told):
            raise _refused(f"Step {taken[0]}: tell the customer by a reminder before it.")


def _ends(step: Step) -> bool:
    return step.action in {Action.CANCEL, Action.DOWNGRADE}


def _step(words: Sequence[str], number: int) -> Step:
    rest, only = _condition(words, number)
    found = WHEN.fullmatch(rest[0])
    if found is None:
        raise _refused(f"Line {number}: '{rest[0]}' is no time; write -3d, 0, 4h or 14d+2h.")
    if len(rest) < 2 or rest[1] not in ACTIONS:
        said = rest[1] if len(rest) > 1 else ""
        raise _refused(f"Line {number}: '{said}' is none of {', '.join(ACTIONS)}.")
    if len(rest) > 3:
        raise _refused(f"Line {number}: '{rest[3]}' is too much; write one thing a line.")
    argument = rest[2] if len(rest) > 2 else ""
    return Step(int(found[1] or 0), int(found[2] or 0), Action(rest[1]), argument, only)


def _condition(words: Sequence[str], number: int) -> tuple[Sequence[str], Cause | None]:
    if len(words) < 3 or words[-2] != "if":
        return words, None
    if words[-1] not in CAUSES:
        raise _refused(f"Line {number}: a step is for all runs, 'if overdue' or 'if failed'.")
    return words[:-2], Cause(words[-1])


def _refused(said: str) -> Invalid:
    return Invalid(said, param="steps")
