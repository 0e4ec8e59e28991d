"""The states of a tenant over time."""

from datetime import datetime, timedelta

import pytest

from shared.domain.operations import OperationId
from shared.domain.slugs import Slug
from shared.domain.tenants import NEW, AuditEntry
from shared.domain.timeline import Stay, timeline
from tests.support.clock import START

DAY = timedelta(days=1)
NOW = START + 10 * DAY


def change(day: float, before: str, after: str) -> AuditEntry:
    return AuditEntry(Slug("acme"), START + day * DAY, "portal", "wake", "why", before, after, OperationId("acme.1"))


CHANGES = [
    change(6, "active", "active"),  # of its policy
    change(5, "hibernated", "active"),
    change(2, "active", "hibernated"),
    change(1, "provisioning", "active"),
    change(0, NEW, "provisioning"),
]


def stay(state: str, first: float, last: float) -> Stay:
    return Stay(state, START + first * DAY, START + last * DAY)


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (-5, [stay("provisioning", 0, 1), stay("active", 1, 2), stay("hibernated", 2, 5), stay("active", 5, 10)]),
        (3, [stay("hibernated", 3, 5), stay("active", 5, 10)]),
        (2, [stay("hibernated", 2, 5), stay("active", 5, 10)]),
        (7, [stay("active", 7, 10)]),
    ],
)
def test_each_state_lasts_until_the_next(start: float, expected: list[Stay]) -> None:
    assert timeline(CHANGES, start=START + start * DAY, now=NOW, is_whole=True) == expected


def test_what_was_before_the_oldest_entry_is_not_known() -> None:
    found = timeline(CHANGES[:3], start=START, now=NOW, is_whole=False)
    assert found == [stay("hibernated", 2, 5), stay("active", 5, 10)]


def test_older_entries_that_were_purged_leave_their_last_state() -> None:
    found = timeline(CHANGES[:3], start=START, now=NOW, is_whole=True)
    assert found[0] == stay("active", 0, 2)


def test_a_tenant_without_entries_has_no_timeline() -> None:
    assert timeline([], start=START, now=NOW, is_whole=True) == []


def test_a_clock_that_was_set_back_does_no_harm() -> None:
    early: datetime = START + DAY
    assert all(each.seconds >= 0 for each in timeline(CHANGES, start=START, now=early, is_whole=True))
