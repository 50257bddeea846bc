"""The staff's site at /admin/: our own screens only."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.conf import settings
from django.contrib.auth import REDIRECT_FIELD_NAME
from django.contrib.auth.views import PasswordChangeView
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import URLPattern, path, reverse
from unfold.forms import AdminOwnPasswordChangeForm
from unfold.sites import UnfoldAdminSite

from apps.audit.models import AuditEntry
from apps.backoffice import access
from apps.backoffice.access import is_staff
from apps.backoffice.admin.audit import AuditScreen
from apps.backoffice.admin.charges import ChargeScreen
from apps.backoffice.admin.collecting import (
    CollectionScreen,
    DisputeScreen,
    PaymentAttemptScreen,
    PaymentMethodScreen,
    RefundOrderScreen,
)
from apps.backoffice.admin.core import OutboxDeliveryScreen, OutboxEventScreen
from apps.backoffice.admin.corrections import CorrectionScreen
from apps.backoffice.admin.coupons import CouponScreen, PromotionCodeScreen
from apps.backoffice.admin.credit import CreditGrantScreen, CreditNoteScreen, RefundScreen
from apps.backoffice.admin.dunning import CampaignScreen, RunScreen
from apps.backoffice.admin.entitlements import (
    OverrideScreen,
    ReservationScreen,
    SpendCapScreen,
)
from apps.backoffice.admin.invoicing import InvoiceScreen, LedgerScreen, ParkedScreen
from apps.backoffice.admin.licensing import InstanceScreen, LicenseScreen, SigningKeyScreen
from apps.backoffice.admin.mirror import SCREENS as MIRROR_SCREENS
from apps.backoffice.admin.payments import PaymentScreen
from apps.backoffice.admin.plans import FeatureScreen, PlanScreen
from apps.backoffice.admin.provider import (
    ProviderCallScreen,
    ProviderCustomerScreen,
    ProviderEventScreen,
)
from apps.backoffice.admin.screen import Screen
from apps.backoffice.admin.seats import PoolScreen, SeatScreen
from apps.backoffice.admin.subscriptions import SubscriptionScreen
from apps.backoffice.admin.taxes import TaxRateScreen
from apps.backoffice.admin.tenants import (
    ApiKeyScreen,
    ApplicationScreen,
    BillingEntityScreen,
    MembershipScreen,
    OrganizationScreen,
    TestClockScreen,
    UserScreen,
)
from apps.backoffice.admin.token_issuers import TokenIssuerScreen
from apps.backoffice.admin.usage import (
    DeviceReportScreen,
    EventScreen,
    MeterScreen,
    RejectedEventScreen,
    UsageBucketScreen,
    UsageEpochScreen,
    UsageSealScreen,
)
from apps.backoffice.admin.watch import (
    AlertRuleScreen,
    AlertScreen,
    AnomalyScreen,
    WatchTermsScreen,
)
from apps.backoffice.pages import books, dashboard
from apps.core import clock, rls
from apps.core.models import OutboxDelivery, OutboxEvent
from apps.dunning.models import Campaign, Run
from apps.entitlements.models import Override, Reservation, SpendCap
from apps.invoicing.models import (
    Charge,
    Correction,
    CreditGrant,
    CreditNote,
    Invoice,
    LedgerTransaction,
    Parked,
)
from apps.licensing.models import Instance, License, SigningKey
from apps.payments.models import (
    Collection,
    Dispute,
    Payment,
    PaymentAttempt,
    PaymentMethod,
    ProviderCall,
    ProviderCustomer,
    ProviderEvent,
    Refund,
    RefundOrder,
)
from apps.plans.models import Coupon, Feature, Plan, PromotionCode, TaxRate
from apps.seats.models import Pool, Seat
from apps.subscriptions.models import Subscription
from apps.tenants import securing, services
from apps.tenants import selectors as tenants
from apps.tenants.models import (
    ApiKey,
    Application,
    BillingEntity,
    Membership,
    Organization,
    TestClock,
    TokenIssuer,
    User,
)
from apps.usage.models import (
    DeviceReport,
    Event,
    Meter,
    RejectedEvent,
    UsageBucket,
    UsageEpoch,
    UsageSeal,
)
from apps.watch.models import Alert, AlertRule, Anomaly, WatchTerms

SCREENS: dict[type[Model], type[Screen]] = {
    Organization: OrganizationScreen,
    Membership: MembershipScreen,
    User: UserScreen,
    ApiKey: ApiKeyScreen,
    Application: ApplicationScreen,
    TokenIssuer: TokenIssuerScreen,
    BillingEntity: BillingEntityScreen,
    TestClock: TestClockScreen,
    Plan: PlanScreen,
    Feature: FeatureScreen,
    Coupon: CouponScreen,
    PromotionCode: PromotionCodeScreen,
    TaxRate: TaxRateScreen,
    Meter: MeterScreen,
    Subscription: SubscriptionScreen,
    Override: OverrideScreen,
    SpendCap: SpendCapScreen,
    Reservation: ReservationScreen,
    License: LicenseScreen,
    Instance: InstanceScreen,
    SigningKey: SigningKeyScreen,
    Seat: SeatScreen,
    Pool: PoolScreen,
    Invoice: InvoiceScreen,
    Charge: ChargeScreen,
    Payment: PaymentScreen,
    Refund: RefundScreen,
    PaymentMethod: PaymentMethodScreen,
    Collection: CollectionScreen,
    PaymentAttempt: PaymentAttemptScreen,
    RefundOrder: RefundOrderScreen,
    Dispute: DisputeScreen,
    CreditGrant: CreditGrantScreen,
    CreditNote: CreditNoteScreen,
    LedgerTransaction: LedgerScreen,
    Correction: CorrectionScreen,
    Parked: ParkedScreen,
    Run: RunScreen,
    Campaign: CampaignScreen,
    Event: EventScreen,
    RejectedEvent: RejectedEventScreen,
    DeviceReport: DeviceReportScreen,
    UsageBucket: UsageBucketScreen,
    UsageSeal: UsageSealScreen,
    UsageEpoch: UsageEpochScreen,
    Anomaly: AnomalyScreen,
    Alert: AlertScreen,
    AlertRule: AlertRuleScreen,
    WatchTerms: WatchTermsScreen,
    ProviderEvent: ProviderEventScreen,
    ProviderCall: ProviderCallScreen,
    ProviderCustomer: ProviderCustomerScreen,
    OutboxEvent: OutboxEventScreen,
    OutboxDelivery: OutboxDeliveryScreen,
    AuditEntry: AuditScreen,
}


def _led_to(page: str, wanted: str) -> HttpResponse:
    return HttpResponseRedirect(f"{reverse(page)}?{urlencode({REDIRECT_FIELD_NAME: wanted})}")


class OwnPasswordForm(AdminOwnPasswordChangeForm):  # type: ignore[misc] # Unfold has no types
    """A staff user's new password, set by the service."""

    def save(self, commit: bool = True) -> User:
        """Change the password and return the user with it."""
        user: User = self.user
        services.change_password(
            user.public_id,
            password=self.cleaned_data["new_password1"],
            actor=tenants.staff_actor(user),
            at=clock.now(),
        )
        user.refresh_from_db()
        return user


