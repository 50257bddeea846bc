"""Pages for developers: the OpenAPI document, Swagger, Redoc and the catalogue of error codes.

All of it works without the internet. These pages run scripts of other people's making, which
write styles into the page, so they alone get `style-src 'unsafe-inline'` and, for Redoc's search, a
worker from a blob; scripts stay at 'self'.
"""

from __future__ import annotations

from typing import Any

from csp.constants import SELF, UNSAFE_INLINE
from csp.decorators import csp_update
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_safe
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.views import (
    SpectacularAPIView,
    SpectacularRedocView,
    SpectacularSwaggerSplitView,
)
from rest_framework.request import Request

from apps.api.errors import kinds, title_of
from apps.core import clock

SWAGGER_POLICY = {"style-src": [SELF, UNSAFE_INLINE]}
REDOC_POLICY = {"style-src": [SELF, UNSAFE_INLINE], "worker-src": [SELF, "blob:"]}


class LivingGenerator(SchemaGenerator):
    """Dates the examples of events now: old events are refused, and "try it out" sends these."""

    def get_schema(self, request: Request | None = None, public: bool = False) -> dict[str, Any]:
        """Return the document."""
        found: dict[str, Any] = super().get_schema(request=request, public=public)  # type: ignore[no-untyped-call]
        content = found["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]
        for media in content.values():
            for example in media.get("examples", {}).values():
                example["value"] = {**example["value"], "time": f"{clock.now():%Y-%m-%dT%H:%M:%SZ}"}
        return found


class Schema(SpectacularAPIView):
    """The OpenAPI document, as JSON or YAML by Accept."""

    generator_class = LivingGenerator


@method_decorator(csp_update(SWAGGER_POLICY), name="dispatch")
class Swagger(SpectacularSwaggerSplitView):
    """Swagger UI, with "try it out"."""

    url_name = "api-schema"
    template_name = "api/swagger.html"


@method_decorator(csp_update(REDOC_POLICY), name="dispatch")
class Redoc(SpectacularRedocView):
    """Redoc, for reading."""

    url_name = "api-schema"
    template_name = "api/redoc.html"


@require_safe
def errors(request: HttpRequest) -> HttpResponse:
    """Show every error code, with the anchor that a problem's `type` points at."""
    rows = [{"code": kind.code, "status": kind.status, "title": title_of(kind)} for kind in kinds()]
    context: dict[str, Any] = {"kinds": rows, "brand": settings.BRAND_NAME}
    return TemplateResponse(request, "api/errors.html", context)
