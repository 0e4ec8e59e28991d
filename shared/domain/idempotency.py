"""Idempotency keys: the same request sent again gives the same operation again."""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

LONGEST_KEY = 255


@dataclass(frozen=True, slots=True)
class Claim:
    """What a key stands for: one request, by its fingerprint, and the operation that came of it."""

    key: str
    fingerprint: str
    operation_id: str
    expires_at: datetime


def fingerprint(method: str, path: str, body: Any) -> str:
    """Return a digest that is the same for requests that mean the same: the order of a body's members says nothing."""
    text = json.dumps([method, path, body], sort_keys=True, ensure_ascii=False)
    return sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
