"""Slugs: the rules for a tenant's name."""

import re
from typing import NewType

Slug = NewType("Slug", str)

MIN_LENGTH, MAX_LENGTH = 3, 40  # within the 63 characters of a label, which a DNS name is made of
LABEL = r"[a-z]([a-z0-9-]*[a-z0-9])?"

_RESERVED = {
    "a name of berth's own or of the site's": (
        "admin api app apps auth berth billing blog cdn console dashboard demo-app dev docs ftp help host login mail "
        "portal root smtp ssh staging static status support system test-app web webmail www"
    ),
    "a name that Kubernetes uses": "default kubernetes kube-system kube-public kube-node-lease cluster local svc",
    "a name that mail and web standards reserve": "abuse hostmaster localhost postmaster webmaster wpad autodiscover",
}
RESERVED = {name: why for why, names in _RESERVED.items() for name in names.split()}


def check_slug(value: str) -> str | None:
    """Return why a tenant cannot have this slug, as a sentence for the customer, or None if it can.

    A slug is a DNS label (RFC 1123) of 3 to 40 characters that starts with a letter. Two hyphens in a row are refused
    because the names of internationalised domains use them (`xn--`, RFC 5890).
    """
    if not MIN_LENGTH <= len(value) <= MAX_LENGTH:
        return f"use {MIN_LENGTH} to {MAX_LENGTH} characters"
    if not re.fullmatch(LABEL, value):
        return "use lower-case letters a to z, digits and hyphens; start with a letter, end with a letter or a digit"
    if "--" in value:
        return "do not put two hyphens next to each other"
    if value in RESERVED:
        return f"this name is reserved: {RESERVED[value]}"
    if value.startswith("kube-"):
        return "names that start with kube- are reserved for Kubernetes"
    return None
