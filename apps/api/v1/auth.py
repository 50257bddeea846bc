"""`/auth`: people register, sign in by password, and stay signed in by refreshing their token."""

from __future__ import annotations

from typing import Any

from drf_spectacular.utils import OpenApiExample
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.door import OpenView
from apps.api.schema import operation
from apps.api.shapes import Body, Choice, Kind, Shape, Text, public_id
from apps.core import rls
from apps.core.throttle import address_of
from apps.tenants import selectors, services
from apps.tenants.errors import RefreshReused
from apps.tenants.models import Membership
from apps.tenants.services import Customer, SignedIn

TAG = "Sign-in"
LONGEST_PASSWORD = 1024


class PersonShape(Shape):
    """Who is signed in."""

    object = Kind("user")
    id = public_id("usr", source="public_id")
    email = serializers.EmailField()
    name = serializers.CharField()


class BelongingShape(Shape):
    """An organization that somebody belongs to."""

    id = public_id("org", source="public_id")
    slug = serializers.CharField()
    name = serializers.CharField()
    role = Choice(Membership.Role.choices)


class TokensShape(Shape):
    """What somebody has who is signed in. The refresh token is good once."""

    object = Kind("tokens")
    token_type = Kind("Bearer")
    access_token = serializers.CharField(help_text="for `Authorization: Bearer`, 15 minutes")
    access_token_expires_at = serializers.DateTimeField()
    refresh_token = serializers.CharField(help_text="for `auth/refresh`, once, within 30 days")
    user = PersonShape()
    organizations = BelongingShape(many=True)


class Registration(Body):
    """A person, and the organization whose owner they become."""

    email = Text(max_length=254)
    password = Text(max_length=LONGEST_PASSWORD, trim_whitespace=False)
    name = Text(max_length=200, default="", allow_blank=True)
    organization = Text(max_length=200, help_text="its name")
    slug = Text(max_length=63, default="", allow_blank=True, help_text="else made of the name")
    currency = Text(min_length=3, max_length=3, default="USD", help_text="ISO 4217; fixed")
    timezone = Text(max_length=64, default="UTC", help_text="IANA")
    country = Text(min_length=2, max_length=2, default="US", help_text="ISO 3166-1")


class Credentials(Body):
    """An e-mail address and its password."""

    email = Text(max_length=254)
    password = Text(max_length=LONGEST_PASSWORD, trim_whitespace=False)
    organization = Text(
        max_length=63, default="", allow_blank=True, help_text="id or slug; put into the token"
    )
    code = Text(
        max_length=40,
        default="",
        allow_blank=True,
        help_text="of the authenticator app, or a recovery code, where the account has a second "
        "factor",
    )


class Refreshing(Body):
    """A refresh token that was not used yet."""

    refresh_token = Text(max_length=200)
    organization = Text(
        max_length=63, default="", allow_blank=True, help_text="id or slug; put into the token"
    )


class Leaving(Body):
    """A refresh token of the session that shall end."""

    refresh_token = Text(max_length=200)


class EndedShape(Shape):
    """That a session is over."""

    object = Kind("session")
    signed_out = serializers.BooleanField()


REGISTER = OpenApiExample(
    "A new customer",
    value={
        "email": "ann@pied-piper.example",
        "password": "correct horse battery",
        "organization": "Pied Piper",
    },
    request_only=True,
)
LOGIN = OpenApiExample(
    "An owner",
    value={"email": "ann@pied-piper.example", "password": "correct horse battery"},
    request_only=True,
)


class _Door(OpenView):
    """What these addresses share."""

    def _register(self) -> Response:
        wanted = self.body()
        customer = Customer(
            wanted["organization"],
            wanted["slug"],
            wanted["currency"],
            wanted["timezone"],
            wanted["country"],
        )
        with rls.ops_scope("api: register"):
            found = services.register(
                wanted["email"],
                password=wanted["password"],
                name=wanted["name"],
                customer=customer,
                address=address_of(self.request._request),
                at=self.received_at,
            )
        return self._tokens(found, status=201)

    def _login(self) -> Response:
        wanted = self.body()
        with rls.ops_scope("api: sign in"):
            found = services.sign_in(
                wanted["email"],
                password=wanted["password"],
                organization=wanted["organization"],
                code=wanted["code"],
                address=address_of(self.request._request),
                at=self.received_at,
            )
        return self._tokens(found)

    def _tokens(self, found: SignedIn, *, status: int = 200) -> Response:
        seen: dict[str, Any] = {
            "access_token": found.access,
            "access_token_expires_at": found.access_expires_at,
            "refresh_token": found.refresh,
            "user": found.user,
            "organizations": selectors.belongings(found.user.pk),
        }
        return self.answer(TokensShape, seen, status=status)


class Register(_Door):
    """New customers."""

    @operation(
        "register", tag=TAG, scope=None, body=Registration, answers={201: TokensShape},
        examples=[REGISTER],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Register: a person and their organization.

        The person is its owner and signed in. Where `ENABLE_REGISTRATION` is off this is refused.
        """
        return self._register()


class Login(_Door):
    """People who come back."""

    @operation(
        "login", tag=TAG, scope=None, body=Credentials, answers={200: TokensShape},
        examples=[LOGIN],
    )  # fmt: skip
    def post(self, request: Request) -> Response:
        """Sign in by password.

        The answer is the same for an unknown address and a wrong password. Who belongs to several
        organizations names one here, or in the header `X-Organization` of each request.
        """
        return self._login()


class Refresh(_Door):
    """People who stay."""

    @operation("refresh_tokens", tag=TAG, scope=None, body=Refreshing, answers={200: TokensShape})
    def post(self, request: Request) -> Response:
        """Get new tokens for a refresh token.

        It is used up thereby. One that comes a second time was stolen from somebody: the session
        ends, for both.
        """
        wanted = self.body()
        with rls.ops_scope("api: refresh"):  # commits the end of a session that was stolen
            found = services.refresh(
                wanted["refresh_token"],
                organization=wanted["organization"],
                at=self.received_at,
            )
        if found is None:
            raise RefreshReused("This refresh token was used before; sign in again.")
        return self._tokens(found)


class Logout(_Door):
    """People who leave."""

    @operation("logout", tag=TAG, scope=None, body=Leaving, answers={200: EndedShape})
    def post(self, request: Request) -> Response:
        """Sign out: the session's tokens count no more, at once."""
        wanted = self.body()
        with rls.ops_scope("api: sign out"):
            services.sign_out(wanted["refresh_token"], at=self.received_at)
        return self.answer(EndedShape, {"signed_out": True})


class FormerRegister(_Door):
    """As the metering system of before spelled it."""

    @operation(
        "former_register", tag=TAG, scope=None, body=Registration, answers={201: TokensShape}
    )
    def post(self, request: Request) -> Response:
        """Register, as `POST /api/v1/auth/register`."""
        return self._register()


class FormerLogin(_Door):
    """As the metering system of before spelled it."""

    @operation("former_login", tag=TAG, scope=None, body=Credentials, answers={200: TokensShape})
    def post(self, request: Request) -> Response:
        """Sign in, as `POST /api/v1/auth/login`."""
        return self._login()
