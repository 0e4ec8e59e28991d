"""Log lines: one for each event, whatever is in it."""

import logging

import pytest

from shared.events import log_context, log_event, log_exception

logger = logging.getLogger("test")


def test_a_line_has_the_context_and_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    with log_context(tenant="acme", operation="acme.1"):
        log_event(logger, "reserved", cluster="weu-1", weight=2, pause=1234.5)
    log_event(logger, "outside", count=0)
    assert caplog.messages == [
        "reserved tenant=acme operation=acme.1 cluster=weu-1 weight=2 pause=1234.5",
        "outside count=0",
    ]


def test_only_an_exception_has_a_stack_trace(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("odd")
    except ValueError as error:
        log_event(logger, "expected", level=logging.WARNING, cause=str(error))
        with log_context(tenant="acme"):
            log_exception(logger, "unexpected", route="tenants")
    expected, unexpected = caplog.records
    assert expected.exc_info is None
    assert unexpected.message == "unexpected tenant=acme route=tenants"
    assert unexpected.exc_info is not None
    assert unexpected.exc_info[0] is ValueError


@pytest.mark.parametrize("text", ["", "two words", 'a "quote"', "a=b", "line\nbreak", "\x85", "\u2028", "\u202e"])
def test_any_text_stays_on_its_line(caplog: pytest.LogCaptureFixture, text: str) -> None:
    caplog.set_level(logging.INFO)
    log_event(logger, "failed", cause=text)
    assert len(caplog.messages[0].splitlines()) == 1
    assert caplog.messages[0].startswith('failed cause="')


def test_nothing_private_is_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("no time: owner@example.com")
    except ValueError as error:
        log_event(logger, "refused", level=logging.WARNING, cause=str(error), path="/tenants/owner%40example.com")
        log_exception(logger, "request broke off")
    assert 'refused cause="no time: (removed)" path=/tenants/(removed)' in caplog.text
    assert "ValueError: no time: (removed)" in caplog.text
    assert "owner" not in caplog.text
