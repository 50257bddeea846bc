"""The live process's entry. It refuses to serve on settings or a login that are not safe.

Only WebSockets and server-sent events are served here; pages and the API are the web server's,
which answers them several times faster.
"""

from __future__ import annotations

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
django.setup(set_prefix=False)

from apps.core.checks import refuse_a_broken_system  # noqa: E402 - the settings come first
from apps.live.application import application as live  # noqa: E402 - models need the settings

refuse_a_broken_system()
application = live()
