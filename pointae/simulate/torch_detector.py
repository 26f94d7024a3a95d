"""Events of one LHCb TORCH module: tracks, their Cherenkov light, noise, and digitisation."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pointae import draws
from pointae.config import TorchSource
from pointae.geometry import torch_geometry
from pointae.hits import HitBatch
from pointae.ordering import numbered
from pointae.simulate import module as m
from pointae.simulate.digitise import CELL_BITS, batch_of_places
from pointae.simulate.noise import HITS_PER_TRACK, light_cells, noise_counts, noise_streams
from pointae.simulate.photons import MEAN_PHOTONS, count_photons, follow_photons, raw_photons
from pointae.simulate.tracks import Tracks, draw_module, draw_tracks

_GEOMETRY = torch_geometry()


@dataclass(frozen=True, eq=False)
class TorchTruth:
    """What the simulation decided before any light was emitted, for B events.

    Args:
        tracks: the events' own tracks, grouped by event.
        module_x: (B,) float64, mm, centre of the module.
        sigma_t: (B,) float64, ns, time resolution of a photon.
        signal: (B,) int64, signal hits wanted of each track; not used by ``signal_mode="poisson"``.
        noise: (B,) int64, noise hits.
        noise_keys: (B,) int64, keys of the noise.
    """

    tracks: Tracks
    module_x: Tensor
    sigma_t: Tensor
    signal: Tensor
    noise: Tensor
    noise_keys: Tensor


def torch_truth(source: TorchSource, seed: int, index: Tensor, epoch: int = 0) -> TorchTruth:
    """Tracks and settings of events, as :func:`simulate_torch` uses them.

    Args:
        source: the settings.
        seed: the data set's seed.
        index: (B,) int64, numbers of the events.
        epoch: epoch of a training with fresh events.
    """
    keys = draws.event_keys(seed, epoch, index, "torch")
    event, number = numbered(draws.integers_in(keys, 0, source.tracks))
    module_x = draw_module(draws.derive(keys, "module"))
    # The tracks of an event come from one collision.
    time = draws.normal(keys, 1).double() * source.t0_sigma_ns
    track_keys = draws.derive(keys, "tracks")
    return TorchTruth(
        tracks=draw_tracks(event, number, track_keys, module_x[event], time[event], source.momentum_gev),
        module_x=module_x,
        sigma_t=draws.uniform_in(keys, 2, source.sigma_t_ps) * 1e-3,
        signal=draws.integers_in(keys, 3, source.signal),
        noise=draws.integers_in(keys, 4, source.noise),
        noise_keys=draws.derive(keys, "noise"),
    )


def simulate_torch(source: TorchSource, seed: int, index: Tensor, epoch: int = 0) -> HitBatch:
    """Events of one module, hits sorted by cell; see :func:`pointae.simulate.simulate_events`."""
    truth = torch_truth(source, seed, index, epoch)
    row, cell = _signal(source, truth)
    place = (truth.tracks.event.index_select(0, row) << CELL_BITS) | cell
    origin = torch.zeros(len(row), dtype=torch.int8, device=index.device)
    track = truth.tracks.number.index_select(0, row).int()

    streams = noise_streams(source, truth.noise_keys, truth.module_x, truth.sigma_t)
    for kind, wanted in noise_counts(source, truth.noise).items():
        place, origin, from_row = light_cells(place, origin, wanted, streams[kind], kind)
        track = torch.cat([track, track.new_full((1,), -1)]).index_select(0, from_row.clamp(max=len(track)))
    return batch_of_places(_GEOMETRY, place, index, signal=origin == 0, track=track, origin=origin)


def same_tracks_again(source: TorchSource, seed: int, index: Tensor) -> HitBatch:
    """The signal of :func:`simulate_torch` by other photons of the same tracks, hits sorted by cell, no noise.

    Two such patterns are as near to one another as anything can be to either that knows the tracks alone.
    """
    truth = torch_truth(source, seed, index)
    tracks = replace(truth.tracks, key=draws.derive(truth.tracks.key, "again"))
    row, cell = _signal(source, replace(truth, tracks=tracks))
    lit = torch.unique((tracks.event.index_select(0, row) << CELL_BITS) | cell)
    return batch_of_places(_GEOMETRY, lit, index, signal=torch.ones_like(lit, dtype=torch.bool))


def photons_per_event(source: TorchSource) -> int:
    """About how many photons and noise hits are followed for an event: its size in memory."""
    ranges = (source.tracks, source.signal, source.noise)
    tracks, signal, noise = (max(bounds) if isinstance(bounds, tuple) else bounds for bounds in ranges)
    kinds = source.mixture if source.noise_mode == "mixture" else {source.noise_mode: 1.0}
    per_hit = {"uniform": 1.0} | {kind: MEAN_PHOTONS / hits for kind, hits in HITS_PER_TRACK.items()}
    of_noise = sum(noise * share * per_hit[kind] for kind, share in kinds.items())
    followed = int(raw_photons(torch.tensor(signal))) if source.signal_mode == "fixed" else m.RAW_PHOTONS
    return 1 + tracks * followed // 2 + round(of_noise)


def _signal(source: TorchSource, truth: TorchTruth) -> tuple[Tensor, Tensor]:
    """Track row and cell of the signal hits."""
    tracks, sigma_t = truth.tracks, truth.sigma_t[truth.tracks.event]
    if source.signal_mode == "poisson":
        photons = follow_photons(tracks, numbered(count_photons(tracks)), sigma_t)
        return photons.track, photons.cell
    wanted = truth.signal[tracks.event]
    found = torch.zeros_like(wanted)
    rows, cells = [], []
    # Half of the photons are enough for most tracks.
    raw = raw_photons(wanted)
    half = raw // 2
    for first, upto in ((torch.zeros_like(raw), half), (half, raw)):
        row, number = numbered(torch.where(found < wanted, upto - first, 0))
        photons = follow_photons(tracks, (row, number + first.index_select(0, row)), sigma_t)
        counts = torch.bincount(photons.track, minlength=len(tracks))
        rank = torch.arange(len(photons.track), device=wanted.device)
        rank += (found - counts.cumsum(0) + counts).index_select(0, photons.track)
        early = rank < wanted.index_select(0, photons.track)
        rows.append(photons.track[early])
        cells.append(photons.cell[early])
        found = found + counts
    return torch.cat(rows), torch.cat(cells)
