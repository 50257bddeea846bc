"""The portal's addresses."""

from __future__ import annotations

from django.urls import path

from apps.portal.pages import (
    activity,
    changes,
    credit,
    details,
    developers,
    doors,
    invoices,
    life,
    overview,
    plan,
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
    path("plan/<str:subscription>/seats/<str:key>/", changes.seats, name="seats"),
    path("plan/<str:subscription>/change/<str:code>/", changes.change_plan, name="change_plan"),
    path("plan/<str:subscription>/add/<str:code>/", changes.add, name="add_on"),
    path("plan/<str:subscription>/remove/<str:code>/", changes.remove, name="remove_add_on"),
    path("plan/<str:subscription>/scheduled/<str:change>/", life.call_off, name="call_off"),
    path("plan/<str:subscription>/code/", life.redeem, name="redeem"),
    path("plan/<str:subscription>/cancel/", life.cancel, name="cancel"),
    path("plan/<str:subscription>/keep/", life.keep, name="keep"),
    path("plan/<str:subscription>/pause/", life.pause, name="pause"),
    path("plan/<str:subscription>/resume/", life.resume, name="resume"),
    path("plan/<str:subscription>/reactivate/", life.reactivate, name="reactivate"),
    path("invoices/", invoices.invoices, name="invoices"),
    path("invoices/upcoming/<str:subscription>/", invoices.upcoming, name="upcoming"),
    path("invoices/<str:reference>/", invoices.invoice, name="invoice"),
    path("invoices/<str:reference>/pdf/", invoices.pdf_of_invoice, name="invoice_pdf"),
    path("invoices/<str:reference>/xml/", invoices.xml_of_invoice, name="invoice_xml"),
    path("credit-notes/<str:reference>/", invoices.credit_note, name="credit_note"),
    path("credit-notes/<str:reference>/pdf/", invoices.pdf_of_note, name="credit_note_pdf"),
    path("credit-notes/<str:reference>/xml/", invoices.xml_of_note, name="credit_note_xml"),
    path("credit/", credit.credit, name="credit"),
    path("credit/buy/", credit.buy, name="buy_credit"),
    path("credit/recharge/", credit.recharge, name="recharge"),
    path("credit/recharge/stop/", credit.stop_recharge, name="stop_recharge"),
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
