"""Slugs: what is accepted is safe everywhere it is used."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.domain.slugs import RESERVED, check_slug

DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", re.ASCII)


@pytest.mark.parametrize("slug", ["acme", "a1b", "acme-corp", "x" * 40, "demo-001"])
def test_good_slugs(slug: str) -> None:
    assert check_slug(slug) is None


@pytest.mark.parametrize(
    "slug",
    [
        *("", "a", "ab", "x" * 41, "-acme", "acme-", "1acme", "ac--me", "xn--acme", "Acme", "ac me", "ac_me", "ac.me"),
        *("acme\n", "acme\x00", "acmé", "асме", "acme\u200b", "../acme", "acme/x", "acme'", "kube-acme", *RESERVED),
    ],
)
def test_bad_slugs_have_a_reason(slug: str) -> None:
    assert check_slug(slug)


@given(st.text(alphabet="abcz019-.A_é\n", min_size=1, max_size=45) | st.text(max_size=45))
def test_an_accepted_slug_is_a_label_everywhere(slug: str) -> None:
    if check_slug(slug) is None:
        assert DNS_LABEL.fullmatch(slug)
        assert not set(slug) & set("/\\#?")  # what a table's key may not hold
