"""Text from outside as it is shown: plain, in one line, whatever is in it."""

from __future__ import annotations

LONGEST = 2000
"""Characters of a part of a message; a longer one is cut in its middle."""


def printable(text: object) -> str:
    r"""The text with whatever a terminal would act upon, or not show, as its escape.

    Escape sequences, line ends, marks that turn the direction of writing, and halves of surrogate pairs become
    ``\x1b``, ``\n``, ``\u202e``, ``\udc80``: what is left is one line that every UTF can encode.
    """
    words = str(text)
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in words)


def one_line(text: object) -> str:
    """A message that may have several lines as one, :func:`shown`."""
    return shown(" ".join(line.strip() for line in str(text).strip().splitlines()))


def shown(text: object) -> str:
    """The text :func:`printable`, and of at most about :data:`LONGEST` characters."""
    words = str(text)
    if len(words) > LONGEST:
        words = f"{words[: LONGEST // 2]} ... {words[-LONGEST // 2 :]}"
    return printable(words)
