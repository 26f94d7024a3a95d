"""What the user is looking at: which event, which layers. One controller for every window."""

from __future__ import annotations

from visual.scene import Layer, Scene, check_event
from visual.source import EventSource

KEYS = "n/p or right/left: next/previous event   1-9: layers on/off   r: first view   q: quit"
"""What each key does, in every window."""


class Controller:
    """Steps through events and switches layers; knows no renderer.

    Args:
        source: the events.
        event: the first one shown.

    Raises:
        UsageError: no event of that number.
    """

    def __init__(self, source: EventSource, event: int = 0) -> None:
        check_event(event, len(source))
        self.source, self.event = source, event
        self.hidden: set[str] = set()
        self.scene: Scene = source.scene(event)

    def press(self, key: str) -> bool:
        """Act on a key (``"n"``, ``"left"``, ``"3"``, ...); true if there is something new to draw."""
        if key in ("n", "right"):
            return self._step(1)
        if key in ("p", "left"):
            return self._step(-1)
        if key.isdigit() and 0 < int(key) <= len(self.scene.layers):
            self.hidden ^= {self.scene.layers[int(key) - 1].name}
            return True
        return False

    @property
    def shown(self) -> list[Layer]:
        """The layers that are switched on and have hits."""
        return [layer for layer in self.scene.layers if layer.name not in self.hidden and len(layer.pos)]

    @property
    def legend(self) -> list[tuple[str, str]]:
        """A line and a colour for each layer: its key, name and number of hits."""
        return [
            (f"{i}  {layer.legend}" + ("  off" if layer.name in self.hidden else ""), layer.style.colour)
            for i, layer in enumerate(self.scene.layers, start=1)
        ]

    def _step(self, by: int) -> bool:
        self.event = (self.event + by) % len(self.source)
        self.scene = self.source.scene(self.event)
        return True
