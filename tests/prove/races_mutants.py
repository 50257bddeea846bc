"""Races with the guard taken away; each must be lost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.invoicing import services as invoicing
from apps.tenants import services as tenants
from tests.prove.mutation import mutate


@dataclass(frozen=True, slots=True)
class Unguarded:
    """A race, and the guards that it is run without, in the code and in the database."""

    name: str
    race: str
    change: Callable[[], None] = lambda: None
    spoils: tuple[str, ...] = ()


# Looks first and counts later, as a service without a lock would.
LOOKS_AND_COUNTS = """
CREATE OR REPLACE FUNCTION plans_redeem(wanted_coupon bigint, wanted_code bigint) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE used integer;
BEGIN
  SELECT redeemed INTO used FROM plans_coupon WHERE id = wanted_coupon AND active
    AND (max_redemptions IS NULL OR redeemed < max_redemptions);
  IF NOT FOUND THEN
    RETURN 'coupon';
  END IF;
  PERFORM pg_sleep(0.02);
  UPDATE plans_coupon SET redeemed = used + 1 WHERE id = wanted_coupon;
  RETURN '';
END $$
"""


LARGEST_PLUS_ONE = """
CREATE OR REPLACE FUNCTION invoicing_take_numbers(
  entity bigint, wanted_series text, how_many integer) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE taken bigint;
BEGIN
  SELECT coalesce(max(sequence), 0) + 1 INTO taken FROM invoicing_invoice;
  PERFORM pg_sleep(0.003);
  INSERT INTO invoicing_numberseries (billing_entity_id, series, next)
  VALUES (entity, wanted_series, taken + how_many)
  ON CONFLICT (billing_entity_id, series) DO UPDATE SET next = taken + how_many;
  RETURN taken;
END $$
"""


def _organizations_are_not_locked() -> None:
    mutate(tenants, "lock", (".select_for_update()", ""))


def _nothing_is_locked() -> None:
    _organizations_are_not_locked()
    mutate(invoicing, "lock", (".select_for_update()", ""))


MUTANTS = (
    Unguarded(
        "a coupon's uses are counted without a lock",
        "the last uses of a coupon",
        spoils=(LOOKS_AND_COUNTS,),
    ),
    Unguarded(
        "a customer's discounts are counted without a lock",
        "one use for each customer",
        _organizations_are_not_locked,
    ),
    Unguarded(
        "a draft is issued without a lock, and final invoices may change",
        "one draft",
        _nothing_is_locked,
        spoils=("ALTER TABLE invoicing_invoice DISABLE TRIGGER ALL",),
    ),
    Unguarded(
        "the next number is the largest plus one",
        "numbers",
        spoils=(
            "ALTER TABLE invoicing_invoice DROP CONSTRAINT one_invoice_a_number",
            LARGEST_PLUS_ONE,
        ),
    ),
    Unguarded(
        "payments look at what is due without a lock, and no limit stands in the database",
        "payments",
        _nothing_is_locked,
        spoils=("ALTER TABLE invoicing_invoice DROP CONSTRAINT never_paid_too_much",),
    ),
    Unguarded(
        "credit is spent without a lock, and may fall below zero",
        "the last credit",
        _nothing_is_locked,
        spoils=("ALTER TABLE invoicing_creditgrant DROP CONSTRAINT credit_never_below_zero",),
    ),
    Unguarded(
        "credit notes look at what is left without a lock, and no limit stands in the database",
        "credit notes",
        _nothing_is_locked,
        spoils=(
            "DROP TRIGGER note_guard ON invoicing_creditnote",
            "ALTER TABLE invoicing_invoiceline DROP CONSTRAINT never_credited_too_much",
            "ALTER TABLE invoicing_invoice DROP CONSTRAINT never_paid_too_much",
            "ALTER TABLE invoicing_invoice DROP CONSTRAINT paid_means_all_of_it",
        ),
    ),
)
