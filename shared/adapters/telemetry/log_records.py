"""What of a log line leaves the process: the event as the message, and its fields as properties."""

import logging
from collections.abc import Mapping
from typing import Any, cast, override

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

from shared.private_text import without_private


class EventRecords(LogRecordProcessor):
    """Makes the record of an event what a query wants.

    `log_event` has removed from an event's fields what looks like an address, a key or a token. All other texts, such
    as the stack trace of an unexpected error, may quote anything, so it is removed from them here.
    """

    @override
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        record = log_record.log_record
        attributes: dict[str, Any] = dict(record.attributes or {})
        event, fields = attributes.pop("event", None), attributes.pop("fields", None)
        attributes.pop("on_span", None)
        told = {name: _told(value) for name, value in attributes.items()}
        if event is not None:
            record.body = event
            told |= cast("Mapping[str, Any]", fields or {})
        else:
            record.body = _told(record.body)
        record.attributes = told

    @override
    def shutdown(self) -> None:
        pass

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def _told(value: Any) -> Any:
    return without_private(value) if isinstance(value, str) else value


def is_not_exported_yet(record: logging.LogRecord) -> bool:
    """Filter out the records that are an event of a span already."""
    return not getattr(record, "on_span", False)
