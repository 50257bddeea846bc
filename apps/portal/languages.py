"""Which language a page speaks: the organization's, so that words and formats agree."""

from __future__ import annotations

from django.http import HttpRequest
from django.utils.translation import get_language_from_request

LANGUAGES = ("en", "de")


def language_of(request: HttpRequest, locale: str = "") -> str:
    """Return the locale's language when the portal speaks it, else the browser's, else English."""
    for wanted in (locale, get_language_from_request(request)):
        language = wanted.replace("_", "-").split("-")[0].lower()
        if language in LANGUAGES:
            return language
    return LANGUAGES[0]
