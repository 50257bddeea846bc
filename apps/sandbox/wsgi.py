"""The sandbox's entry for a web server; `up` and `manage.py sandbox` start one with it."""

from __future__ import annotations

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")

from django.conf import settings

from apps.sandbox.pages.door import answer
from apps.sandbox.serving import keep_going, open_sandbox
from apps.sandbox.transports import Application

settings.DATA_DIR.mkdir(parents=True, exist_ok=True)
_sandbox = open_sandbox(settings.DATA_DIR / "sandbox.sqlite", port=settings.SANDBOX_PORT)
keep_going(_sandbox)
application = Application(_sandbox, answer)
