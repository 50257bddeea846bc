"""What a version fixes, read with its row: prices with their meters, entitlements, features."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec

from apps.core import nested
from apps.plans.content import Value
from apps.usage.selectors import MeterShape


class PriceRow(msgspec.Struct, frozen=True):
    """A price as it is stored; amounts in major units, `terms` in the engine's canonical form."""

    id: int
    public_id: str
    key: str
    name: str
    description: str
    type: str
    timing: str
    terms: dict[str, Any]
    included: Decimal
    minimum_amount: Decimal | None
    maximum_amount: Decimal | None
    conversion: Any
    proration: str
    quantity_policy: str
    filters: dict[str, tuple[str, ...]]
    currencies: dict[str, Any]
    meter: MeterShape | None
    unit: str


class GrantRow(msgspec.Struct, frozen=True):
    """What is granted of a feature; `meter_key` and `unit` are those of the feature's meter."""

    feature_id: int
    key: str
    name: str
    kind: str
    value: Value
    reset: str
    on_limit: str
    prepaid: bool
    meter_key: str | None
    unit: str


class Content(msgspec.Struct, frozen=True):
    """Prices in their order, entitlements by the features' keys."""

    prices: tuple[PriceRow, ...]
    entitlements: tuple[GrantRow, ...]


_PRICES = nested.rows("""
  SELECT p.id, p.public_id, p.key, p.name, p.description, p.type, p.timing, p.terms, p.included,
    p.minimum_amount, p.maximum_amount, p.conversion, p.proration, p.quantity_policy, p.filters,
    p.currencies, coalesce(m.unit, '') AS unit,
    CASE WHEN m.id IS NOT NULL THEN json_build_object(
      'id', m.id, 'key', m.key, 'aggregation', m.aggregation, 'dimensions', m.dimensions
    ) END AS meter
  FROM plans_price p LEFT JOIN usage_meter m ON m.id = p.meter_id
  WHERE p.version_id = plans_planversion.id
  ORDER BY p.position, p.id""")

_ENTITLEMENTS = nested.rows("""
  SELECT f.id AS feature_id, f.key, f.name, f.kind, e.value, e.reset, e.on_limit, e.prepaid,
    m.key AS meter_key, coalesce(m.unit, '') AS unit
  FROM plans_entitlement e
  JOIN plans_feature f ON f.id = e.feature_id LEFT JOIN usage_meter m ON m.id = f.meter_id
  WHERE e.version_id = plans_planversion.id
  ORDER BY f.key""")

CONTENT = nested.Nested(
    Content, f"json_build_object('prices', {_PRICES}, 'entitlements', {_ENTITLEMENTS})"
)
