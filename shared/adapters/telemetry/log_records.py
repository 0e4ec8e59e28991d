"""What of a log line leaves the process: the event as the message, and its fields as properties."""

import logging
import re
from collections.abc import Mapping
from typing import Any, cast, override

from opentelemetry.sdk._logs import LogRecordProcessor, ReadWriteLogRecord

REMOVED = "(removed)"
# An address, a bearer token, a JSON web token, the value of a key in a connection string or a query.
_PRIVATE = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+"
    r"|(?<=[Bb]earer )[\w.~+/=-]+"
    r"|eyJ[\w-]{10,}\.[\w.-]+"
    r"|(?<=AccountKey=)[^;\s]+|(?<=[?&]code=)[^&\s]+|(?<=sig=)[^&\s]+"
)
_TEXTS = ("exception.message", "exception.stacktrace")


class EventRecords(LogRecordProcessor):
    """Makes the record of an event what a query wants.

    An event's fields hold nothing private by the rule of `log_event`. An unexpected error may quote anything, so what
    looks like an address, a key or a token is removed from it.
    """

    @override
    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        record = log_record.log_record
        attributes: dict[str, Any] = dict(record.attributes or {})
        event, fields = attributes.pop("event", None), attributes.pop("fields", None)
        attributes.pop("on_span", None)
        if event is not None:
            record.body = event
            attributes |= cast("Mapping[str, Any]", fields or {})
        for name in _TEXTS:
            if name in attributes:
                attributes[name] = _PRIVATE.sub(REMOVED, str(attributes[name]))
        record.attributes = attributes

    @override
    def shutdown(self) -> None:
        pass

    @override
    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def is_not_exported_yet(record: logging.LogRecord) -> bool:
    """Filter out the records that are an event of a span already."""
    return not getattr(record, "on_span", False)
