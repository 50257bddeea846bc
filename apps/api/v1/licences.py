"""`/licences` and what is around them: instances, public keys, terms, and customers that join.

And the addresses of the licence-based system of before, with its names, for installations that
nobody updates; keys and refusals are ours.
"""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import cache_control
from django.views.decorators.http import require_safe
from drf_spectacular.utils import OpenApiResponse
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import ApiView
from apps.api.errors import MEDIA_TYPE
from apps.api.pagination import ListQuery, page
from apps.api.schema import REFUSALS, operation
from apps.api.shapes import (
    Body,
    Choice,
    Flag,
    Kind,
    LiveMode,
    NoBody,
    Open,
    Problem,
    Query,
    Shape,
    Text,
    Whole,
    list_of,
    public_id,
)
from apps.api.v1.organizations import OrganizationShape
from apps.core import clock
from apps.licensing import selectors, services
from apps.licensing.models import LONGEST_GRACE, LONGEST_LIFETIME, Instance, License, SigningKey
from apps.licensing.selectors import SENTENCES, InstanceFacts, LicenseFacts, Terms
from apps.licensing.services import NewCustomer
from apps.tenants import services as tenants
from apps.tenants.models import Organization

TAG, FORMER_TAG = "Licences", "Former addresses"
READ, WRITE = "licences:read", "licences:write"
LONGEST_NAME = 96
FIVE_MINUTES = 300
STATES = [
    ("valid", "Good"),
    ("grace", "Good, and ought to be renewed"),
    ("superseded", "Good until it ends; another took its place"),
    ("revoked", "Revoked"),
    ("expired", "Expired, its grace too"),
]
OF_INSTANCE = "name of the installation it is for: letters, digits and `._:@/+=-`; else for any"


class LicenceShape(Shape):
    """A licence."""

    object = Kind("licence")
    id = public_id("lic", source="public_id", help_text="the token's `jti`")
    created_at = serializers.DateTimeField(source="issued_at")
    livemode = LiveMode()
    organization = public_id("org")
    subscription = public_id("sub")
    application = serializers.CharField(help_text="slug")
    instance = serializers.CharField(help_text="name; empty: for any")
    plan = serializers.CharField(help_text="code")
    state = serializers.SerializerMethodField()
    token = serializers.CharField(help_text="the signed JWT")
    kid = serializers.CharField(help_text="the key that signed it")
    claims = Open()
    renew_at = serializers.DateTimeField(help_text="from then on asking gets a fresh one")
    expires_at = serializers.DateTimeField(help_text="ought to be renewed by then")
    ends_at = serializers.DateTimeField(help_text="good until then: its grace included")
    superseded_at = serializers.DateTimeField(allow_null=True)
    revoked_at = serializers.DateTimeField(allow_null=True)
    revoked_because = serializers.CharField()

    def get_state(self, one: LicenseFacts) -> str:
        """Return how it stands at the time of the request."""
        at = self.context.get("at") or clock.now()
        return one.state(at)


class InstanceShape(Shape):
    """An installation, with what it reported last."""

    object = Kind("instance")
    id = public_id("ins", source="public_id", allow_null=True, help_text="null: never asked")
    name = serializers.CharField()
    first_seen_at = serializers.DateTimeField(allow_null=True)
    last_seen_at = serializers.DateTimeField(allow_null=True, help_text="by the hour")
    blocked_at = serializers.DateTimeField(allow_null=True)
    active_devices = serializers.IntegerField(source="report.active", default=None, allow_null=True)
    total_devices = serializers.IntegerField(source="report.total", default=None, allow_null=True)
    reported_at = serializers.DateTimeField(
        source="report.reported_at", default=None, allow_null=True
    )


