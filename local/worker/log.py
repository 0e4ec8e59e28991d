"""One readable line for each event, from the host and from its workers, which share a log file."""

import logging
import os
import sys
import time
from typing import override

LEVEL = "AzureFunctionsJobHost__logging__logLevel__default"
QUIET = ("azure", "grpc", "uvicorn", "urllib3", "httpx", "asyncio", "durabletask", "opentelemetry")


class _Line(logging.Formatter):
    @override
    def format(self, record: logging.LogRecord) -> str:
        record.exc_text = record.exc_text or getattr(record, "trace", None)  # a traceback from another process
        return super().format(record)

    @override
    def formatTime(self, record: logging.LogRecord, datefmt: str | None = None) -> str:
        return f"{time.strftime('%H:%M:%S', time.localtime(record.created))}.{int(record.msecs):03}"

    @override
    def formatMessage(self, record: logging.LogRecord) -> str:
        # Whatever a caller sent may be part of a message; it must not look like a line of its own.
        record.message = record.message.replace("\r", "\\r").replace("\n", "\\n")
        return super().formatMessage(record)


def configure() -> None:
    """Send the host's and the app's records to standard output, and the libraries' only from WARNING on.

    Records below INFO, such as repeated polling, are shown if the app setting that overrides host.json says Debug.
    """
    level = logging.DEBUG if os.environ.get(LEVEL) == "Debug" else logging.INFO
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Line("%(asctime)s %(levelname)-7s %(name)s  %(message)s"))
    logging.basicConfig(level=level, handlers=[handler], force=True)
    for name in QUIET:
        logging.getLogger(name).setLevel(logging.WARNING)
