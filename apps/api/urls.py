"""The addresses of the machines' door."""

from __future__ import annotations

from django.urls import include, path, re_path
from django.views.decorators.cache import cache_page

from apps.api import pages
from apps.api.door import NoSuchPath
from apps.api.v1 import (
    access,
    changes,
    charges,
    corrections,
    credit,
    credit_notes,
    devices,
    discounts,
    drafts,
    events,
    invoices,
    licences,
    lifecycle,
    lines,
    me,
    organizations,
    outlook,
    payments,
    plans,
    seats,
    spend_caps,
    subscriptions,
    usage,
    verifying,
    watching,
)

FIVE_MINUTES = 300

v1 = [
    path("me", me.Me.as_view()),
    path("organizations", organizations.Organizations.as_view()),
    path("organizations/<str:organization>", organizations.OneOrganization.as_view()),
    path(
        "organizations/<str:organization>/upcoming-invoices",
        organizations.UpcomingInvoices.as_view(),
    ),
    path("organizations/<str:organization>/current-usage", outlook.CurrentUsage.as_view()),
    path("organizations/<str:organization>/charges", charges.Charges.as_view()),
    path("organizations/<str:organization>/charges/<str:charge>", charges.OneCharge.as_view()),
    path("organizations/<str:organization>/invoices", charges.SingleInvoices.as_view()),
    path(
        "organizations/<str:organization>/invoices/preview",
        charges.PreviewSingleInvoice.as_view(),
    ),
    path("organizations/<str:organization>/discounts", discounts.Discounts.as_view()),
    path(
        "organizations/<str:organization>/discounts/<str:discount>",
        discounts.OneDiscount.as_view(),
    ),
    path(
        "organizations/<str:organization>/promotion-codes/validate", discounts.CheckCode.as_view()
    ),
    path("organizations/<str:organization>/credit", credit.Balances.as_view()),
    path("organizations/<str:organization>/credit-grants", credit.Grants.as_view()),
    path(
        "organizations/<str:organization>/credit-grants/<str:grant>/void",
        credit.VoidGrant.as_view(),
    ),
    path("organizations/<str:organization>/credit-movements", credit.Movements.as_view()),
    path("organizations/<str:organization>/credit-purchases", credit.Purchases.as_view()),
    path("organizations/<str:organization>/recharge-rules", credit.Recharges.as_view()),
    path("organizations/<str:organization>/spend-caps", spend_caps.SpendCaps.as_view()),
    path(
        "organizations/<str:organization>/spend-caps/<str:spend_cap>",
        spend_caps.OneSpendCap.as_view(),
    ),
    path("plans", plans.Plans.as_view()),
    path("plans/<str:plan>", plans.OnePlan.as_view()),
    path("plans/<str:plan>/versions", plans.PlanVersions.as_view()),
    path("plans/<str:plan>/compare", plans.PlanComparison.as_view()),
    path("subscriptions", subscriptions.Subscriptions.as_view()),
    path("subscriptions/<str:subscription>", subscriptions.OneSubscription.as_view()),
    path("subscriptions/<str:subscription>/cancel", lifecycle.Cancel.as_view()),
    path("subscriptions/<str:subscription>/uncancel", lifecycle.Uncancel.as_view()),
    path("subscriptions/<str:subscription>/pause", lifecycle.Pause.as_view()),
    path("subscriptions/<str:subscription>/resume", lifecycle.Resume.as_view()),
    path("subscriptions/<str:subscription>/reactivate", lifecycle.Reactivate.as_view()),
    path("subscriptions/<str:subscription>/extend-trial", lifecycle.ExtendTrial.as_view()),
    path("subscriptions/<str:subscription>/preview", changes.PreviewChange.as_view()),
    path("subscriptions/<str:subscription>/changes", changes.Changes.as_view()),
    path("subscriptions/<str:subscription>/changes/<str:change>", changes.OneChange.as_view()),
    path("subscriptions/<str:subscription>/schedule", changes.Schedule.as_view()),
    path("subscriptions/<str:subscription>/bill-now", charges.BillNow.as_view()),
    path(
        "subscriptions/<str:subscription>/upcoming-invoice", subscriptions.UpcomingInvoice.as_view()
    ),
    path("subscriptions/<str:subscription>/seats", seats.SubscriptionSeats.as_view()),
    path("subscriptions/<str:subscription>/seats/bulk", seats.BulkSeats.as_view()),
    path("subscriptions/<str:subscription>/seat-pools", seats.Pools.as_view()),
    path("subscriptions/<str:subscription>/seat-pools/preview", seats.PreviewSeats.as_view()),
    path("subscriptions/<str:subscription>/seat-pools/buy", seats.BuySeats.as_view()),
    path("subscriptions/<str:subscription>/seat-pools/auto-expand", seats.ExpandSeats.as_view()),
    path("seats", seats.Seats.as_view()),
    path("seats/<str:seat>", seats.OneSeat.as_view()),
    path("seats/<str:seat>/revoke", seats.RevokeSeat.as_view()),
    path("seats/<str:seat>/reassign", seats.ReassignSeat.as_view()),
    path("seats/<str:seat>/resend", seats.ResendSeat.as_view()),
    path("events", events.Events.as_view()),
    path("access/check", access.Check.as_view()),
    path("access/reservations", access.Reservations.as_view()),
    path("access/reservations/<str:reservation>", access.OneReservation.as_view()),
    path("access/reservations/<str:reservation>/commit", access.Commit.as_view()),
    path("access/reservations/<str:reservation>/release", access.Release.as_view()),
    path("customers", licences.Customers.as_view()),
    path("organizations/<str:organization>/licence", licences.CurrentLicence.as_view()),
    path("organizations/<str:organization>/licences", licences.Licences.as_view()),
    path("organizations/<str:organization>/licence-terms", licences.LicenceTerms.as_view()),
    path("organizations/<str:organization>/instances", licences.Instances.as_view()),
    path("licences/verify", licences.VerifyLicence.as_view()),
    path("licences/public-key", licences.PublicKeys.as_view()),
    path("licences/<str:licence>", licences.OneLicence.as_view()),
    path("licences/<str:licence>/revoke", licences.RevokeLicence.as_view()),
    path("instances/<str:instance>/block", licences.BlockInstance.as_view()),
    path("instances/<str:instance>/unblock", licences.UnblockInstance.as_view()),
    path("verify-seat", verifying.VerifySeat.as_view()),
    path("usage", usage.Usage.as_view()),
    path("usage/reports", devices.Reports.as_view()),
    path("usage/reports/latest", devices.LatestReports.as_view()),
    path("usage/<str:meter>", usage.MeterUsage.as_view()),
    path("alert-rules", watching.AlertRules.as_view()),
    path("alert-rules/<str:alert_rule>", watching.OneAlertRule.as_view()),
    path("alerts", watching.Alerts.as_view()),
    path("anomalies", watching.Anomalies.as_view()),
    path("anomalies/<str:anomaly>", watching.OneAnomaly.as_view()),
    path("anomalies/<str:anomaly>/acknowledge", watching.AcknowledgeAnomaly.as_view()),
    path("invoices", invoices.Invoices.as_view()),
    path("invoices/<str:invoice>", invoices.OneInvoice.as_view()),
    path("invoices/<str:invoice>/pdf", invoices.InvoicePdf.as_view()),
    path("invoices/<str:invoice>/xml", invoices.InvoiceXml.as_view()),
    path("invoices/<str:invoice>/approve", drafts.Approve.as_view()),
    path("invoices/<str:invoice>/hold", drafts.Hold.as_view()),
    path("invoices/<str:invoice>/finalize", drafts.Finalize.as_view()),
    path("invoices/<str:invoice>/refresh", drafts.Refresh.as_view()),
    path("invoices/<str:invoice>/discard", drafts.Discard.as_view()),
    path("invoices/<str:invoice>/void", drafts.Void.as_view()),
    path("invoices/<str:invoice>/uncollectible", drafts.Uncollectible.as_view()),
    path("invoices/<str:invoice>/rebill", drafts.Rebill.as_view()),
    path("invoices/<str:invoice>/payments", payments.Payments.as_view()),
    path("invoices/<str:invoice>/credit-notes", credit_notes.IssueCreditNote.as_view()),
    path("lines/<str:line>/events", lines.LineEvents.as_view()),
    path("corrections", corrections.Corrections.as_view()),
    path("corrections/<str:correction>/approve", corrections.ApproveCorrection.as_view()),
    path("corrections/<str:correction>/reject", corrections.RejectCorrection.as_view()),
    path("payments/<str:payment>/reverse", payments.ReversePayment.as_view()),
    path("credit-notes", credit_notes.CreditNotes.as_view()),
    path("credit-notes/<str:credit_note>", credit_notes.OneCreditNote.as_view()),
    path("credit-notes/<str:credit_note>/pdf", credit_notes.CreditNotePdf.as_view()),
    path("credit-notes/<str:credit_note>/xml", credit_notes.CreditNoteXml.as_view()),
    path("credit-notes/<str:credit_note>/refunds", credit_notes.Refunds.as_view()),
]

