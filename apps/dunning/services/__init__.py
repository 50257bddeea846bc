"""Everything that changes campaigns, and everything that runs of them do."""

from __future__ import annotations

from apps.dunning.services.campaigns import change_campaign, define_campaign, end_campaign
from apps.dunning.services.deciding import pause_run, resume_run, stop_run
from apps.dunning.services.noting import note_action, note_failure, note_method, settle_invoice
from apps.dunning.services.running import Ran, run_dunning

__all__ = [
    "Ran",
    "change_campaign",
    "define_campaign",
    "end_campaign",
    "note_action",
    "note_failure",
    "note_method",
    "pause_run",
    "resume_run",
    "run_dunning",
    "settle_invoice",
    "stop_run",
]
