"""What the stand-in has received: the last envelopes, and who called what an app that is set up right leaves alone."""

import itertools
import json
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from local.telemetry.schema import fields

KEEP = 20_000
KEEP_REFUSED = 100


class Store:
    """Holds the last envelopes in memory.

    Args:
        keep: How many.
        record: A file that all of them are added to, one JSON document a line.

    Attributes:
        accepted: How many were accepted.
        refused: Why the last of those that were refused were: the name of the item and the message.
        calls: How often each other endpoint was called.
    """

    def __init__(self, keep: int = KEEP, record: Path | None = None) -> None:
        self._kept: deque[tuple[int, dict[str, Any]]] = deque(maxlen=keep)
        self._numbers = itertools.count(1)
        self._record = record
        self.accepted = 0
        self.refused: deque[tuple[str, str]] = deque(maxlen=KEEP_REFUSED)
        self.calls: Counter[str] = Counter()

    def add(self, envelopes: Sequence[dict[str, Any]]) -> None:
        """Keep what was accepted."""
        self._kept.extend((next(self._numbers), each) for each in envelopes)
        self.accepted += len(envelopes)
        if self._record is not None:
            with self._record.open("a", encoding="utf-8") as file:
                file.writelines(f"{json.dumps(each)}\n" for each in envelopes)

    def find(self, *, kind: str, trace: str, after: int, limit: int) -> tuple[int, list[dict[str, Any]]]:
        """Return the number of the last envelope that was received, and the last ones that fit, the oldest first.

        Args:
            kind: Only those whose data has this baseType; all if it is empty.
            trace: Only those of this trace; all if it is empty.
            after: Only those that came after the one with this number.
            limit: How many at most.
        """
        found: deque[dict[str, Any]] = deque(maxlen=limit)
        last = self._kept[-1][0] if self._kept else 0
        for number, each in self._kept:
            of_kind = not kind or each["data"]["baseType"] == kind
            of_trace = not trace or fields(each.get("tags")).get("ai.operation.id") == trace
            if number > after and of_kind and of_trace:
                found.append(each)
        return last, list(found)
