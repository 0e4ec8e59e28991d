"""Log lines: one for each event, with the ids of the tenant and the operation that it belongs to.

A line reads `state changed tenant=acme operation=acme.4zq... before=active`. Ids that are known where the work begins
are set once with `log_context` and are part of every line logged within it, also by the adapters. A handler finds the
event and the fields apart on the record, as `record.event` and `record.fields`.
"""

import contextlib
import json
import logging
from collections.abc import Generator, Mapping
from contextvars import ContextVar

from shared.telemetry.recorder import recorder

type Field = str | int | float

_NO_FIELDS: Mapping[str, Field] = {}
_context: ContextVar[Mapping[str, Field]] = ContextVar("log_context", default=_NO_FIELDS)


@contextlib.contextmanager
def log_context(**fields: Field) -> Generator[None]:
    """Add fields to every event that is logged within this context and the tasks started in it."""
    token = _context.set({**_context.get(), **fields})
    try:
        yield
    finally:
        _context.reset(token)


def context_fields() -> Mapping[str, Field]:
    """Return the fields that every event has here."""
    return _context.get()


def add_to_log_context(**fields: Field) -> None:
    """Add fields to what is logged from here on, until the context ends that `log_context` began last."""
    _context.set({**_context.get(), **fields})


def log_event(logger: logging.Logger, event: str, /, *, level: int = logging.INFO, **fields: Field) -> None:
    """Log one event on one line.

    Args:
        logger: The module's logger.
        event: What happened: a short text that is the same each time.
        level: A level of `logging`.
        fields: What it happened to. Never an e-mail address, a key, a token or a secret.
    """
    _log(logger, level, event, {**_context.get(), **fields}, on_span=False)


def log_exception(logger: logging.Logger, event: str, /, **fields: Field) -> None:
    """Log an error that nobody expected, with its stack trace, as one event; within `except`.

    Args:
        logger: The module's logger.
        event: What was going on: a short text that is the same each time.
        fields: As those of `log_event`.
    """
    _log(logger, logging.ERROR, event, {**_context.get(), **fields}, on_span=False, exc_info=True)


def log_span_event(logger: logging.Logger, event: str, /, **fields: Field) -> None:
    """Log one event that is an event of the span that runs, too; `record.on_span` tells whether one runs."""
    every = {**_context.get(), **fields}
    _log(logger, logging.INFO, event, every, on_span=recorder().event(event, every))


def _log(
    logger: logging.Logger,
    level: int,
    event: str,
    fields: Mapping[str, Field],
    *,
    on_span: bool,
    exc_info: bool | None = None,
) -> None:
    if logger.isEnabledFor(level):
        pairs = " ".join(f"{name}={_text(value)}" for name, value in fields.items())
        extra = {"event": event, "fields": fields, "on_span": on_span}
        logger.log(level, "%s %s", event, pairs, extra=extra, exc_info=exc_info)


def _text(value: Field) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
