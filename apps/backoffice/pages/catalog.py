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
    """A catalogue file, at first; then its text, as it was shown."""

    file = forms.FileField(
        required=False,
        help_text=f"YAML, at most {MAX_BYTES // 1024} KiB; docs/catalog.md says how.",
    )
    text = forms.CharField(
        widget=forms.HiddenInput, required=False, max_length=MAX_BYTES, strip=False
    )
    source = forms.CharField(widget=forms.HiddenInput, required=False, max_length=200)

    def clean_file(self) -> str:
        """Return the file's text."""
        upload: UploadedFile[bytes] | None = self.cleaned_data.get("file")
        if upload is None:
            return ""
        if (upload.size or 0) > MAX_BYTES:
            raise forms.ValidationError(
                f"The file is larger than {MAX_BYTES // 1024} KiB; split it."
            )
        try:
            return upload.read().decode("utf-8-sig")
        except UnicodeDecodeError:
            raise forms.ValidationError("The file is not UTF-8 text.") from None

    def clean(self) -> dict[str, Any]:
        """Ask for a file where none came."""
        if not self.errors and not (self.cleaned_data["file"] or self.cleaned_data["text"]):
            self.add_error("file", "Choose a file.")
        return self.cleaned_data

    def content(self) -> tuple[str, str]:
        """Return the text to load and the name of its file."""
        given: Any = self.files.get("file")
        if given is not None:
            return self.cleaned_data["file"], str(given.name)
        return self.cleaned_data["text"], self.cleaned_data["source"] or "catalogue"


def page(screen: Any, request: HttpRequest) -> HttpResponse:
    """Show the form, then what the file would change, then apply it.

    The dry run is the real loading, taken back: what it shows is what applying does, and what it
    refuses is refused.
    """
    if request.method != "POST":
        return _show(screen, request, UploadForm())
    form = UploadForm(request.POST, request.FILES)
    if not form.is_valid():
        return _show(screen, request, form, status=400)
    text, source = form.content()
    applies = "apply" in request.POST
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
    confirm = UploadForm(initial={"text": text, "source": source})
    return _show(screen, request, confirm, report=report)


def _said(report: CatalogReport) -> str:
    changed = [plan.code for plan in report.plans if plan.outcome != "unchanged"]
    if not report.changed:
        return f"{report.source}: nothing has changed."
    return f"{report.source} was loaded; plans changed: {', '.join(changed) or 'none'}."


def _show(
    screen: Any, request: HttpRequest, form: UploadForm, *, status: int = 200, **extra: Any
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
