"""What the user is looking at: which event, layers, cut and times. One controller for every window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from textwrap import wrap

from numpy.typing import NDArray

from visual.colours import INK
from visual.scene.drawing import VIEWS, Drawing, Slider, Text
from visual.scene.layers import Layer, Scene, check_event
from visual.scene.look import Look, colour_of, colours_for, threshold_of
from visual.scene.picking import described, nearest
from visual.scene.source import EventSource

KEYS = (
    "right left: next, previous event   1-9 0: layers   c: colours   u: units   click: a hit   s: picture   q: quit",
    "up down: threshold   [ ] - =: times   views  r: 3D  b: bird's eye  f: front  x: side (x, t)  y: side (y, t)",
)
"""What each key does, in every window: two lines."""
LINE, FOOT = 98, 168
"""Letters of a line above, so that it ends left of the sliders, and at the foot."""
STEP = 0.01
"""Share of a slider's length that a key moves it by."""


class Controller:
    """Steps through events, switches layers, moves the cut and the times; knows no renderer.

    Args:
        source: the events.
        event: the first one shown.
        look: how it is looked at first.

    Raises:
        UsageError: no event of that number.
    """

    def __init__(self, source: EventSource, event: int = 0, look: Look | None = None) -> None:
        check_event(event, len(source), source.title)
        self.source, self.event, self.look, self.view = source, event, look or Look(), VIEWS["r"]
        self.message = ""
        self.scene: Scene = source.scene(event, self.look)
        self.hidden = {layer.name for layer in self.scene.layers if not layer.at_first}
        self._decided = threshold_of(source.hits)

    # ---- what the user does ----------------------------------------------------------------------

    def press(self, key: str) -> bool:
        """Act on a key (``"n"``, ``"left"``, ``"3"``, ...); true if there is something new to draw."""
        if key in _STEPS:
            self.event = (self.event + _STEPS[key]) % len(self.source)
            return self._again()
        if key in VIEWS:
            self.view = VIEWS[key]
            return True
        if key in _NUDGES:
            name, by = _NUDGES[key]
            slider = next((slider for slider in self.sliders if slider.name == name), None)
            return slider is not None and self.slide(name, slider.value + by * STEP * (slider.high - slider.low))
        if key == "c":
            known, now = colours_for(self.source.hits), colour_of(self.source.hits, self.look.colour_by)
            return self._change(colour_by=known[(known.index(now) + 1) % len(known)])
        if key == "u":  # The window of times is in the unit that is left.
            return self._change(pixels=not self.look.pixels, window=None)
        number = "1234567890".find(key) if len(key) == 1 else -1
        if 0 <= number < len(self.scene.layers):
            self.hidden ^= {self.scene.layers[number].name}
            return True
        return False

    def slide(self, name: str, value: float) -> bool:
        """Move a slider; true if there is something new to draw."""
        slider = next(slider for slider in self.sliders if slider.name == name)
        value = min(max(value, slider.low), slider.high)
        if name == "threshold":
            return self._change(threshold=value)
        low, high = self._window()
        return self._change(window=(min(value, high), high) if name == "from" else (low, max(value, low)))

    def pick(self, project: Callable[[NDArray], NDArray], x: float, y: float) -> bool:
        """Tell of the hit at a place on the screen; true if there is one.

        Args:
            project: from places in the box (N, 3) to the screen, (N, 3): pixels right and down, and depth.
            x, y: the place, in pixels.
        """
        found = nearest(self.scene, self.shown, project, x, y)
        if found is None:
            return False
        self.message = described(*found, self.scene.axes)
        print(f"{self.scene.title}: {self.message}", flush=True)
        return True

    # ---- what is to be drawn ---------------------------------------------------------------------

    @property
    def shown(self) -> list[Layer]:
        """The layers that are switched on and have hits."""
        return [layer for layer in self.scene.layers if layer.name not in self.hidden and len(layer.pos)]

    @property
    def drawing(self) -> Drawing:
        """All that is on the screen."""
        shown = self.scene.only(layer.name for layer in self.shown)
        foot = (*wrap(self.message, FOOT), *KEYS)
        return Drawing(shown, tuple(self.texts), self.view, tuple(self.sliders), foot)

    @property
    def texts(self) -> list[Text]:
        """Lines and their colours: title, caption, a layer each with its key, what colours mean."""
        layers = [
            (f"{i % 10}  {layer.legend}" + ("  off" if layer.name in self.hidden else ""), layer.style.colour)
            for i, layer in enumerate(self.scene.layers, start=1)
        ]
        if self.scene.key:
            layers = [(text, INK) for text, _ in layers]
        caption = [(line, INK) for line in wrap(self.scene.caption, LINE)]
        return [(self.scene.title, INK), *caption, *layers, *self.scene.key]

    @property
    def sliders(self) -> list[Slider]:
        """The threshold, where hits have a score, and both ends of the times shown."""
        t, (low, high) = self.scene.axes[2], self._window()
        ends = [
            Slider(name, f"time {name} {value / t.factor:.5g}{t.label.removeprefix(t.name)}", t.low, t.high, value)
            for name, value in (("from", low), ("to", high))
        ]
        cut = self._decided if self.look.threshold is None else self.look.threshold
        if cut is None:
            return ends
        score = self.source.hits.score
        least, most = (0.0, 1.0) if score is None or not len(score) else (float(score.min()), float(score.max()))
        return [Slider("threshold", f"score >= {cut:.3f}", min(0.0, least), max(1.0, most), cut), *ends]

    def picture_path(self) -> Path:
        """Where the next picture of the window goes: beside the source, a new name each."""
        name, number = f"event_{self.event}_window", 1
        while (path := self.source.folder / f"{name}_{number}.png").exists():
            number += 1
        return path

    def saved(self, path: Path) -> None:
        """Tell of a picture that was written."""
        self.message = f"saved: {path}"
        print(self.message, flush=True)

    def _window(self) -> tuple[float, float]:
        t = self.scene.axes[2]
        return (t.low, t.high) if self.look.window is None else self.look.window

    def _change(self, **changes: object) -> bool:
        self.look = self.look.with_(**changes)
        return self._again()

    def _again(self) -> bool:
        self.scene = self.source.scene(self.event, self.look)
        self.message = ""
        return True


_STEPS = {"n": 1, "right": 1, "p": -1, "left": -1}
_NUDGES = {
    "up": ("threshold", 1), "down": ("threshold", -1),
    "[": ("from", -1), "]": ("from", 1), "-": ("to", -1), "=": ("to", 1),
}  # fmt: skip
