"""Every address of the system, door by door."""

from __future__ import annotations

from django.urls import URLPattern, URLResolver, include, path
from django.views.generic import RedirectView

from apps.backoffice.site import site
from billing_project import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("health", health.health, name="health"),
    path("ready", health.ready, name="ready"),
    path("admin/", site.urls),
    path("portal/", include("apps.portal.urls")),
    path("", include("apps.api.urls")),
    path("", RedirectView.as_view(pattern_name="portal:overview"), name="home"),
]

# Pages of our own, with the request's id on them.
handler400 = "apps.portal.errors.bad_request"
handler403 = "apps.portal.errors.permission_denied"
handler404 = "apps.portal.errors.page_not_found"
handler500 = "apps.portal.errors.server_error"
