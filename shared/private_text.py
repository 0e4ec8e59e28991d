"""What must not be told, found in a text by its form: addresses, keys and tokens that something else has quoted."""

import re

REMOVED = "(removed)"
# An e-mail address, also encoded as in a path, or cut off; a bearer token, a JSON web token; the value of a key in a
# connection string or a query.
_PRIVATE = re.compile(
    r"[\w.+-]+(?:@|%40)[\w-]+(?:\.[\w-]+)*"
    r"|(?<=[Bb]earer )[\w.~+/=-]+"
    r"|eyJ[\w-]{10,}\.[\w.-]+"
    r"|(?<=AccountKey=)[^;\s]+|(?<=[?&]code=)[^&\s]+|(?<=sig=)[^&\s]+"
)
_MARKS = ("@", "%40", "earer ", "eyJ", "AccountKey=", "code=", "sig=")  # one of them is in each


def without_private(text: str) -> str:
    """Return a text without what looks like an e-mail address, a token or a key.

    The value of a secret or a name has no form that is its own: whoever quotes a text has to leave those out.
    """
    if not any(mark in text for mark in _MARKS):  # so that what is usual costs next to nothing
        return text
    return _PRIVATE.sub(REMOVED, text)
