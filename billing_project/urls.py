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
