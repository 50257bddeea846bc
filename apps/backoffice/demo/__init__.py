"""A world to look at: customers with agreements, usage, invoices and people.

Everything is made through the services that everybody uses; nothing is faked in the database.
"""

from __future__ import annotations

from apps.backoffice.demo.people import LOGINS, PASSWORD, Login
from apps.backoffice.demo.world import CUSTOMERS, Outcome, build

__all__ = ["CUSTOMERS", "LOGINS", "PASSWORD", "Login", "Outcome", "build"]
