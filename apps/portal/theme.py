"""Light, dark, or as the system says: remembered in a cookie, so that it works without a script."""

from __future__ import annotations

from datetime import timedelta

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from apps.portal.access import PREFIX, open_page

COOKIE = "theme"
THEMES = ("auto", "light", "dark")
LASTS = timedelta(days=365)


def theme_of(request: HttpRequest) -> str:
    """Return the theme chosen in this browser."""
    found = request.COOKIES.get(COOKIE, THEMES[0])
    return found if found in THEMES else THEMES[0]


@open_page
@require_POST
def choose_theme(request: HttpRequest) -> HttpResponse:
    """Remember the theme and go back to where the switch stood."""
    back = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}):
        back = PREFIX
    response = HttpResponseRedirect(back)
    theme = request.POST.get("theme", "")
    if theme in THEMES:
        response.set_cookie(
            COOKIE, theme, max_age=LASTS, samesite="Lax", secure=settings.SESSION_COOKIE_SECURE
        )
    return response