class VerdictShape(Shape):
    """Whether a token is a good licence now."""

    object = Kind("licence_verdict")
    livemode = LiveMode()
    valid = serializers.BooleanField()
    reason = Choice(
        source="standing", choices=[(one.value, said) for one, said in SENTENCES.items()]
    )
    detail = serializers.CharField(source="sentence", help_text="the reason, for people")
    claims = Open(allow_null=True)
    licence = LicenceShape(source="license", allow_null=True)


class PublicKeyShape(Shape):
    """The public half of a key."""

    object = Kind("licence_key")
    kid = serializers.CharField()
    algorithm = Choice(SigningKey.Algorithm.choices)
    status = Choice(SigningKey.Status.choices)
    public_key = serializers.CharField(source="pem", help_text="PEM")
    jwk = Open()
    published_until = serializers.DateTimeField(allow_null=True)


class PublicKeysShape(Shape):
    """What licences are checked with: the key that signs, and all that are published."""

    object = Kind("licence_keys")
    livemode = LiveMode()
    public_key = serializers.CharField(help_text="PEM of the one that signs")
    keys = PublicKeyShape(many=True)


class TermsShape(Shape):
    """How an organization's licences are."""

    object = Kind("licence_terms")
    livemode = LiveMode()
    organization = public_id("org")
    lifetime_days = serializers.IntegerField(source="terms.lifetime.days")
    grace_days = serializers.IntegerField(source="terms.grace.days")
    bound = serializers.BooleanField(source="terms.bound", help_text="each is for one instance")
    agreed = serializers.BooleanField(source="terms.agreed", help_text="false: as is usual")


class SignedUpShape(Shape):
    """A customer that joined, with its subscription and licence."""

    object = Kind("customer")
    livemode = LiveMode()
    customer = OrganizationShape(source="organization")
    subscription = public_id("sub", source="subscription.public_id")
    status = serializers.CharField(source="subscription.status")
    trial_ends_at = serializers.DateTimeField(source="subscription.trial_end", allow_null=True)
    licence = LicenceShape(source="license")


class FormerLicence(Shape):
    """A licence in the former spelling."""

    license = serializers.CharField(source="token")
    expires_at = serializers.DateTimeField()


class FormerKey(Shape):
    """The public key in the former spelling."""

    public_key = serializers.CharField()


class FormerVerdict(Shape):
    """A verdict in the former spelling."""

    valid = serializers.BooleanField()
    reason = serializers.CharField(source="standing")
    license = Open(source="claims", allow_null=True)


class FormerRevoked(Shape):
    """How many licences were revoked."""

    status = serializers.CharField(default="success")
    revoked = serializers.IntegerField()


class FormerCustomer(Shape):
    """A customer in the former spelling."""

    customer_id = serializers.CharField(source="public_id")
    company_name = serializers.CharField(source="name")
    email = serializers.CharField()
    created_at = serializers.DateTimeField()


class FormerCustomers(Shape):
    """A page of customers in the former spelling, newest first."""

    customers = FormerCustomer(many=True)
    next_cursor = serializers.CharField(
        allow_null=True, help_text="`starting_after` of the next page; null: there is none"
    )


class FormerSignedUp(Shape):
    """A customer that joined, in the former spelling."""

    customer_id = serializers.CharField(source="organization.public_id")
    trial_ends_at = serializers.DateTimeField(source="subscription.trial_end", allow_null=True)
    license = serializers.CharField(source="license.token")


class FormerCustomerBody(Body):
    """Who joins, in the former spelling."""

    company_name = Text(max_length=200)
    email = Text(max_length=254)


class FormerCustomerChange(Body):
    """What to change, in the former spelling; what is left out stays."""

    company_name = Text(max_length=200, required=False)
    email = Text(max_length=254, required=False)


class WhichLicence(Query):
    """For what, and for which installation."""

    application = serializers.CharField(
        required=False, help_text="slug; needed where several are subscribed to"
    )
    instance = serializers.CharField(required=False, help_text=OF_INSTANCE)


