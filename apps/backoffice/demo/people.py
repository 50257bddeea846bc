"""Who can sign in to the demo world, and as what."""

from __future__ import annotations

from dataclasses import dataclass

from apps.tenants.roles import ADMIN, BILLING_ADMIN, MEMBER, OWNER

PASSWORD = "demo-pass-2026"  # noqa: S105 - printed for everybody to see


@dataclass(frozen=True, slots=True)
class Login:
    """Somebody: a member of an organization, or staff of a group."""

    email: str
    name: str
    organization: str = ""
    role: str = ""
    group: str = ""

    @property
    def door(self) -> str:
        """Where they sign in."""
        return "/admin/" if self.group else "/portal/"


LOGINS: tuple[Login, ...] = (
    Login("owner@acme.example", "Olivia Owens", "acme", OWNER),
    Login("billing@acme.example", "Ben Billings", "acme", BILLING_ADMIN),
    Login("admin@acme.example", "Ada Minh", "acme", ADMIN),
    Login("member@acme.example", "Mika Members", "acme", MEMBER),
    Login("owner@globex.example", "Greta Globig", "globex", OWNER),
    Login("owner@mercy.example", "Marge Mercer", "mercy", OWNER),
    Login("owner@initech.example", "Ichiro Tanaka", "initech", OWNER),
    Login("staff@countinghouse.example", "Stella Staffer", group="Admin"),
    Login("finance@countinghouse.example", "Finn Ance", group="Finance"),
    Login("support@countinghouse.example", "Sue Porter", group="Support"),
)
