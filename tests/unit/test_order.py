"""What tests/support/scheduling.py names is there: a file that was renamed would start last, unnoticed."""

from tests.support.scheduling import LONGEST, SHARING, TESTS


def test_all_that_is_named_is_there() -> None:
    assert [name for name in (*LONGEST, *SHARING) if not (TESTS / name).exists()] == []
