"""Browsers in words: which one, on what, as far as it says."""

from __future__ import annotations

from django.utils.translation import gettext as _

# The first that is found: newer names come with the older ones' names beside them.
BROWSERS = (
    ("Edg/", "Edge"),
    ("OPR/", "Opera"),
    ("Firefox/", "Firefox"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
)
SYSTEMS = (
    ("iPhone", "iPhone"),
    ("iPad", "iPad"),
    ("Android", "Android"),
    ("CrOS", "ChromeOS"),
    ("Windows", "Windows"),
    ("Mac OS X", "macOS"),
    ("Linux", "Linux"),
)


def words(agent: str) -> str:
    """Return the browser and the system of a User-Agent: Firefox, Windows."""
    found = [
        next((name for mark, name in kinds if mark in agent), "") for kinds in (BROWSERS, SYSTEMS)
    ]
    return ", ".join(name for name in found if name) or _("Unknown browser")
