"""Loading a catalogue file: upload, see what it would change, apply."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse

from apps.backoffice.access import actor_of
from apps.backoffice.admin import cells
from apps.backoffice.admin.asking import Question
from apps.core import clock
from apps.core.errors import DomainError
from apps.plans import services
from apps.plans.catalog import MAX_BYTES, parse_catalog
from apps.plans.models import Plan
from apps.plans.report import CatalogReport


class UploadForm(Question):
    """A catalogue file."""

    file = forms.FileField(
        help_text=f"YAML, at most {MAX_BYTES // 1024} KiB; docs/catalog.md says how."
    )

    def clean_file(self) -> tuple[str, str]:
        """Return the file's text and its name."""
        upload: UploadedFile[bytes] = self.cleaned_data["file"]
        if (upload.size or 0) > MAX_BYTES:
            limit = f"{MAX_BYTES // 1024} KiB"
            raise forms.ValidationError(f"The file is larger than {limit}; split it.")
        try:
            return upload.read().decode("utf-8-sig"), str(upload.name)
        except UnicodeDecodeError:
            raise forms.ValidationError("The file is not UTF-8 text.") from None


class ApplyForm(Question):
    """The text of a file, as it was shown."""

    text = forms.CharField(widget=forms.HiddenInput, max_length=MAX_BYTES, strip=False)
    source = forms.CharField(widget=forms.HiddenInput, max_length=200)


def page(screen: Any, request: HttpRequest) -> HttpResponse:
    """Show the form, then what the file would change, then apply it.

    The dry run is the real loading, taken back: what it shows is what applying does, and what it
    refuses is refused.
    """
    if request.method != "POST":
        return _show(screen, request, UploadForm())
    applies = "apply" in request.POST
    form = (ApplyForm if applies else UploadForm)(request.POST, request.FILES)
    if not form.is_valid():
        return _show(screen, request, form if not applies else UploadForm(), status=400)
    given = form.cleaned_data
    text, source = (given["text"], given["source"]) if applies else given["file"]
    try:
        report = services.load_catalog(
            parse_catalog(text, source=source),
            actor=actor_of(request),
            at=clock.now(),
            dry_run=not applies,
        )
    except DomainError as refusal:
        again = UploadForm()
        return _show(screen, request, again, problems=refusal.message.splitlines(), status=400)
    if applies:
        messages.success(request, _said(report))
        return HttpResponseRedirect(cells.list_url(Plan))
    confirm = ApplyForm(initial={"text": text, "source": source})
    return _show(screen, request, confirm, report=report)


def _said(report: CatalogReport) -> str:
    changed = [plan.code for plan in report.plans if plan.outcome != "unchanged"]
    if not report.changed:
        return f"{report.source}: nothing has changed."
    return f"{report.source} was loaded; plans changed: {', '.join(changed) or 'none'}."


def _show(
    screen: Any, request: HttpRequest, form: Question, *, status: int = 200, **extra: Any
) -> HttpResponse:
    context = {
        **screen.admin_site.each_context(request),
        "opts": Plan._meta,
        "title": "Load a catalogue",
        "form": form,
        "back": cells.list_url(Plan),
        **extra,
    }
    return TemplateResponse(request, "admin/backoffice/catalog.html", context, status=status)
