"""Acts that change something: a page that says what will happen, asks, and calls one service."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

from django import forms
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.db.models import Model
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from unfold.enums import ActionVariant
from unfold.widgets import CHECKBOX_CLASSES, INPUT_CLASSES, SELECT_CLASSES, TEXTAREA_CLASSES

from apps.backoffice.access import may
from apps.backoffice.admin import cells
from apps.core.errors import DomainError

View = TypeVar("View", bound=Callable[..., Any])
Answers = dict[str, Any]
Run = Callable[[Answers], str | HttpResponse]


class Question(forms.Form):
    """A form in the admin's clothes. Without fields it only asks for confirmation."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for bound in self.fields.values():
            _dress(bound.widget)


def _dress(widget: forms.Widget) -> None:
    if isinstance(widget, forms.CheckboxSelectMultiple | forms.HiddenInput):
        return
    classes = INPUT_CLASSES
    if isinstance(widget, forms.CheckboxInput):
        classes = CHECKBOX_CLASSES
    elif isinstance(widget, forms.Textarea):
        classes = TEXTAREA_CLASSES
        widget.attrs["rows"] = 4
    elif isinstance(widget, forms.Select):
        classes = SELECT_CLASSES
    widget.attrs["class"] = " ".join(classes)


@dataclass(frozen=True, slots=True)
class Ask:
    """What the page says: its title, the sentence that explains, the word on the button.

    Without the word there is nothing to press: the page only says why not.
    """

    title: str
    explain: str
    submit: str = ""
    form: type[forms.Form] = Question
    danger: bool = False
    initial: Answers = field(default_factory=dict)


def ask(
    screen: Any,
    request: HttpRequest,
    question: Ask,
    *,
    run: Run,
    back: str,
    row: Model | None = None,
) -> HttpResponse:
    """Show the question; when it is answered, run the service and go back.

    `run` returns the message to show, or a page of its own. A refusal stands beside the field at
    fault, with the refusal's status; the services' transactions have then changed nothing.
    """
    answered = request.method == "POST"
    given, files = (request.POST, request.FILES) if answered else (None, None)
    form = question.form(given, files, initial=question.initial)
    status = 200
    if answered and form.is_valid():
        try:
            done = run(form.cleaned_data)
        except DomainError as refusal:
            _refuse(form, refusal)
            status = refusal.status
        else:
            if isinstance(done, HttpResponse):
                return done
            messages.success(request, done)
            return HttpResponseRedirect(back)
    elif answered:
        status = 400
    context = {
        **screen.admin_site.each_context(request),
        "opts": screen.model._meta,
        "title": question.title,
        "question": question,
        "form": form,
        "original": row,
        "back": back,
    }
    return TemplateResponse(request, "admin/backoffice/ask.html", context, status=status)


def cannot(
    screen: Any, request: HttpRequest, row: Model, description: str, why: str
) -> HttpResponse:
    """Show why an act is not possible on this row."""
    context = {
        **screen.admin_site.each_context(request),
        "opts": screen.model._meta,
        "title": f"{description}: not possible",
        "question": Ask(description, why),
        "original": row,
        "back": cells.url_of(row),
    }
    return TemplateResponse(request, "admin/backoffice/ask.html", context, status=409)


def _refuse(form: forms.Form, refusal: DomainError) -> None:
    form.add_error(refusal.param if refusal.param in form.fields else None, refusal.message)


def act(
    description: str,
    *,
    capability: str,
    icon: str = "",
    danger: bool = False,
    applies: Callable[[Any], bool] = lambda _: True,
    otherwise: Callable[[Any], str] = lambda row: f"{row} is not in a state that allows this.",
) -> Callable[[View], View]:
    """Declare an act of a screen: its words, who may do it, and to which rows it applies.

    Unfold shows the button to those who may; the check is made again when it is pressed. Whoever
    opens the act's page for another row reads why not (`otherwise`) before filling in anything;
    an answer goes to the service, which refuses in its own words.
    """

    def declare(view: View) -> View:
        @functools.wraps(view)
        def guarded(screen: Any, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
            if not may(request, capability):
                raise PermissionDenied
            if "object_id" in kwargs and request.method != "POST":
                row = screen.row(request, kwargs["object_id"])
                if not applies(row):
                    return cannot(screen, request, row, description, otherwise(row))
            return view(screen, request, *args, **kwargs)

        marked: Any = guarded
        marked.short_description = description
        marked.allowed_permissions = (capability,)
        marked.variant = ActionVariant.DANGER if danger else ActionVariant.DEFAULT
        marked.icon = icon
        marked.attrs = {}
        marked.applies = applies
        marked.original_function_name = view.__name__
        return marked  # type: ignore[no-any-return]

    return declare


def column(description: str, *, order: str = "") -> Callable[[View], View]:
    """Declare a computed column of a list. Names that end in `_money` stand at the right."""

    def declare(view: View) -> View:
        marked: Any = view
        marked.short_description = description
        if order:
            marked.admin_order_field = order
        return view

    return declare
