"""Logs: one line an event, JSON in production, without personal data and without secrets."""

from __future__ import annotations

import logging.config
import re
from typing import Any

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

HIDDEN = "[hidden]"
SECRET_NAMES = re.compile(
    r"(?i)^(.*_)?(password|passwd|secret|token|authorization|cookie|api_?key|private_key|dsn"
    r"|email|phone|address|iban|card|first_name|last_name|legal_name|tax_id)$"
)
SECRET_VALUES = (
    re.compile(r"\bbk_(?:live|test)_[A-Za-z0-9]+"),
    re.compile(r"\b(?:sk|rk|pk)_(?:live|test)_[A-Za-z0-9]+|\bwhsec_[A-Za-z0-9+/=]+"),
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+\.[A-Za-z]{2,}"),
    re.compile(r"(?<=://)[^/\s:@]*:[^/\s@]+(?=@)"),
    re.compile(r"\b[A-Z]{2}\d{2}(?:\s?[A-Z0-9]{4}){3,7}\b"),
    re.compile(r"\b(?:\d[ -]?){13,19}\b"),
)


def drop_starts(_: WrappedLogger | None, __: str, event: EventDict) -> EventDict:
    """Drop the line that a request has begun: the one that it has ended says more."""
    if event.get("event") == "request_started":
        raise structlog.DropEvent
    return event


def redact(_: WrappedLogger | None, __: str, event: EventDict) -> EventDict:
    """Hide what must not be in a log, by the name of the field and by the shape of the value."""
    return {key: _clean(key, value) for key, value in event.items()}


def _clean(key: str, value: Any) -> Any:
    if SECRET_NAMES.match(key):
        return HIDDEN
    if isinstance(value, dict):
        return {inner: _clean(str(inner), item) for inner, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean(key, item) for item in value]
    return clean_text(value) if isinstance(value, str) else value


def clean_text(text: str) -> str:
    """Return the text with keys, tokens, addresses and numbers of cards and accounts hidden."""
    for pattern in SECRET_VALUES:
        text = pattern.sub(HIDDEN, text)
    return text


def configure(options: dict[str, Any]) -> None:
    """Set up logging from the settings: `level`, `json`, `quiet`."""
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        # Plain tracebacks: the pretty ones print local variables, which are people's money.
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Processor = (
        structlog.processors.JSONRenderer()
        if options["json"]
        else structlog.dev.ConsoleRenderer(
            colors=False, exception_formatter=structlog.dev.plain_traceback
        )
    )
    logging.config.dictConfig(_dict_config(options, before, renderer))
    structlog.configure(
        processors=[drop_starts, *before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def _dict_config(
    options: dict[str, Any], before: list[Processor], renderer: Processor
) -> dict[str, Any]:
    level = "CRITICAL" if options["quiet"] else options["level"]
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "foreign_pre_chain": before,
                "processors": [
                    structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                    renderer,
                ],
            }
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": level},
        "loggers": {
            "stripe": {"level": "WARNING"},  # every call is written down by payments
            "celery.beat": {"level": "WARNING"},
            "celery.app.trace": {"level": "WARNING"},
            "django_structlog.celery": {"level": "WARNING"},
        },
    }