# As the licence-based system of before spelled them.
former = [
    path("usage/report", devices.FormerReport.as_view()),
    path("usage/cleanup", devices.FormerCleanup.as_view()),
    path("usage/<str:organization>", devices.FormerHistory.as_view()),
    path("usage/<str:organization>/latest", devices.FormerLatest.as_view()),
    path("customers", licences.FormerJoining.as_view()),
    path("customers/<str:organization>", licences.FormerOneCustomer.as_view()),
    path("licenses/public-key", licences.FormerPublicKey.as_view()),
    path("licenses/verify", licences.FormerVerify.as_view()),
    path("licenses/<str:organization>", licences.FormerCurrent.as_view()),
    path("licenses/<str:organization>/revoke", licences.FormerRevoke.as_view()),
]

# What installations check licences with: for everybody, and for caches on the way.
well_known = [
    path("licence-keys.json", licences.key_set, name="licence-keys"),
    path("licence-keys.pem", licences.key_file, name="licence-keys-pem"),
    path("licence-revocations.jwt", licences.revocations, name="licence-revocations"),
]

# As the seat-based system of before spelled it, at the root.
rooted = [path("verify-seat", verifying.FormerVerifySeat.as_view())]

urlpatterns = [
    *rooted,
    path("api/v1/", include(v1)),
    path("api/", include(former)),
    path(".well-known/", include(well_known)),
    path("api/schema", cache_page(FIVE_MINUTES)(pages.Schema.as_view()), name="api-schema"),
    path("api/docs", pages.Swagger.as_view(), name="api-docs"),
    path("api/redoc", pages.Redoc.as_view(), name="api-redoc"),
    path("api/errors", pages.errors, name="api-errors"),
    re_path(r"^api(/[\s\S]*)?$", NoSuchPath.as_view()),
]
