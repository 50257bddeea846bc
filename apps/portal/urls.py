"""The portal's addresses."""

from __future__ import annotations

from django.urls import path

from apps.portal.pages import (
    activity,
    details,
    developers,
    doors,
    invoices,
    overview,
    plan,
    seats,
    team,
    usage,
)
from apps.portal.theme import choose_theme

app_name = "portal"
urlpatterns = [
    path("login/", doors.sign_in, name="login"),
    path("logout/", doors.sign_out, name="logout"),
    path("choose/", doors.choose, name="choose"),
    path("theme/", choose_theme, name="theme"),
    path("invitations/<str:token>/", doors.invitation, name="invitation"),
    path("", overview.overview, name="overview"),
    path("usage/", usage.usage, name="usage"),
    path("usage/<str:subscription>/<str:meter>.csv", usage.csv_of_meter, name="usage_csv"),
    path("plan/", plan.plan, name="plan"),
    path("plan/subscribe/<str:code>/", plan.subscribe, name="subscribe"),
    path("plan/<str:subscription>/seats/<str:key>/", seats.seats, name="seats"),
    path("plan/<str:subscription>/cancel/", plan.cancel, name="cancel"),
    path("plan/<str:subscription>/keep/", plan.keep, name="keep"),
    path("plan/<str:subscription>/resume/", plan.resume, name="resume"),
    path("invoices/", invoices.invoices, name="invoices"),
    path("invoices/upcoming/<str:subscription>/", invoices.upcoming, name="upcoming"),
    path("invoices/<str:reference>/", invoices.invoice, name="invoice"),
    path("invoices/<str:reference>/pdf/", invoices.pdf_of_invoice, name="invoice_pdf"),
    path("details/", details.details, name="details"),
    path("details/tax-id/", details.tax_id, name="tax_id"),
    path("team/", team.team, name="team"),
    path("team/<str:member>/role/", team.change_role, name="change_role"),
    path("team/<str:member>/remove/", team.remove, name="remove_member"),
    path("team/invitations/<str:invitation>/revoke/", team.revoke, name="revoke_invitation"),
    path("developers/", developers.developers, name="developers"),
    path("developers/<str:key>/revoke/", developers.revoke, name="revoke_key"),
    path("activity/", activity.activity, name="activity"),
]
