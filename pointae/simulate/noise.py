"""Noise of a TORCH event: uniform in the grid, or light of other tracks and of the previous crossing."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from pointae import draws
from pointae.config import TorchSource
from pointae.errors import DataError
from pointae.hits import ORIGINS
from pointae.ordering import numbered
from pointae.simulate import module as m
from pointae.simulate.digitise import CELL_BITS, cells_of_bits, first_in_cell
from pointae.simulate.photons import count_photons, follow_photons
from pointae.simulate.tracks import draw_tracks

Stream = Callable[[Tensor, Tensor, int], tuple[Tensor, Tensor]]
"""``(rows, wanted, block) -> event, cell``: a block of candidates for some events, grouped by event.

At least about ``wanted`` (R,) candidates for each of the events ``rows`` (R,); blocks are numbered
and each continues the one before.
"""

KINDS = {"uniform": "uniform", "tracks": "track", "crossing": "crossing"}
"""Mode of the settings and the origin that its hits are given."""

HITS_PER_TRACK = {"tracks": 17.0, "crossing": 1.7}
"""Hits that a track is sure enough to give, from which the number of tracks is guessed."""
_SPREAD = 0.2
"""ns; collisions of one crossing are within plus or minus this of each other."""
_MAX_BLOCKS = 12


def noise_streams(source: TorchSource, keys: Tensor, module_x: Tensor, sigma_t: Tensor) -> dict[str, Stream]:
    """The streams of every kind of noise for B events.

    Args:
        source: the settings.
        keys: (B,) int64, keys of the events' noise.
        module_x: (B,) float64, mm, centre of each event's module.
        sigma_t: (B,) float64, ns, time resolution of each event.
    """

    def uniform(rows: Tensor, wanted: Tensor, block: int) -> tuple[Tensor, Tensor]:
        # A few to spare, so that a chance collision seldom costs another block.
        counts = wanted + wanted // 128 + 1
        row, number = numbered(counts)
        event = rows.index_select(0, row)
        words = draws.bits(draws.derive(keys, f"uniform {block}").index_select(0, event), number)
        return event, cells_of_bits(words)

    def of_tracks(step: str, window_start: float) -> Stream:
        def stream(rows: Tensor, wanted: Tensor, block: int) -> tuple[Tensor, Tensor]:
            row, number = numbered((wanted / HITS_PER_TRACK[step]).long() + (2 << block))
            event = rows.index_select(0, row)
            block_keys = draws.derive(keys, f"{step} {block}")
            time = draws.uniform(draws.derive(block_keys, "time").index_select(0, event), number).double()
            time = (time * 2 - 1) * _SPREAD
            tracks = draw_tracks(event, number, block_keys, module_x[event], time, source.momentum_gev)
            photons = follow_photons(tracks, numbered(count_photons(tracks)), sigma_t[event], window_start)
            return event.index_select(0, photons.track), photons.cell

        return stream

    return {
        "uniform": uniform,
        "tracks": of_tracks("tracks", m.WINDOW_START),
        "crossing": of_tracks("crossing", m.WINDOW_START + m.CROSSING),
    }


def noise_counts(source: TorchSource, noise: Tensor) -> dict[str, Tensor]:
    """How many of each event's ``noise`` (B,) hits are of each kind; the last kind of a mixture takes the rest."""
    if source.noise_mode != "mixture":
        return {source.noise_mode: noise}
    total = sum(source.mixture.values())
    counts: dict[str, Tensor] = {}
    shares, before = 0.0, torch.zeros_like(noise)
    for kind, share in source.mixture.items():
        shares += share
        upto = (noise * (shares / total)).round().long()
        counts[kind], before = upto - before, upto
    return counts


def light_cells(
    place: Tensor, origin: Tensor, wanted: Tensor, stream: Stream, kind: str
) -> tuple[Tensor, Tensor, Tensor]:
    """Add noise hits from a stream until each event has exactly as many new cells lit as wanted.

    Candidates for cells that are lit already are passed over.

    Args:
        place: (N,) int64, event and cell of the hits so far; of several in one cell the first stays.
        origin: (N,) int8, their index into :data:`pointae.hits.ORIGINS`.
        wanted: (B,) int64, noise hits of each event.
        stream: where candidates come from.
        kind: one of :data:`KINDS`.

    Returns:
        place, origin: (N',) with the noise, sorted by event and cell.
        source: (N',) int64, row of ``place`` that a hit was, at least N if it is new.

    Raises:
        DataError: the stream does not light enough cells.
    """
    label = ORIGINS.index(KINDS[kind])
    source = torch.arange(len(place), device=place.device)
    for block in range(_MAX_BLOCKS):
        rows = (wanted > 0).nonzero()[:, 0]
        event, cell = stream(rows, wanted.index_select(0, rows), block) if len(rows) else (rows, rows)
        known = len(place)
        place = torch.cat([place, (event << CELL_BITS) | cell])
        order, first = first_in_cell(place)
        stays = torch.empty_like(first).index_copy_(0, order, first)
        fresh = stays[known:]
        fresh &= _rank_in_event(fresh, event, len(wanted)) < wanted.index_select(0, event)
        wanted = wanted - torch.bincount(event[fresh], minlength=len(wanted))
        order = order[stays.index_select(0, order)]
        origin = torch.cat([origin, origin.new_full((len(event),), label)]).index_select(0, order)
        source = torch.cat([source, source.new_full((len(event),), 1 << 62)]).index_select(0, order)
        place = place.index_select(0, order)
        if not bool((wanted > 0).any()):
            return place, origin, source
    raise DataError(
        f"{kind} noise lights too few cells: {int(wanted.max())} more hits wanted in an event",
        fix="ask for less noise, or for momenta whose light is detected",
    )


def _rank_in_event(chosen: Tensor, event: Tensor, batch_size: int) -> Tensor:
    """How many chosen candidates (N,) of the same event come before each; candidates are grouped by event."""
    before = chosen.cumsum(0) - chosen.long()
    counts = torch.bincount(event, minlength=batch_size)
    starts = (counts.cumsum(0) - counts).clamp(max=max(len(event) - 1, 0))
    return before - before[starts].index_select(0, event) if len(event) else before
