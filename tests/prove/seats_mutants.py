"""Seats with a guard taken away; each alone must leave somebody a seat too many."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.seats.services import pools
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Weakened:
    """The guard that rounds are played without, in the database and in the code."""

    name: str
    spoils: tuple[str, ...] = ()
    change: Callable[[], None] = lambda: None


def _nobody_waits() -> None:
    mutate(
        pools, "lock", ('Pool.objects.select_for_update(of=("self",), no_key=True)', "Pool.objects")
    )


# Reads first and writes then, so that two who count at once count one.
COUNTS_ASIDE = """
CREATE OR REPLACE FUNCTION seats_count() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE known integer;
BEGIN
  SELECT assigned INTO known FROM seats_pool
  WHERE organization_id = NEW.organization_id AND id = NEW.pool_id;
  PERFORM pg_sleep(0.02);
  UPDATE seats_pool SET assigned = known + CASE WHEN NEW.status = 'released' THEN -1 ELSE 1 END
  WHERE organization_id = NEW.organization_id AND id = NEW.pool_id;
  RETURN NULL;
END $$"""
UNCHECKED = "ALTER TABLE seats_pool DROP CONSTRAINT no_more_seats_than_bought"
DOUBLED = ("DROP INDEX one_seat_a_person", "DROP INDEX one_seat_an_address")
MUTANTS = (
    Weakened("no CHECK", (UNCHECKED,)),
    Weakened("no lock", (COUNTS_ASIDE,), _nobody_waits),
    Weakened("no partial unique", DOUBLED),
)
