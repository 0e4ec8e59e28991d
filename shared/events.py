"""Log lines: one for each event, with the ids of the tenant and the operation that it belongs to.

A line reads `state changed tenant=acme operation=acme.4zq... before=active`. Ids that are known where the work begins
are set once with `log_context` and are part of every line logged within it, also by the adapters. A handler finds the
event and the fields apart on the record, as `record.event` and `record.fields`.
"""

import contextlib
import json
import logging
import sys
import traceback
from collections.abc import Generator, Mapping
from contextvars import ContextVar

from shared.private_text import without_private
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
        fields: What it happened to. Never an e-mail address, a key, a token or a secret; what a cause quotes and looks
            like one is removed.
    """
    _log(logger, level, event, {**_context.get(), **fields}, on_span=False)


def log_exception(logger: logging.Logger, event: str, /, **fields: Field) -> None:
    """Log an error that nobody expected, with its stack trace, as one event; within `except`.

    Args:
        logger: The module's logger.
        event: What was going on: a short text that is the same each time.
        fields: As those of `log_event`.
    """
    _log(logger, logging.ERROR, event, {**_context.get(), **fields}, on_span=False, error=sys.exception())


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
    error: BaseException | None = None,
) -> None:
    if logger.isEnabledFor(level):
        told = {name: without_private(each) if isinstance(each, str) else each for name, each in fields.items()}
        pairs = " ".join(f"{name}={_text(value)}" for name, value in told.items())
        extra = {"event": event, "fields": told, "on_span": on_span}
        exc_info = (type(error), error, error.__traceback__) if error is not None else None
        record = logger.makeRecord(logger.name, level, "", 0, "%s %s", (event, pairs), exc_info, extra=extra)
        if error is not None:  # which may quote anything; handlers that print it take this text if it is there
            record.exc_text = without_private("".join(traceback.format_exception(error)).rstrip())
        logger.handle(record)


def _text(value: Field) -> str:
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    text = str(value)
    return text if text and text.isprintable() and not set(text) & set(' "=') else json.dumps(text)
