"""The stack that these tests share."""

from tests.support.shared_stack import berth, browser, shared_stack

__all__ = ["berth", "browser", "shared_stack"]
