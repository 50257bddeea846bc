"""`Idempotency-Key` on requests that change something: the kernel's `once`, in HTTP."""

from __future__ import annotations

import re
from collections.abc import Callable

from rest_framework.request import Request
from rest_framework.response import Response

from apps.api.authentication import caller_of
from apps.core import idempotency
from apps.core.errors import Invalid
from apps.core.idempotency import Answer

HEADER = "Idempotency-Key"
REPLAYED = "Idempotent-Replayed"
KEY = re.compile(r"[\x21-\x7e]{1,255}")


class InvalidIdempotencyKey(Invalid):
    """An Idempotency-Key is 1 to 255 printable ASCII characters without blanks."""

    code = "invalid_idempotency_key"


def answered_once(
    request: Request, *, operation: str, raw: bytes, act: Callable[[], Response]
) -> Response:
    """Run `act`, or give the stored answer again when its key was answered before.

    Keys belong to an API key and an operation; the same key for another address or body is refused.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return act()
    if not KEY.fullmatch(key):
        raise InvalidIdempotencyKey(
            "An Idempotency-Key is 1 to 255 printable ASCII characters without blanks.",
            param=HEADER,
        )
    caller = caller_of(request)
    answer = idempotency.once(
        key,
        organization_id=caller.actor.organization_id,
        owner=caller.actor.id,
        route=operation,
        body=request.get_full_path().encode() + b"\n" + raw,
        act=lambda: _answer(act()),
    )
    replayed = {REPLAYED: "true"} if answer.replayed else None
    return Response(answer.body, status=answer.status, headers=replayed)


def _answer(response: Response) -> Answer:
    return Answer(response.status_code, response.data)
