"""Asking before something goes for good: somebody has to type its name."""

from collections.abc import Callable


class NotConfirmedError(Exception):
    """Nobody has confirmed what was to be done, so it was not."""


def confirm_by_typing(word: str, text: str, ask: Callable[[str], str], *, unasked: str) -> None:
    """Return once somebody has read a text and typed a word; raises NotConfirmedError.

    Args:
        word: What has to be typed.
        text: What happens then.
        ask: Shows a question and returns the answer.
        unasked: What to do where nobody can be asked.
    """
    try:
        given = ask(f"{text}\nType {word} to confirm: ")
    except EOFError:
        raise NotConfirmedError(f"nobody can be asked here: {unasked}") from None
    if given.strip() != word:
        raise NotConfirmedError("nothing was done")
