"""Log lines: one for each event, whatever is in it."""

import logging

import pytest

from shared.events import log_context, log_event

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


@pytest.mark.parametrize("text", ["", "two words", 'a "quote"', "a=b", "line\nbreak", "\x85", "\u2028", "\u202e"])
def test_any_text_stays_on_its_line(caplog: pytest.LogCaptureFixture, text: str) -> None:
    caplog.set_level(logging.INFO)
    log_event(logger, "failed", cause=text)
    assert len(caplog.messages[0].splitlines()) == 1
    assert caplog.messages[0].startswith('failed cause="')