class NewLicence(Body):
    """For what, and for which installation."""

    application = Text(
        max_length=50, default="", help_text="slug; needed where several are subscribed to"
    )
    instance = Text(max_length=LONGEST_NAME, default="", help_text=OF_INSTANCE)


class RevokeBody(Body):
    """Why."""

    reason = Text(max_length=200, default="", allow_blank=True, help_text="kept on the record")


class VerifyBody(Body):
    """What is held up, and by whom."""

    token = Text(max_length=selectors.LONGEST_TOKEN)
    instance = Text(
        max_length=LONGEST_NAME, default="", help_text="the installation that holds it up"
    )


class FormerVerifyBody(Body):
    """What is held up, in the former spelling."""

    license = Text(max_length=selectors.LONGEST_TOKEN)


class TermsBody(Body):
    """How the organization's licences are to be from now on."""

    lifetime_days = Whole(min_value=1, max_value=LONGEST_LIFETIME)
    grace_days = Whole(min_value=0, max_value=LONGEST_GRACE)
    bound = Flag(default=False, help_text="each is for one instance")


class CustomerBody(Body):
    """Who joins."""

    name = Text(max_length=200)
    email = Text(max_length=254, default="", allow_blank=True)
    slug = Text(max_length=63, default="", allow_blank=True, help_text="else made of the name")
    plan = Text(max_length=64, default=services.TRIAL, help_text="code; usual: `trial`")
    instance = Text(max_length=LONGEST_NAME, default="", help_text=OF_INSTANCE)
    currency = Text(min_length=3, max_length=3, default="USD", help_text="ISO 4217")
    timezone = Text(max_length=64, default="UTC", help_text="IANA")
    country = Text(min_length=2, max_length=2, default="US", help_text="ISO 3166-1")
    industry = Text(max_length=40, default="", allow_blank=True)


# Asking may be refused by the state of things, although it is a GET.
REFUSED = {
    (code, MEDIA_TYPE): OpenApiResponse(Problem, description=REFUSALS[str(code)])
    for code in (409, 422)
}
LICENCES = list_of(LicenceShape, "LicenceList")
INSTANCES = list_of(InstanceShape, "InstanceList")


