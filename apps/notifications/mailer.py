"""Mails: text and HTML from one pair of templates, in the reader's language."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from email.utils import parseaddr

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.template.loader import render_to_string
from django.utils import translation


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file that goes with a mail."""

    name: str
    content: bytes
    kind: str = "application/pdf"


@dataclass(frozen=True, slots=True)
class Rendered:
    """A mail as it is read."""

    subject: str
    text: str
    html: str


def render(template: str, *, locale: str, context: Mapping[str, object]) -> Rendered:
    """Return the mail `templates/mail/<template>.{subject.txt,txt,html}` in the locale's language,
    for whoever sends it or only looks at it.
    """
    with translation.override(translation.to_language(locale)):
        told = {"brand": settings.BRAND_NAME, "base_url": settings.API_BASE_URL, **context}
        subject = render_to_string(f"mail/{template}.subject.txt", told)
        return Rendered(
            " ".join(subject.split()),  # a name with a line break must not add a header
            render_to_string(f"mail/{template}.txt", told),
            render_to_string(f"mail/{template}.html", told),
        )


def send(
    template: str,
    *,
    to: str,
    cause: str,
    locale: str,
    context: Mapping[str, object],
    attachments: Sequence[Attachment] = (),
) -> None:
    """Send a mail, in the locale's language.

    `cause` is an id of what the mail is about. The Message-ID follows from it, so that of two
    deliveries of one fact mail programs show one. Raises what the mail server answers.
    """
    mail = render(template, locale=locale, context=context)
    message = EmailMultiAlternatives(
        subject=mail.subject,
        body=mail.text,
        to=[to],
        headers={"Message-ID": message_id(template, cause), "Auto-Submitted": "auto-generated"},
    )
    message.attach_alternative(mail.html, "text/html")
    for attachment in attachments:
        message.attach(attachment.name, attachment.content, attachment.kind)
    message.send()


def message_id(template: str, cause: str) -> str:
    """Return the Message-ID of the one mail of this kind about `cause`."""
    domain = parseaddr(settings.DEFAULT_FROM_EMAIL)[1].rpartition("@")[2] or "localhost"
    return f"<{template}.{cause}@{domain}>"
