"""What of a log line is sent: by the real handler, and made to an envelope by the real exporter."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from azure.monitor.opentelemetry.exporter.export.logs import _exporter as exporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import InMemoryLogRecordExporter, SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider

from shared.adapters.telemetry.log_records import EventRecords, is_not_exported_yet
from shared.events import log_context, log_event, log_exception
from shared.private_text import REMOVED

logger = logging.getLogger("shared.sample")
PRIVATE = (
    "owner@example.com",
    "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJiZXJ0aCJ9.c2lnbmF0dXJl",
    "Bearer 8f2c4b0d6e",
    "AccountKey=c2VjcmV0LWtleQ==;",
    "https://berth.example.com/api/tenants?code=function-key",
    "https://store.example.com/tenants?sv=2024&sig=signature%3D",
)
MARKS = ("owner@", "eyJ", "8f2c4b0d6e", "c2VjcmV0", "function-key", "signature")


class Sent:
    """Collects the envelopes of what is logged."""

    def __init__(self) -> None:
        self._kept = InMemoryLogRecordExporter()
        self.provider = LoggerProvider()
        self.provider.add_log_record_processor(EventRecords())
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self._kept))

    def envelopes(self) -> list[dict[str, Any]]:
        """Return them in order, as documents."""
        convert: Any = vars(exporter)["_convert_log_to_envelope"]
        return [convert(each).as_dict() for each in self._kept.get_finished_logs()]

    def one(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Return the data and the tags of the only one."""
        [envelope] = self.envelopes()
        return envelope["data"]["baseData"], envelope["tags"]


@pytest.fixture
def sent() -> Iterator[Sent]:
    made = Sent()
    handler = LoggingHandler(logger_provider=made.provider)
    handler.addFilter(is_not_exported_yet)
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield made
    logger.removeHandler(handler)
    logger.setLevel(logging.NOTSET)


def test_an_event_is_its_message_and_its_fields(sent: Sent) -> None:
    with log_context(tenant="acme", operation="acme.1"):
        log_event(logger, "breaker opened", level=logging.WARNING, cluster="one", cause="no route to host", count=2)
    data, _ = sent.one()
    assert (data["message"], data["severityLevel"]) == ("breaker opened", 2)
    assert data["properties"] == {
        "tenant": "acme",
        "operation": "acme.1",
        "cluster": "one",
        "cause": "no route to host",
        "count": "2",
        "logger_name": logger.name,
    }


@pytest.mark.parametrize(("level", "severity"), [(logging.INFO, 1), (logging.WARNING, 2), (logging.ERROR, 3)])
def test_severities_are_those_of_application_insights(sent: Sent, level: int, severity: int) -> None:
    log_event(logger, "something", level=level)
    assert sent.one()[0]["severityLevel"] == severity


def test_an_event_belongs_to_the_span_that_runs(sent: Sent) -> None:
    with TracerProvider().get_tracer("tests").start_as_current_span("work") as span:
        log_event(logger, "state changed")
    _, tags = sent.one()
    assert tags["ai.operation.id"] == f"{span.get_span_context().trace_id:032x}"
    assert tags["ai.operation.parentId"] == f"{span.get_span_context().span_id:016x}"


def test_an_unexpected_error_has_its_stack_trace(sent: Sent) -> None:
    try:
        raise ValueError("odd")
    except ValueError:
        log_exception(logger, "metering broke off", route="tenants")
    [envelope] = sent.envelopes()
    assert envelope["data"]["baseType"] == "ExceptionData"
    [error] = envelope["data"]["baseData"]["exceptions"]
    assert (error["typeName"], error["message"], error["hasFullStack"]) == ("ValueError", "metering broke off", True)
    assert "test_log_records.py" in error["stack"]
    assert envelope["data"]["baseData"]["properties"].items() >= {"route": "tenants"}.items()


@pytest.mark.parametrize("text", PRIVATE)
def test_an_unexpected_error_tells_nothing_private(sent: Sent, text: str) -> None:
    try:
        try:
            raise ValueError(f"before {text}")
        except ValueError as error:
            raise RuntimeError(f"while handling {text}") from error
    except RuntimeError:
        log_exception(logger, "request broke off")
    found = str(sent.envelopes())
    assert REMOVED in found
    assert not [mark for mark in MARKS if mark in found]


def test_what_is_an_event_of_a_span_is_not_sent_again(sent: Sent) -> None:
    logger.info("retry", extra={"event": "retry", "fields": {}, "on_span": True})
    assert sent.envelopes() == []


@pytest.mark.parametrize("text", PRIVATE)
def test_a_cause_tells_nothing_private(sent: Sent, text: str) -> None:
    log_event(logger, "kubernetes refused", level=logging.WARNING, cause=f"denied: {text}")
    logger.warning("denied: %s", text)  # no event
    found = str(sent.envelopes())
    assert found.count(REMOVED) == 2
    assert not [mark for mark in MARKS if mark in found]
