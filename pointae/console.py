"""A console of rich that takes every text as it is: no markup, no emoji codes, no escape sequences."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.text import Text

from pointae.printable import printable


class PlainConsole(Console):
    """A console for which a ``str`` is one line of plain text, in a table as in a line.

    Colours come from ``style`` and from :class:`rich.text.Text`; several lines are several objects.
    """

    def __init__(self, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False, soft_wrap=True)

    def render_str(self, text: str, *, style: Any = "", justify: Any = None, overflow: Any = None, **_: Any) -> Text:
        """The text as it is, whatever is asked of markup, emoji and highlighting."""
        return Text(printable(text), style, justify=justify, overflow=overflow)

    def render(self, renderable: Any, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does, with the escapes of whatever came as a :class:`~rich.text.Text`."""
        for segment in super().render(renderable, options):
            if segment.control is None and not segment.text.isprintable():
                lines = (printable(line) for line in segment.text.split("\n"))
                segment = Segment("\n".join(lines), segment.style)
            yield segment
