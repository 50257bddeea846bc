"""The worker's and the scheduler's entry: `celery -A billing_project worker`.

Both refuse to start on settings or a login that are not safe.
"""

from __future__ import annotations

import os
from typing import Any

from celery import Celery
from celery.signals import beat_init, celeryd_init
from django.core.exceptions import ImproperlyConfigured

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "billing_project.settings")

app = Celery("billing_project")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@celeryd_init.connect
@beat_init.connect
def refuse_a_broken_system(**_: Any) -> None:
    """Run the system checks before the first task; leave when they find an error.

    Celery logs what a receiver raises and goes on, all but SystemExit.
    """
    from apps.core import checks  # noqa: PLC0415 - Django is set up by now, and not before

    try:
        checks.refuse_a_broken_system()
    except ImproperlyConfigured as error:
        raise SystemExit(str(error)) from error
