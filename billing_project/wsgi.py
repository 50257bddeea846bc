"""The web server's entry. It refuses to serve on settings or a login that are not safe."""

from __future__ import annotations

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")
application = get_wsgi_application()

from apps.core.checks import refuse_a_broken_system  # noqa: E402 - the settings come first

refuse_a_broken_system()
