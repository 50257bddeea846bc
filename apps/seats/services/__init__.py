"""The verbs of this room: the only writers of its rows."""

from __future__ import annotations

from apps.seats.services.assigning import (
    assign_seat,
    claim_seat,
    reassign_seat,
    resend_claim,
    revoke_seat,
)
from apps.seats.services.buying import buy_seats, release_seats
from apps.seats.services.expanding import follow_people
from apps.seats.services.filing import apply_bulk, preview_bulk
from apps.seats.services.losing import end_member, end_seats, keep_seats, restore_seats
from apps.seats.services.pools import set_auto_expand
from apps.seats.services.seeing import note_seen

__all__ = [
    "apply_bulk",
    "assign_seat",
    "buy_seats",
    "claim_seat",
    "end_member",
    "end_seats",
    "follow_people",
    "keep_seats",
    "note_seen",
    "preview_bulk",
    "reassign_seat",
    "release_seats",
    "resend_claim",
    "restore_seats",
    "revoke_seat",
    "set_auto_expand",
]
