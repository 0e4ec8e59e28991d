"""What all repositories share: a value with its ETag, and a page of a list."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Stored[T]:
    """A value with the ETag of the row it was read from; an empty ETag means that no row may exist yet."""

    value: T
    etag: str = ""

    def with_value(self, value: T) -> "Stored[T]":
        """Return another value that is to replace this one's row."""
        return replace(self, value=value)


@dataclass(frozen=True, slots=True)
class Page[T]:
    """A part of a list; `next_token` is empty on the last page."""

    items: tuple[T, ...]
    next_token: str