class CurrentLicence(ApiView):
    """The one that holds."""

    @operation(
        "get_current_licence",
        tag=TAG,
        scope=READ,
        query=WhichLicence,
        answers={200: LicenceShape, **REFUSED},
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get the licence that holds.

        The last one, as long as it says what is so now and the first half of its time lasts; else
        a fresh one is signed, and takes its place. Ask once a day, and there is always a good one.
        """
        row, wanted = self.organization(organization), self.query()
        found = services.current_license(
            row.pk,
            application=wanted.get("application", ""),
            instance=wanted.get("instance", ""),
            actor=self.actor,
            at=row.time(self.at),
        )
        return self.answer(LicenceShape, found)


class Licences(ApiView):
    """All of an organization's."""

    @operation("list_licences", tag=TAG, scope=READ, query=ListQuery, answers={200: LICENCES})
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's licences, those superseded and revoked too."""
        row = self.organization(organization)
        mine = License.objects.filter(organization=row)
        among = mine.select_related("organization", "subscription__application", "instance")
        found = page(among, self.query(), among=mine)
        seen = [selectors.license_facts(one) for one in found.rows]
        return self.listing(LicenceShape, found, seen)

    @operation("issue_licence", tag=TAG, scope=WRITE, body=NewLicence, answers={201: LicenceShape})
    def post(self, request: Request, organization: str) -> Response:
        """Sign a licence of what an organization has now.

        It takes the place of the last one for the same installation, which stays good until it
        ends. Usually it is enough to get the one that holds.
        """
        row, wanted = self.organization(organization), self.body()
        made = services.issue_license(row.pk, **wanted, actor=self.actor, at=row.time(self.at))
        return self.answer(LicenceShape, made, status=201)


class OneLicence(ApiView):
    """One of them."""

    @operation("get_licence", tag=TAG, scope=READ, answers={200: LicenceShape})
    def get(self, request: Request, licence: str) -> Response:
        """Get a licence, as it was signed."""
        row = self.own(License.objects.all(), licence, "licence")
        return self.answer(LicenceShape, selectors.get(row.public_id))


class RevokeLicence(ApiView):
    """Taking it back."""

    @operation("revoke_licence", tag=TAG, scope=WRITE, body=RevokeBody, answers={200: LicenceShape})
    def post(self, request: Request, licence: str) -> Response:
        """Revoke a licence. Safe to repeat.

        At once where it is verified here; installations that decide by themselves read it in the
        list of revoked licences. Whoever asks next gets a fresh one: to keep an installation from
        having any, block it.
        """
        row, said = self.own(License.objects.all(), licence, "licence"), self.body()
        done = services.revoke_license(
            row.public_id, because=said["reason"], actor=self.actor, at=self.at
        )
        return self.answer(LicenceShape, done)


class VerifyLicence(ApiView):
    """Judging a token."""

    @operation("verify_licence", tag=TAG, scope=READ, body=VerifyBody, answers={200: VerdictShape})
    def post(self, request: Request) -> Response:
        """Say whether a token is a good licence now, by our own books. Changes nothing.

        Knows what no installation can by itself: that it was revoked a moment ago, or that less is
        granted by now. The licences of others are as unknown as any.
        """
        said = self.body()
        found = selectors.judge(
            said["token"],
            at=self.at,
            organization_id=self.actor.organization_id,
            instance=said["instance"],
        )
        return self.answer(VerdictShape, found)


class PublicKeys(ApiView):
    """What licences are checked with."""

    @operation("get_licence_keys", tag=TAG, scope=READ, answers={200: PublicKeysShape})
    def get(self, request: Request) -> Response:
        """Get the public keys, as PEM and as JSON Web Keys.

        `/.well-known/licence-keys.json` (a JWKS) and `/.well-known/licence-keys.pem` have them for
        everybody, and `/.well-known/licence-revocations.jwt` the signed list of revoked licences.
        """
        keys = services.published_keys(self.received_at)
        return self.answer(PublicKeysShape, {"public_key": keys[0].pem, "keys": keys})


class Instances(ApiView):
    """The installations."""

    @operation("list_instances", tag=TAG, scope=READ, answers={200: INSTANCES})
    def get(self, request: Request, organization: str) -> Response:
        """List an organization's installations: who asked for a licence or reported devices."""
        row = self.organization(organization)
        return self.envelope(InstanceShape, _seen(selectors.instances_of(row.pk)))


class BlockInstance(ApiView):
    """Keeping one out."""

    @operation("block_instance", tag=TAG, scope=WRITE, body=NoBody, answers={200: InstanceShape})
    def post(self, request: Request, instance: str) -> Response:
        """Revoke every licence of an installation, and give it none any more. Safe to repeat."""
        row = self.own(Instance.objects.all(), instance, "instance")
        self.body()
        services.block_instance(row.public_id, actor=self.actor, at=self.at)
        return self.answer(InstanceShape, _instance(row))


class UnblockInstance(ApiView):
    """Letting it in again."""

    @operation("unblock_instance", tag=TAG, scope=WRITE, body=NoBody, answers={200: InstanceShape})
    def post(self, request: Request, instance: str) -> Response:
        """Let an installation have licences again; those revoked stay so. Safe to repeat."""
        row = self.own(Instance.objects.all(), instance, "instance")
        self.body()
        services.unblock_instance(row.public_id, actor=self.actor, at=self.at)
        return self.answer(InstanceShape, _instance(row))


class LicenceTerms(ApiView):
    """How long they last."""

    @operation("get_licence_terms", tag=TAG, scope=READ, answers={200: TermsShape})
    def get(self, request: Request, organization: str) -> Response:
        """Get how long an organization's licences last, and whether each is for one instance."""
        row = self.organization(organization)
        return self._terms(row, selectors.terms_of(row.pk))

    @operation(
        "set_licence_terms",
        tag=TAG,
        scope=WRITE,
        platform_only=True,
        body=TermsBody,
        answers={200: TermsShape},
    )
    def put(self, request: Request, organization: str) -> Response:
        """Agree how an organization's licences are, from the next one on. Safe to repeat."""
        row, said = self.organization(organization), self.body()
        services.set_license_terms(row.pk, **said, actor=self.actor, at=self.at)
        return self._terms(row, selectors.terms_of(row.pk))

    def _terms(self, row: Organization, terms: Terms) -> Response:
        return self.answer(TermsShape, {"organization": row.public_id, "terms": terms})


class Customers(ApiView):
    """Who joins."""

    @operation(
        "sign_up_customer",
        tag=TAG,
        scope=WRITE,
        platform_only=True,
        body=CustomerBody,
        answers={201: SignedUpShape},
    )
    def post(self, request: Request) -> Response:
        """Create a customer, begin its trial and sign its licence: all of it, or nothing.

        The key needs the scopes `organizations:write` and `subscriptions:write`, too. With an
        Idempotency-Key the same customer joins once, however often this is sent.
        """
        return self.answer(SignedUpShape, _signed_up(self, self.body()), status=201)


# --- the former addresses -------------------------------------------------------------------------
class FormerCurrent(ApiView):
    """Where installations fetch their licence."""

    passes_over_parameters = True  # as it always did: nobody updates who asks here

    @operation(
        "former_get_license", tag=FORMER_TAG, scope=READ, answers={200: FormerLicence, **REFUSED}
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get the licence that holds at the former address."""
        row = self.organization(organization)
        found = services.current_license(row.pk, actor=self.actor, at=row.time(self.at))
        return self.answer(FormerLicence, found)


class FormerPublicKey(ApiView):
    """Where installations fetch the public key."""

    @operation("former_get_public_key", tag=FORMER_TAG, scope=READ, answers={200: FormerKey})
    def get(self, request: Request) -> Response:
        """Get the public key at the former address."""
        return self.answer(
            FormerKey, {"public_key": services.published_keys(self.received_at)[0].pem}
        )


class FormerVerify(ApiView):
    """Where licences were tested."""

    @operation(
        "former_verify_license",
        tag=FORMER_TAG,
        scope=READ,
        body=FormerVerifyBody,
        answers={200: FormerVerdict},
    )
    def post(self, request: Request) -> Response:
        """Say whether a licence is good at the former address."""
        found = selectors.judge(
            self.body()["license"], at=self.at, organization_id=self.actor.organization_id
        )
        return self.answer(FormerVerdict, found)


class FormerRevoke(ApiView):
    """Where a customer's licences were revoked."""

    @operation(
        "former_revoke_licenses",
        tag=FORMER_TAG,
        scope=WRITE,
        body=NoBody,
        answers={200: FormerRevoked},
    )
    def post(self, request: Request, organization: str) -> Response:
        """Revoke all of a customer's licences at the former address.

        The subscription stays; it is canceled by `POST /api/v1/subscriptions/{id}/cancel`.
        """
        row = self.organization(organization)
        self.body()
        done = services.revoke_all_licenses(row.pk, actor=self.actor, at=row.time(self.at))
        return self.answer(FormerRevoked, {"status": "success", "revoked": done})


class FormerJoining(ApiView):
    """Where customers joined and were listed."""

    @operation(
        "former_list_customers",
        tag=FORMER_TAG,
        scope="organizations:read",
        query=ListQuery,
        answers={200: FormerCustomers},
    )
    def get(self, request: Request) -> Response:
        """List customers at the former address.

        As `GET /api/v1/organizations`.
        """
        own = self.actor.organization_id
        rows = Organization.objects.all() if own is None else Organization.objects.filter(pk=own)
        found = page(rows, self.query(), among=rows)
        following = found.next_cursor if found.has_more else None
        seen = {"customers": found.rows, "next_cursor": following}
        return self.answer(FormerCustomers, seen)

    @operation(
        "former_create_customer",
        tag=FORMER_TAG,
        scope=WRITE,
        platform_only=True,
        body=FormerCustomerBody,
        answers={201: FormerSignedUp},
    )
    def post(self, request: Request) -> Response:
        """Create a customer with trial and licence at the former address.

        As `POST /api/v1/customers`.
        """
        said = self.body()
        new = NewCustomer(said["company_name"], said["email"])
        joined = services.sign_up(new, actor=self.actor, at=self.at)
        return self.answer(FormerSignedUp, joined, status=201)


class FormerOneCustomer(ApiView):
    """Where one was."""

    passes_over_parameters = True  # as it always did: nobody updates who asks here

    @operation(
        "former_get_customer",
        tag=FORMER_TAG,
        scope="organizations:read",
        answers={200: FormerCustomer},
    )
    def get(self, request: Request, organization: str) -> Response:
        """Get a customer at the former address."""
        return self.answer(FormerCustomer, self.organization(organization))

    @operation(
        "former_update_customer",
        tag=FORMER_TAG,
        scope="organizations:write",
        body=FormerCustomerChange,
        answers={200: FormerCustomer},
    )
    def patch(self, request: Request, organization: str) -> Response:
        """Change a customer's name or address of mail at the former address."""
        row, said = self.organization(organization), self.body()
        named = {"company_name": "name", "email": "email"}
        changes = {named[key]: value for key, value in said.items()}
        done = tenants.update_organization(row.pk, changes=changes, actor=self.actor, at=self.at)
        return self.answer(FormerCustomer, done)


# --- for everybody --------------------------------------------------------------------------------
@require_safe
@cache_control(public=True, max_age=FIVE_MINUTES)
def key_set(request: HttpRequest) -> HttpResponse:
    """Return the public keys as a JSON Web Key Set (RFC 7517)."""
    keys = services.published_keys(clock.now())
    return JsonResponse(
        {"keys": [one.jwk for one in keys]}, content_type="application/jwk-set+json"
    )


@require_safe
@cache_control(public=True, max_age=FIVE_MINUTES)
def key_file(request: HttpRequest) -> HttpResponse:
    """Return the public keys as PEM, the one that signs first."""
    keys = services.published_keys(clock.now())
    return HttpResponse("".join(one.pem for one in keys), content_type="application/x-pem-file")


@require_safe
@cache_control(public=True, max_age=FIVE_MINUTES)
def revocations(request: HttpRequest) -> HttpResponse:
    """Return the signed list of revoked licences: ids and times, and nobody's names."""
    return HttpResponse(services.sign_revocations(clock.now()), content_type="application/jwt")


def _signed_up(view: ApiView, said: dict[str, Any]) -> services.SignedUp:
    plan, instance = said.pop("plan"), said.pop("instance")
    return services.sign_up(
        NewCustomer(**said), plan=plan, instance=instance, actor=view.actor, at=view.at
    )


def _instance(row: Instance) -> dict[str, Any]:
    """Return an installation as it is now."""
    found = selectors.instances_of(row.organization_id)
    return _seen([one for one in found if one.name == row.name])[0]


def _seen(found: list[InstanceFacts]) -> list[dict[str, Any]]:
    """Return installations for their shape; one that only reported devices has no id."""
    return [
        {
            "public_id": one.public_id or None,
            "name": one.name,
            "first_seen_at": one.first_seen_at,
            "last_seen_at": one.last_seen_at,
            "blocked_at": one.blocked_at,
            "report": one.report,
        }
        for one in found
    ]
