"""What is said of alerts and anomalies, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from django.utils.translation import gettext as _

from apps.engine.decimals import about
from apps.invoicing.paper.words import Words, locale_of

if TYPE_CHECKING:
    from apps.tenants.models import Organization
    from apps.watch.models import Alert, Anomaly


def words_for(row: Organization, currency: str) -> Words:
    """Return how an organization writes numbers, amounts and times."""
    return Words(locale_of(row.locale), ZoneInfo(row.timezone), currency)


def limit_of(alert: Alert, words: Words) -> str:
    """Return an alert's limit, as a percentage or an amount."""
    return words.percent(alert.limit) if alert.is_percent else words.money(int(alert.limit))


def of_alert(alert: Alert, words: Words) -> str:
    """Return what an alert says, in two sentences: the figure, and the limit."""
    figure = words.percent(alert.figure) if alert.is_percent else words.money(int(alert.figure))
    said = {"name": alert.name, "figure": figure}
    match alert.kind:
        case "percent_of_included":
            fact = _("%(name)s: %(figure)s of what is included is used.")
        case "forecast_percent":
            fact = _(
                "%(name)s: if usage goes on like this, %(figure)s of what is included will be used"
                " by the end of the period."
            )
        case "amount":
            fact = _("%(name)s: the period under way comes to %(figure)s so far.")
        case "forecast_amount":
            fact = _(
                "%(name)s: if usage goes on like this, the period under way comes to %(figure)s."
            )
        case _kind:
            fact = _("%(figure)s of credit is left.")
    return f"{fact % said} {_('The limit is %(limit)s.') % {'limit': limit_of(alert, words)}}"


def subject_of(alert: Alert) -> str:
    """Return what an alert is about, for a mail's subject."""
    return _("credit") if alert.kind == "credits" else alert.name


def name_of(meter: str, names: Mapping[str, str]) -> str:
    """Return what people call a meter: as invoices do (`names`), else the words of its key."""
    return names.get(meter, meter.replace("_", " "))


def of_anomaly(row: Anomaly, words: Words, name: str) -> str:
    """Return what an anomaly of the meter of this name says: when, what was seen and expected."""
    said = {
        "when": words.minute(row.worst_hour),
        "seen": words.number(row.seen),
        "low": words.number(about(row.low)),
        "high": words.number(about(row.high)),
        "meter": name,
    }
    if row.direction == "spike":
        fact = _(
            "Far more %(meter)s than usual: %(seen)s in the hour from %(when)s, where %(low)s to"
            " %(high)s were to be expected."
        )
    else:
        fact = _(
            "Far less %(meter)s than usual: %(seen)s in the hour from %(when)s, where %(low)s to"
            " %(high)s were to be expected."
        )
    return fact % said


def cause_of(row: Anomaly, words: Words) -> str:
    """Return which value of a dimension most of it is of; empty where nothing was found."""
    if row.dimension_share is None:
        return ""
    said = {
        "share": words.percent(row.dimension_share),
        "dimension": row.dimension,
        "value": row.dimension_value or _("nothing"),
    }
    return _("%(share)s of the difference is of %(dimension)s %(value)s.") % said
