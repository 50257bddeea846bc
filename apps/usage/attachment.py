"""Usage as a file that is downloaded: the same at every door with pages or an API."""

from __future__ import annotations

from django.http import HttpResponse

from apps.usage import table
from apps.usage.breakdown import Breakdown


def attachment(found: Breakdown, *, name: str = "") -> HttpResponse:
    """Return usage as CSV, named after the meter (or `name`) and the day that it begins on."""
    text = table.csv_text(table.columns_of(found.by), table.rows_of(found))
    answer = HttpResponse(text, content_type="text/csv; charset=utf-8")
    called = f"{name or found.meter.key}-{found.period.start:%Y-%m-%d}.csv"
    answer["Content-Disposition"] = f'attachment; filename="{called}"'
    return answer
