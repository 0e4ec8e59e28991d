"""What must not be told, found in a text by its form: addresses, keys and tokens that something else has quoted."""

import re

REMOVED = "(removed)"
# Each takes time in proportion to the text, whatever is in it: that begins nowhere within what it has looked at before.
_PRIVATE = re.compile(
    # An e-mail address, also encoded as in a path, or cut off; but not the digest of an image.
    r"(?<![\w.+-])[\w.+-]++(?:@(?!sha256:)|%40)[\w-]+(?:\.[\w-]+)*"
    r"|eyJ[\w.+/=-]{10,}"  # JSON in base64, such as a JSON web token
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?s:.*?)(?:-----END [A-Z ]{0,20}-----|\Z)"
    r"""|(?i:(?P<word>bearer |sharedkey(?:lite)? |[?&]code=|sig=)[^\s&;"']+)"""
    # By its name: in a header, a connection string, a form or JSON. In quotes it goes on up to the closing one.
    r"|(?i:(?P<name>(?:(?P<header>authorization)|accountkey|sharedaccesskey|password|client_secret|x-functions-key)"
    r"""[\\"']*\s*[=:]\s*)(?P<quote>\\?["'])?"""
    r"""(?(quote)(?:(?!(?P=quote))(?:\\.|[^\\]))*|(?(header)(?:[\w-]+ )?)[^\s&;"']+))"""
)
# One of them is in each, in small letters.
_MARKS = ("@", "%40", "eyj", "key", "bearer ", "code=", "sig=", "authorization", "password", "client_secret")


def without_private(text: str) -> str:
    """Return a text without what looks like an e-mail address, a token or a key.

    The value of a secret or a name has no form that is its own: whoever quotes a text has to leave those out.
    """
    small = text.lower()
    if not any(mark in small for mark in _MARKS):  # so that what is usual costs next to nothing
        return text
    return _PRIVATE.sub(rf"\g<word>\g<name>\g<quote>{REMOVED}", text)
