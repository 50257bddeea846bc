"""The addresses of the machines' door."""

from __future__ import annotations

from django.urls import include, path, re_path
from django.views.decorators.cache import cache_page

from apps.api import pages
from apps.api.door import NoSuchPath
from apps.api.v1 import events, invoices, me, organizations, plans, subscriptions, usage

FIVE_MINUTES = 300

v1 = [
    path("me", me.Me.as_view()),
    path("organizations", organizations.Organizations.as_view()),
    path("organizations/<str:organization>", organizations.OneOrganization.as_view()),
    path(
        "organizations/<str:organization>/upcoming-invoices",
        organizations.UpcomingInvoices.as_view(),
    ),
    path("plans", plans.Plans.as_view()),
    path("plans/<str:plan>", plans.OnePlan.as_view()),
    path("plans/<str:plan>/versions", plans.PlanVersions.as_view()),
    path("subscriptions", subscriptions.Subscriptions.as_view()),
    path("subscriptions/<str:subscription>", subscriptions.OneSubscription.as_view()),
    path("subscriptions/<str:subscription>/cancel", subscriptions.Cancel.as_view()),
    path("subscriptions/<str:subscription>/uncancel", subscriptions.Uncancel.as_view()),
    path("subscriptions/<str:subscription>/resume", subscriptions.Resume.as_view()),
    path(
        "subscriptions/<str:subscription>/upcoming-invoice", subscriptions.UpcomingInvoice.as_view()
    ),
    path("events", events.Events.as_view()),
    path("usage", usage.Usage.as_view()),
    path("usage/<str:meter>", usage.MeterUsage.as_view()),
    path("invoices", invoices.Invoices.as_view()),
    path("invoices/<str:invoice>", invoices.OneInvoice.as_view()),
    path("invoices/<str:invoice>/pdf", invoices.InvoicePdf.as_view()),
]

urlpatterns = [
    path("api/v1/", include(v1)),
    path("api/schema", cache_page(FIVE_MINUTES)(pages.Schema.as_view()), name="api-schema"),
    path("api/docs", pages.Swagger.as_view(), name="api-docs"),
    path("api/redoc", pages.Redoc.as_view(), name="api-redoc"),
    path("api/errors", pages.errors, name="api-errors"),
    re_path(r"^api(/[\s\S]*)?$", NoSuchPath.as_view()),
]
