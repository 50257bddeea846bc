"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.usage.services.devices import cleanup_reports, report_devices
from apps.usage.services.doubting import doubt_usage, settle_doubt
from apps.usage.services.intake import EventResult, Outcome, Status, ingest, reject
from apps.usage.services.meters import define_meter
from apps.usage.services.pruning import prune, seal
from apps.usage.services.replay import Replayed, replay_rejected
from apps.usage.services.restoring import restore_events
from apps.usage.services.rollup import Rebuilt, RolledUp, rebuild, roll_up
from apps.usage.services.shipping import BlockDifference, Shipped, ship_events, verify_shipments
from apps.usage.services.thinning import Thinning, thin_block
from apps.usage.services.voiding import correct_event, void_event

__all__ = [
    "BlockDifference",
    "EventResult",
    "Outcome",
    "Rebuilt",
    "Replayed",
    "RolledUp",
    "Shipped",
    "Status",
    "Thinning",
    "cleanup_reports",
    "correct_event",
    "define_meter",
    "doubt_usage",
    "ingest",
    "prune",
    "rebuild",
    "reject",
    "replay_rejected",
    "report_devices",
    "restore_events",
    "roll_up",
    "seal",
    "settle_doubt",
    "ship_events",
    "thin_block",
    "verify_shipments",
    "void_event",
]
