"""Idempotency keys: the same request sent again gives the same operation again."""

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from shared.domain.operations import OperationId

MAX_KEY_LENGTH = 255


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: one request, by its fingerprint, and the operation that came of it."""

    key: str
    fingerprint: str
    operation_id: OperationId


def fingerprint(method: str, path: str, body: Any) -> str:
    """Return a digest that is the same for equal requests; the order of a body's fields does not matter."""
    text = json.dumps([method, path, body], sort_keys=True, ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
