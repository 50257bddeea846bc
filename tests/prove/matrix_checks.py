"""What every caller must get at every operation, by `docs/access.md`, and whether they do.

A caller asks for what is their own, for what is another organization's, for what is nobody's and
for what is no name at all, in every place where the operation takes a name. What is said of a
foreign thing must be said of one that does not exist, to the header; and whatever is refused has
changed nothing, in any table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from django.db import transaction

from apps.core import clock
from tests.api.access import Row
from tests.api.calls import CALLS, ORGANIZATION, Filled, fill
from tests.prove.matrix_door import Answer, Door, one_connection
from tests.prove.matrix_traces import Traces
from tests.prove.matrix_world import Caller, Names, Stage, made_up
from tests.prove.verdict import Findings
from tests.worlds import NOW

FORBIDDEN = 403
UNSEEN = {400, 404}
LACKS = {"missing_scope", "forbidden", "platform_key_needed"}
MALFORMED = (
    "not-an-id", "org_", "' OR 1=1 --", "\N{SNOWMAN}", "x" * 300, "inv_\x00", "ext:", "..%00",
)  # fmt: skip
# Where nothing of that name is an answer like any other, and no refusal.
ANSWERED = {
    ("check_access", "/organization"),
    ("verify_seat", "/external_org_id"),
    ("former_verify_seat", "/externalOrgId"),
    ("list_invoices", "?subscription"),
}
# What was refused is kept, to be looked at: that is all that a refusal leaves.
KEPT = {"send_events": ["usage_rejected_event"]}


@dataclass(slots=True)
class Inspector:
    """Somebody who sends each caller to operations, and notes what is wrong."""

    stage: Stage
    door: Door
    met: Findings
    traces: Traces
    thorough: bool

    def inspect(self, row: Row, callers: Iterable[Caller]) -> None:
        """Send callers to an operation."""
        for caller in callers:
            for said in _Visit(self, row, caller).faults():
                self.met.faults.append(f"{row.name}: {caller.name}: {said}")

    def malformed(self) -> Iterable[str]:
        """Return what is no name: all that there is, or the next."""
        return MALFORMED if self.thorough else [MALFORMED[self.met.probes % len(MALFORMED)]]


def inspect(
    stage: Stage, rows: Iterable[Row], *, only: str = "", turn: int | None = None
) -> Findings:
    """Send everybody (or those whose name has `only` in it) to some operations.

    With a `turn` they take turns, operation by operation: one of those who are alike, with one
    name that is none.
    """
    met = Findings()
    with clock.frozen(NOW), one_connection(), transaction.atomic():
        inspector = Inspector(stage, Door(), met, Traces(), thorough=turn is None)
        for number, row in enumerate(rows):
            callers = stage.callers(row) if turn is None else stage.some(row, turn + number)
            inspector.inspect(row, (one for one in callers if only in one.name))
        transaction.set_rollback(True)
    return met


@dataclass(frozen=True, slots=True)
class _Visit:
    """One caller at one operation."""

    inspector: Inspector
    row: Row
    caller: Caller

    @property
    def is_let_in(self) -> bool:
        return self.row.is_open or (self.caller.refused is None and self.caller.may(self.row))

    @property
    def is_turned_away(self) -> bool:
        """Whether nothing of what is asked for may be looked at before the refusal."""
        lacks_a_scope = bool(self.caller.scopes) and not self.caller.scopes >= set(self.row.scopes)
        return self.caller.refused is not None or lacks_a_scope

    @property
    def own(self) -> Names:
        stage = self.inspector.stage
        return stage.mine if self.caller.at_home else stage.theirs

    @property
    def foreign(self) -> Names:
        stage = self.inspector.stage
        return stage.theirs if self.caller.at_home else stage.mine

    def faults(self) -> Iterator[str]:
        """Yield what is wrong."""
        yield from self._strange()
        beside_the_path = [place for place in CALLS[self.row.name].names if place[0] in "?/"]
        for place in ("", *beside_the_path):
            yield from self._at_home(place)

    # --- what is one's own ------------------------------------------------------------------------
    def _at_home(self, place: str) -> Iterator[str]:
        asked = self._request(place, None)
        with self.inspector.traces.undone() as changed:
            answer = self._ask(asked)
        said = f"{asked.method} {asked.path}"
        yield from self._judged(answer, said)
        if answer.status >= 400:
            yield from self._changes(changed, said)

    def _judged(self, answer: Answer, said: str) -> Iterator[str]:
        if not self.is_let_in:
            yield from self._refusal(answer, said)
        elif answer.status != CALLS[self.row.name].ok:
            yield f"{said} gets {answer.status} {answer.code}"

    def _refusal(self, answer: Answer, said: str) -> Iterator[str]:
        got = answer.status, answer.code
        if self.caller.refused is not None:
            if got != self.caller.refused:
                yield f"{said} gets {got}, not {self.caller.refused}"
        elif answer.status != FORBIDDEN or answer.code not in LACKS:
            yield f"{said} gets {got}, not {FORBIDDEN}"

    # --- what is somebody else's, or nobody's -----------------------------------------------------
    def _strange(self) -> Iterator[str]:
        with self.inspector.traces.undone() as changed:
            for place, thing in CALLS[self.row.name].names.items():
                yield from self._elsewhere(place, thing)
                yield from self._malformed(place)
        yield from self._changes(changed, "what is not theirs")

    def _elsewhere(self, place: str, thing: str) -> Iterator[str]:
        for name, nobody in zip(self.foreign.of(thing), made_up().of(thing), strict=True):
            unknown = self._ask(self._request(place, nobody))
            said = f"{place}={nobody}"
            yield from self._unseen(unknown, place, said)
            if (self.is_let_in and self.caller.kind == "platform") or self.row.is_open:
                continue
            answer = self._ask(self._request(place, name))
            if answer.but_for(name) != unknown.but_for(nobody):
                yield f"{place}={name} tells that there is such a thing: {answer.status}"
            if any(word.encode() in answer.body for word in self._words(name)):
                yield f"{place}={name} shows what is somebody else's"

    def _words(self, asked: str) -> Iterator[str]:
        return (word for word in self.foreign.first.values() if word != asked)

    def _malformed(self, place: str) -> Iterator[str]:
        for name in self.inspector.malformed():
            answer = self._ask(self._request(place, name))
            yield from self._unseen(answer, place, f"{place}={name!r}")

    def _unseen(self, answer: Answer, place: str, said: str) -> Iterator[str]:
        """Yield what is wrong with an answer about what the caller cannot see."""
        if not self.is_let_in:
            if answer.status not in UNSEEN or self.is_turned_away:
                yield from self._refusal(answer, said)
        elif (self.row.name, place) in ANSWERED:
            if answer.status not in {CALLS[self.row.name].ok, *UNSEEN}:
                yield f"{said} gets {answer.status}"
        elif answer.status not in UNSEEN:
            yield f"{said} gets {answer.status}"

    # ----------------------------------------------------------------------------------------------
    def _changes(self, changed: list[str], said: str) -> Iterator[str]:
        if changed and not (self.is_let_in and changed == KEPT.get(self.row.name)):
            yield f"{said} is refused and changes {', '.join(changed)}"

    def _request(self, place: str, name: str | None) -> Filled:
        """Return the request with a name in one place, and what is the caller's own elsewhere."""
        names = CALLS[self.row.name].names
        values = {where: self.own.first[thing] for where, thing in names.items()}
        if name is not None:
            values[place] = name
        named = {place} if place else set()
        if self.caller.kind == "platform":  # which is nobody's, and has to say whose
            named |= {where for where in values if values[where] == self.own.first[ORGANIZATION]}
        return fill(self.row.name, values, named)

    def _ask(self, asked: Filled) -> Answer:
        self.inspector.met.probes += 1
        shown = {"Authorization": f"Bearer {self.caller.shows}"} if self.caller.shows else {}
        return self.inspector.door.ask(asked, {**shown, **self.caller.headers})
