"""Catalogue texts that several tests read."""

from __future__ import annotations

from apps.plans.catalog import parse_catalog
from apps.plans.document import CatalogDocument

GATEWAY = """\
currency: USD
applications: [{slug: gateway, name: AI Gateway}]
features: [{key: max_devices, kind: limit}, {key: can_export, kind: switch}]
meters:
  - {key: ai_requests, event_type: ai.request, aggregation: count}
  - {key: context_tokens, event_type: ai.request, aggregation: sum, value: context_tokens}
  - {key: generated_tokens, event_type: ai.request, aggregation: sum, value: generated_tokens}
plans:
  - code: gateway
    application: gateway
    name: Gateway
    interval: month
    prices:
      - {key: base, type: flat, amount: "50.00"}
      - {key: seats, type: licensed, model: per_unit, unit_amount: "12.00", included: 3}
      - {key: ai_requests, type: metered, meter: ai_requests, model: per_unit, unit_amount: "0.05", included: 5000}
      - {key: context_tokens, type: metered, meter: context_tokens, model: graduated,
         tiers: [{up_to: 5000000, unit_amount: "0.0000015"}, {up_to: null, unit_amount: "0.000001"}]}
      - {key: generated_tokens, type: metered, meter: generated_tokens, model: package, package_size: 1000, unit_amount: "0.006"}
    entitlements: {max_devices: 50, can_export: true}
"""  # noqa: E501 - the file as a customer would write it


def gateway(*replacements: tuple[str, str]) -> CatalogDocument:
    """The gateway's catalogue with each (old, new) replaced; every old text must be there."""
    return parse_catalog(gateway_text(*replacements), source="gateway.yaml")


def gateway_text(*replacements: tuple[str, str]) -> str:
    text = GATEWAY
    for old, new in replacements:
        assert old in text, old
        text = text.replace(old, new, 1)
    return text
