"""The way in: every path of the sandbox that is no API comes here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from apps.sandbox.engine import Sandbox
from apps.sandbox.errors import Refusal
from apps.sandbox.pages import (  # noqa: F401 - imported to be registered
    behind,
    challenge,
    checkout,
    invoices,
    machine,
    portal,
    webhooks,
)
from apps.sandbox.pages.asking import Visit, read
from apps.sandbox.pages.drawing import Answer, show, styles
from apps.sandbox.pages.routes import find

logger = logging.getLogger(__name__)


def answer(sandbox: Sandbox, environ: Mapping[str, Any]) -> Answer:
    """Answer a request for a page; a page that fails says so instead of hanging up."""
    path = str(environ.get("PATH_INFO", ""))
    path = path.removeprefix(urlsplit(sandbox.base_url).path) or "/"
    if path == "/style.css":
        return styles()
    lost = Visit(sandbox, posted=False, path=path, query={}, form={})
    try:
        visit = read(sandbox, environ, path)
        found = find(path)
        if found is None:
            return _refused(lost, 404, "There is no such page here.")
        draw, ids = found
        return draw(visit, *ids)
    except Refusal as refusal:
        return _refused(lost, refusal.status, str(refusal))
    except Exception:
        if sandbox.strict:
            raise
        logger.exception("the sandbox failed at %s", path)
        return _refused(lost, 500, "The sandbox failed; its log says why.")


def _refused(visit: Visit, status: int, message: str) -> Answer:
    return show(visit, "refused", {"message": message, "status": status}, status=status)
