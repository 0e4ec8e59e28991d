"""Numbers as letters, for ids."""

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: no i, l, o or u to misread


def base32(value: int) -> str:
    """Return the lower 50 bits of a number as ten letters that sort like it."""
    return "".join(ALPHABET[value >> shift & 31] for shift in range(45, -1, -5))