class Site(UnfoldAdminSite):  # type: ignore[misc] # Unfold has no types
    """The site: staff with a group enter, everybody else is asked to sign in."""

    site_title = settings.BRAND_NAME
    site_header = settings.BRAND_NAME
    index_title = "Dashboard"
    enable_nav_sidebar = True

    def has_permission(self, request: HttpRequest) -> bool:
        """Tell whether the pages open: to staff who are in a group."""
        return bool(super().has_permission(request)) and is_staff(request)

    def login(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Lead to where everybody signs in, or to what staff who are signed in have yet to show.

        One page asks for passwords and second factors, so one throttle counts the attempts.
        """
        wanted = request.GET.get(REDIRECT_FIELD_NAME, reverse("admin:index"))
        user = request.user
        if not user.is_authenticated:
            return _led_to("portal:login", wanted)
        if not (user.is_active and user.is_staff) or access.has_shown_enough(request, user):
            raise PermissionDenied
        with rls.ops_scope("admin: is there a second factor?"):
            has_one = securing.has_second_factor(user.pk)
        return _led_to("portal:confirm" if has_one else "portal:security", wanted)

    def index(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the dashboard."""
        found = {**dashboard.context(request), **(extra_context or {})}
        return super().index(request, found)  # type: ignore[no-any-return]

    def password_change(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Let staff change their own password, through the service."""
        view = PasswordChangeView.as_view(
            form_class=OwnPasswordForm,
            success_url=reverse("admin:password_change_done"),
            extra_context={**self.each_context(request), **(extra_context or {})},
        )
        return view(request)  # type: ignore[return-value] # it is one

    def books(self, request: HttpRequest) -> HttpResponse:
        """Show the proof of the books."""
        return books.page(self.each_context(request), request)

    def extra_urls(self) -> list[URLPattern]:
        """Return the pages that are no list."""
        return [path("books/", self.admin_view(self.books), name="books")]


site = Site()
for model, screen in {**SCREENS, **MIRROR_SCREENS}.items():
    site.register(model, screen)
