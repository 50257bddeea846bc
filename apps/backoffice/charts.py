"""How the admin's charts are drawn: with a legend, and values on the axis, in both themes."""

from __future__ import annotations

TICK = "#7d8590"  # legible on both grounds
OPTIONS = {
    "animation": False,
    "responsive": True,
    "maintainAspectRatio": False,
    "maxBarThickness": 20,
    "datasets": {"bar": {"borderRadius": 3}},
    "plugins": {
        "legend": {
            "align": "end",
            "labels": {"boxHeight": 8, "boxWidth": 8, "color": TICK, "usePointStyle": True},
        }
    },
    "scales": {
        "x": {"grid": {"display": False}, "ticks": {"color": TICK}},
        "y": {"beginAtZero": True, "grid": {"lineWidth": 1}, "ticks": {"color": TICK}},
    },
}
