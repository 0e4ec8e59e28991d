"""Who is signed in where the authentication of Azure App Service stands in front of the app."""

import base64
import json
import os
from dataclasses import dataclass
from typing import Any, cast

HEADER = "X-MS-CLIENT-PRINCIPAL"
ENABLED = "WEBSITE_AUTH_ENABLED"  # App Service sets it itself where its authentication is on
_OBJECT_ID = frozenset({"oid", "http://schemas.microsoft.com/identity/claims/objectidentifier"})
_ROLES = frozenset({"roles", "http://schemas.microsoft.com/ws/2008/06/identity/claims/role"})


@dataclass(frozen=True, slots=True)
class Principal:
    """A user: an id that is no address, and the app roles. The id is empty if the platform gave none."""

    id: str
    roles: frozenset[str]


def platform_signs_in() -> bool:
    """Whether the authentication of App Service is on for this app: elsewhere anybody could send its header."""
    return os.environ.get(ENABLED, "").lower() == "true"


def read_principal(header: str) -> Principal | None:
    """Return the user of the platform's header, which is JSON in Base64 with a list of claims; None if it is none."""
    try:
        found: Any = json.loads(base64.b64decode(header, validate=True))
        role_type = str(found.get("role_typ") or "")
        claims = [(str(each["typ"]), str(each["val"])) for each in cast("list[Any]", found["claims"])]
    except (ValueError, AttributeError, KeyError, TypeError):
        return None
    ids = [value for name, value in claims if name in _OBJECT_ID]
    roles = frozenset(value for name, value in claims if name in _ROLES or (role_type and name == role_type))
    return Principal(ids[0] if ids else "", roles)
