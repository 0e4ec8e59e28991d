"""Texts that berth hands out and recognises later by its signature: each for one purpose, and until a moment."""

import hmac
import json
from datetime import datetime
from hashlib import sha256


def sign(key: str, purpose: str, text: str, until: datetime) -> str:
    """Return a text with its end and its signature; whoever has the key can make one."""
    end = str(int(until.timestamp()))
    return f"{text}.{end}.{_signature(key, purpose, text, end)}"


def read_signed(key: str, purpose: str, signed: str, *, now: datetime) -> str | None:
    """Return the text, or None if it is not signed with this key for this purpose, or if its end has passed."""
    rest, _, signature = signed.rpartition(".")
    text, _, end = rest.rpartition(".")
    expected = _signature(key, purpose, text, end)
    if not hmac.compare_digest(signature.encode(), expected.encode()):
        return None
    return text if now.timestamp() < int(end) else None


def _signature(key: str, purpose: str, text: str, end: str) -> str:
    message = json.dumps([purpose, text, end]).encode()
    return hmac.new(key.encode(), message, sha256).hexdigest()
