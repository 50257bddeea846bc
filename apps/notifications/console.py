"""Mail on a laptop: shown as text; attachments are named, not poured out."""

from __future__ import annotations

import sys
from email.message import Message
from typing import Any

from django.core.mail import EmailMessage
from django.core.mail.backends import console


class EmailBackend(console.EmailBackend):
    """Django's console backend without pages of encoded files, and away from stdout.

    What a command prints on stdout may be read by a program.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("stream", sys.stderr)
        super().__init__(*args, **kwargs)

    def write_message(self, message: EmailMessage) -> None:
        """Write who gets what."""
        rows = [
            f"Mail to {', '.join(message.recipients())}: {message.subject}",
            str(message.body).strip(),
            *(f"[attached: {_described(one)}]" for one in message.attachments),
        ]
        self.stream.write("\n".join(rows) + "\n" + "-" * 79 + "\n")


def _described(attachment: tuple[str | None, str | bytes, str | None] | Message) -> str:
    if isinstance(attachment, Message):
        return attachment.get_filename() or attachment.get_content_type()
    return f"{attachment[0]}, {len(attachment[1]):,} bytes"
