"""What looks private is removed from a text, and nothing else, however long it is."""

import time

import pytest

from shared.private_text import without_private
from tests.support.private_texts import quotes_of

USUAL = [
    *("", "acme", "no route to host", "a=b&c", "12:00:00+02:00", "@", "sig: 9", "code", "code=5", "greyjoy-tenant-12"),
    *("example.com/product@sha256:abcd", "key not found", "the authorization of Basic tiers", "no password"),
    *("SharedAccessKeyName=a", "-----BEGIN CERTIFICATE-----"),
]


@pytest.mark.parametrize(("left", "text"), quotes_of("zq7mark-0123456789").items())
def test_what_is_private_is_removed_in_each_form(left: str, text: str) -> None:
    assert without_private(text) == left


@pytest.mark.parametrize("text", USUAL)
def test_what_is_usual_stays_as_it_is(text: str) -> None:
    assert without_private(text) == text


PIECES = [
    "a",
    "a.",
    "a@",
    "%40",
    "@sha256:",
    "eyJ",
    "eyJ.",
    "password",
    "password: ",
    'password: "',
    'password: \\"',
    "authorization",
    "-----BEGIN ",
    "sig=",
]


@pytest.mark.parametrize("piece", PIECES)
def test_a_long_text_does_not_hold_others_up(piece: str) -> None:
    text = f"{piece * (200_000 // len(piece))} @"
    began = time.process_time()
    without_private(text)
    assert time.process_time() - began < 2
