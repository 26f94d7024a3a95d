"""What is to be seen of one event, told once for every renderer: layers of hits in a box of three axes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pointae.errors import DataError, UsageError
from pointae.geometry import Axis, differences_of
from pointae.hits import HitBatch
from pointae.robots import KINDS
from visual.colours import STYLES, Style
from visual.scene.colouring import Colouring, Key
from visual.scene.look import Look, colour_of, decided, inside

TIME_EDGE = 1.8
"""Length of the box along time; along x and y it is about 1."""
OVERLAYS = ("reconstructed", "oracle", "smeared", "thinned", "full pattern")
"""Layers of the same events at other stages: what a decoder made from the code alone, what the
likelihood ratio of the known tracks keeps, and the clean events on their way to the input."""
_TIMES = {0: "ns", 3: "µs", 6: "ms", 9: "s"}
"""Units of time by their power of ten of nanoseconds."""
_AT_FIRST = ("reconstructed", "full pattern")


@dataclass(frozen=True)
class SceneAxis:
    """An axis as it is drawn.

    Args:
        name, unit: what is measured, and in what.
        low, high: outer edges of the detector, in ``unit``.
        edge: length of the drawn box along this axis, without unit.
    """

    name: str
    unit: str
    low: float
    high: float
    edge: float

    @property
    def factor(self) -> float:
        """Power of a thousand that the numbers along the axis are divided by, so that they stay short."""
        largest = max(abs(self.low), abs(self.high))
        return 1.0 if largest < 1e5 else 10.0 ** (3 * (int(math.log10(largest)) // 3))

    @property
    def shown_unit(self) -> str:
        """The unit of the numbers along the axis: that of the positions times :attr:`factor`."""
        power = round(math.log10(self.factor))
        if self.unit == "ns" and power in _TIMES:
            return _TIMES[power]
        factor = f"10^{power} " if power else ""  # Not every window has superscripts.
        return f"{factor}{self.unit}"

    @property
    def label(self) -> str:
        """Name and unit, as written along the axis."""
        return f"{self.name} [{self.shown_unit}]"

    def ticks(self, count: int = 5) -> list[tuple[float, str]]:
        """At most ``count + 1`` round values inside the limits, in ``unit``, and the text beside each."""
        span = self.high - self.low
        power = 10.0 ** math.floor(math.log10(span / count))
        step = next(power * m for m in (1, 2, 2.5, 5, 10) if span / (power * m) <= count)
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [(i * step, f"{i * step / self.factor:.6g}") for i in range(first, last + 1)]


@dataclass(frozen=True, eq=False)
class Layer:
    """Hits of one kind.

    Args:
        name: what they are, e.g. ``"lost signal"``.
        style: colour, size and symbol.
        pos: (N, 3) float32, positions along (x, y, t), in the units of the scene's axes.
        values: (N,) each, what else is known of a hit: truth, score, track, features.
        colours: (N, 3) red, green and blue in [0, 1], where they mean something; ``None``: the style's colour.
        at_first: shown before the user switches layers.
    """

    name: str
    style: Style
    pos: NDArray[np.float32]
    values: dict[str, NDArray] = field(default_factory=dict)
    colours: NDArray[np.float32] | None = None
    at_first: bool = True

    def __post_init__(self) -> None:
        wrong = {name: value.shape for name, value in self.values.items() if value.shape != (len(self.pos),)}
        if self.pos.ndim != 2 or self.pos.shape[1] != 3 or wrong:
            raise DataError(f"layer '{self.name}' needs pos (N, 3) and values (N,), got {self.pos.shape} and {wrong}")

    @property
    def legend(self) -> str:
        """Name and number of hits."""
        return f"{self.name} ({len(self.pos):,})"


@dataclass(frozen=True, eq=False)
class Scene:
    """One event, ready to be drawn.

    Args:
        title: which event.
        caption: one line of counts.
        axes: x, y and t.
        layers: most important first; hits of the parts are disjoint, those of :data:`OVERLAYS` lie over them.
        key: texts and colours that say what the layers' ``colours`` mean.
    """

    title: str
    caption: str
    axes: tuple[SceneAxis, SceneAxis, SceneAxis]
    layers: tuple[Layer, ...]
    key: Key = ()

    @property
    def shown(self) -> Scene:
        """The scene as it is before the user switches layers: for pictures."""
        return self.only(layer.name for layer in self.layers if layer.at_first)

    def only(self, names: Iterable[str]) -> Scene:
        """The scene with these layers, all shown."""
        wanted = set(names)
        return replace(self, layers=tuple(replace(x, at_first=True) for x in self.layers if x.name in wanted))

    def in_box(self, pos: NDArray) -> NDArray[np.float64]:
        """Where to draw positions: time to the right, x into the depth, y up.

        Args:
            pos: (N, 3), physical (x, y, t).

        Returns:
            (N, 3) in the box of edges :attr:`box`, which starts at the origin.
        """
        low, high, edge = np.array([(axis.low, axis.high, axis.edge) for axis in self.drawn_axes]).T
        return (pos[:, [2, 0, 1]] - low) / (high - low) * edge

    @property
    def drawn_axes(self) -> tuple[SceneAxis, SceneAxis, SceneAxis]:
        """The axes in the order of the box: t, x, y."""
        x, y, t = self.axes
        return (t, x, y)

    @property
    def box(self) -> tuple[float, float, float]:
        """Edges of the box along (t, x, y)."""
        t, x, y = (axis.edge for axis in self.drawn_axes)
        return (t, x, y)


def build_scene(
    hits: HitBatch, event: int, stages: Mapping[str, HitBatch] | None = None, title: str = "", look: Look | None = None
) -> Scene:
    """The scene of one event, in layers by what its hits carry.

    Without labels there is one layer, "input"; with the truth "signal" and "noise"; with a
    decision "kept" and "removed"; with both "kept signal", "lost signal", "surviving noise" and
    "removed noise". Each hit is in exactly one of them, and, where there are several, in "input",
    which is off at first. Stages are further layers. A layer without hits stays, so that every
    event of a batch has the same layers.

    Args:
        hits: B events.
        event: which one, in [0, B).
        stages: the same B events at other stages, any of :data:`OVERLAYS` by name; of hits with a
            decision those kept are shown.
        title: where the events are from.
        look: where the score is cut, which times are shown, what colours mean, in which units.

    Raises:
        UsageError: no event of that number.
        ConfigError: hits without what the colours should mean.
        DataError: a stage holds other events or another grid, or hits without a score are to be cut.
    """
    look = look or Look()
    check_event(event, hits.batch_size)
    by = colour_of(hits, look.colour_by)
    measured = decided(hits.events([event]).to("cpu"), look.threshold)
    axes = _axes(hits.geometry.axes, look.pixels)
    colouring = _colouring(by, axes[2], measured)
    parts = _parts(measured)
    layers = [_layer(name, measured, mask, look, colouring) for name, mask in parts.items()]
    if len(parts) > 1:
        layers.append(_layer("input", measured, _all(measured), look, colouring, at_first=False))
    for name in OVERLAYS:
        if stages is not None and name in stages:
            other = _stage(name, stages[name], hits).events([event]).to("cpu")
            mask = _all(other) if other.kept is None else other.kept
            layers.append(_layer(name, other, mask, look, colouring, at_first=name in _AT_FIRST))
    return Scene(
        _title(title, event, measured), _caption(layers, look, axes[2]), axes, tuple(layers),
        colouring.key(None if measured.track is None else measured.track.numpy()),
    )  # fmt: skip


def check_event(event: int, num_events: int, where: str | None = None) -> None:
    """Refuse an event number outside [0, ``num_events``).

    Raises:
        DataError: there are no events at all.
        UsageError: says the range.
    """
    if not num_events:
        raise DataError("there are no events to show", where=where)
    if not 0 <= event < num_events:
        raise UsageError(f"event {event} is out of range: the events are 0..{num_events - 1}", where=where)


def _parts(hits: HitBatch) -> dict[str, Tensor]:
    signal, kept = hits.signal, hits.kept
    if signal is None and kept is None:
        return {"input": torch.ones(hits.num_hits, dtype=torch.bool)}
    if kept is None:
        assert signal is not None
        return {"signal": signal, "noise": ~signal}
    if signal is None:
        return {"kept": kept, "removed": ~kept}
    return {
        "kept signal": kept & signal,
        "lost signal": ~kept & signal,
        "surviving noise": kept & ~signal,
        "removed noise": ~kept & ~signal,
    }


def _all(hits: HitBatch) -> Tensor:
    return torch.ones(hits.num_hits, dtype=torch.bool)


def _stage(name: str, stage: HitBatch, hits: HitBatch) -> HitBatch:
    if stage.batch_size != hits.batch_size or stage.geometry != hits.geometry:
        told = [
            f"; {what} {theirs}, not {ours}" for what, theirs, ours in differences_of(stage.geometry, hits.geometry)
        ]
        raise DataError(
            f"'{name}' must be of the same {hits.batch_size} events on the grid "
            f"{hits.geometry.spatial_shape}, got {stage.batch_size} on {stage.geometry.spatial_shape}{''.join(told)}",
            fix="make them together: python tools/evaluate.py RUN",
        )
    return stage


def _layer(name: str, hits: HitBatch, mask: Tensor, look: Look, colouring: Colouring, at_first: bool = True) -> Layer:
    drawn = hits.coords.float() if look.pixels else hits.pos
    rows = mask & inside(drawn[:, 2], look.window)
    # The layer's name tells the decision already.
    values = {key: value for key, value in hits.present.items() if key != "kept"}
    values |= {key: hits.features[:, i] for i, key in enumerate(hits.feature_names)}
    pos, told = drawn[rows].numpy(), {key: value[rows].numpy() for key, value in values.items()}
    return Layer(name, STYLES[name], pos, told, colouring.colours(pos, told), at_first)


def _colouring(by: str, t: SceneAxis, hits: HitBatch) -> Colouring:
    if by == "time":
        return Colouring("time", t.low, t.high, t.shown_unit, t.factor)
    if by == "kind":
        assert hits.category is not None
        found = np.unique(hits.category.numpy())
        others = tuple(f"kind {n}" for n in range(1, int(found.max(initial=0)) + 1))
        return Colouring("kind", kinds=KINDS if hits.geometry.name == "robots" else others)
    if by in hits.feature_names and hits.num_hits:
        column = hits.features[:, hits.feature_names.index(by)]
        return Colouring(by, float(column.min()), float(column.max()))
    return Colouring(by)


def _title(title: str, event: int, hits: HitBatch) -> str:
    number = f"event {event}"
    if hits.event_id is not None:
        first = hits.event_id[0]
        own = first if isinstance(first, str) else int(first)
        # The user's own number, where it is not the position in the file anyway.
        number += f" (number {own})" if own != event else ""
    return f"{title}, {number}" if title else number


def _caption(layers: list[Layer], look: Look, t: SceneAxis) -> str:
    count = {layer.name: len(layer.pos) for layer in layers}
    parts = []
    if "kept signal" in count:
        parts.append(_share(count["kept signal"], count["lost signal"], "signal hits kept"))
        parts.append(_share(count["removed noise"], count["surviving noise"], "noise hits removed"))
    elif "kept" in count:
        parts.append(_share(count["kept"], count["removed"], "hits kept"))
    elif "signal" in count:
        parts.append(f"{count['signal']:,} signal and {count['noise']:,} noise hits")
    else:
        parts.append(f"{count['input']:,} hits")
    parts += [f"{name}: {count[name]:,}" for name in ("reconstructed", "full pattern") if name in count]
    if look.threshold is not None:
        parts.append(f"score >= {look.threshold:.3g}")
    if look.window is not None:
        low, high = (f"{end / t.factor:.5g}" for end in look.window)
        parts.append(f"{t.name} {low} to {high}{t.label.removeprefix(t.name)}")
    return ", ".join(parts)


def _share(part: int, rest: int, what: str) -> str:
    whole = part + rest
    percent = f" ({100 * part / whole:.1f} %)" if whole else ""
    return f"{part:,} of {whole:,} {what}{percent}"


def _axes(axes: tuple[Axis, Axis, Axis], pixels: bool) -> tuple[SceneAxis, SceneAxis, SceneAxis]:
    x, y, t = axes
    ratio = (y.high - y.low) / (x.high - x.low)
    # True proportions where they can be seen; a box of 660 mm by 53 mm would hide one axis.
    true = x.unit == y.unit and 0.4 <= ratio <= 2.5
    edges = (1 / max(1.0, ratio), ratio / max(1.0, ratio), TIME_EDGE) if true else (1.0, 1.0, TIME_EDGE)
    units = ("pixel", "pixel", "bin") if pixels else (x.unit, y.unit, t.unit)
    limits = [(-0.5, a.bins - 0.5) if pixels else (a.low, a.high) for a in axes]
    x_, y_, t_ = (
        SceneAxis(axis.name, unit, *limit, edge)
        for axis, unit, limit, edge in zip(axes, units, limits, edges, strict=True)
    )
    return (x_, y_, t_)
