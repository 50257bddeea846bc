"""What this room refuses."""

from __future__ import annotations

from apps.core.errors import Conflict, NotFound


class UnknownCampaign(NotFound):
    """No dunning campaign has this id."""

    code = "unknown_dunning_campaign"


class UnknownRun(NotFound):
    """No dunning run has this id."""

    code = "unknown_dunning_run"


class CampaignsClash(Conflict):
    """Two campaigns would apply to the same invoice, and neither is more specific."""

    code = "dunning_campaigns_clash"


class RunOver(Conflict):
    """The run has ended, or is not in the state that this needs."""

    code = "dunning_run_over"
