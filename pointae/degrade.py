"""From a full pattern to what a detector records: thin, smear, drop dead pixels, add noise.

Every step takes hits and keys (B,) and returns new hits; ``event_keys(seed, epoch, event, step)``
makes the keys, so an event is degraded alike alone or in any batch. Counts are exact for each
event, and no hit disappears because another is in its cell.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pointae import draws
from pointae.config import DataSettings, DegradationSettings
from pointae.errors import ConfigError, DataError, unknown_name
from pointae.hits import ORIGINS, HitBatch
from pointae.ordering import numbered
from pointae.simulate.profiles import PROFILE_ORIGINS, PROFILES

_NOISE_HAS = {"signal": False, "track": -1, "category": 0, "score": 0.0, "kept": False, "hit_id": -1}


@dataclass(frozen=True, eq=False)
class Views:
    """An event's four states on its way to the network, for B events.

    Args:
        full: the clean pattern; ``hit_id`` numbers its hits, or keeps the user's own numbers.
        thinned: after thinning.
        smeared: after smearing and dead pixels.
        noised: with noise, in an order that does not tell noise from signal; noise has ``hit_id`` -1.
        dropped: (B,) int64, hits smeared out of the grid.
        dead: (B,) int64, hits lost in dead pixels.
    """

    full: HitBatch
    thinned: HitBatch
    smeared: HitBatch
    noised: HitBatch
    dropped: Tensor
    dead: Tensor


def degrade(
    hits: HitBatch, settings: DegradationSettings, seed: int, epoch: int, event_numbers: Tensor | None = None
) -> Views:
    """Degrade a batch as the settings say.

    Args:
        hits: B events; without ``signal`` every hit is taken as signal.
        settings: what to do; a step that is not set leaves the hits as they are.
        seed: the data set's seed.
        epoch: epoch of a training, 0 where there is none.
        event_numbers: (B,) int64, number of each event in its data set; ``event_id`` if not given.

    Raises:
        DataError: the events have no numbers.
    """
    numbers = hits.event_id if event_numbers is None else event_numbers
    if not isinstance(numbers, Tensor):
        raise DataError("events need numbers to draw their degradation from", fix="hand event_numbers")

    def keys(step: str) -> Tensor:
        return draws.event_keys(seed, epoch, numbers, step)

    full = with_truth(hits)
    thinned = full if settings.thin is None else thin(full, settings.thin, keys("thin"))
    smeared = smear(thinned, settings.smear, keys("smear"), settings.edge) if settings.smear else thinned
    alive = dead_pixels(smeared, settings.dead_pixels, keys("dead_pixels")) if settings.dead_pixels else smeared
    noised = alive
    if settings.noise is not None:
        noised = add_noise(alive, settings.noise, keys("noise"), settings.noise_profile)
    dropped, dead = thinned.counts - smeared.counts, smeared.counts - alive.counts
    return Views(full, thinned, alive, noised, dropped, dead)


def settings_at(epoch: int, data: DataSettings) -> DegradationSettings:
    """The degradation of an epoch: the schedule's latest entry at or before it, else the usual one."""
    begun = [start for start in data.schedule if start <= epoch]
    return data.schedule[max(begun)] if begun else data.degradation


def with_truth(hits: HitBatch) -> HitBatch:
    """The hits with ``signal``, ``track``, ``origin`` and ``hit_id``, filled in where absent.

    Hits without labels are signal of track 0; ``hit_id`` becomes the number inside the event.
    """
    signal = hits.signal
    if signal is None:
        signal = torch.ones(hits.num_hits, dtype=torch.bool, device=hits.device)
    track, origin, hit_id = hits.track, hits.origin, hits.hit_id
    if track is None:
        track = torch.where(signal, 0, -1).int()
    if origin is None:
        origin = torch.where(signal, 0, ORIGINS.index("other")).to(torch.int8)
    if hit_id is None:
        hit_id = hits.local_index()
    return hits.replace(signal=signal, track=track, origin=origin, hit_id=hit_id)


def thin(hits: HitBatch, count: int | tuple[int, int], keys: Tensor) -> HitBatch:
    """Keep exactly ``count`` signal hits of each event, chosen evenly, or all where there are fewer.

    Args:
        hits: noise hits stay; without ``signal`` every hit is signal.
        count: a number, 0 allowed, or a range drawn for each event, both ends included.
        keys: (B,) int64.
    """
    _check_keys(hits, keys)
    signal = torch.ones_like(hits.batch, dtype=torch.bool) if hits.signal is None else hits.signal
    rows = signal.nonzero()[:, 0]
    event = hits.batch.index_select(0, rows)
    counts = torch.bincount(event, minlength=hits.batch_size)
    rank = draws.shuffled_ranks(draws.derive(keys, "order"), torch.cat([counts.new_zeros(1), counts.cumsum(0)]))
    wanted = draws.integers_in(keys, 0, count).index_select(0, event)
    return hits.select((~signal).index_copy(0, rows, rank < wanted))


def smear(hits: HitBatch, sigma: Mapping[Any, float], keys: Tensor, edge: str = "drop") -> HitBatch:
    """Move hits by a Gaussian error along some axes.

    A hit is moved from its bin's centre and goes to the bin nearest to where it arrives.

    Args:
        hits: N hits.
        sigma: standard deviation by axis (``"x"``, ``"y"``, ``"t"``), in the axis' unit (mm, mm, ns).
        keys: (B,) int64.
        edge: what becomes of hits that leave the grid: ``"drop"``, or ``"clamp"`` to its outermost bins.

    Returns:
        The moved hits; with ``"drop"``, ``hits.counts - moved.counts`` were dropped.

    Raises:
        ConfigError: unknown axis or edge, or a negative sigma.
    """
    _check_keys(hits, keys)
    if edge not in ("drop", "clamp"):
        raise unknown_name("edge", edge, ("drop", "clamp"))
    coords = hits.coords.clone()
    kept = torch.ones_like(hits.batch, dtype=torch.bool)
    key, number = keys.index_select(0, hits.batch), hits.local_index()
    for name, width in sigma.items():
        column = hits.geometry.index_of(name)
        if width < 0:
            raise ConfigError(f"sigma of {name} must not be negative, got {width}")
        if width == 0:
            continue
        axis = hits.geometry.axes[column]
        shift = draws.normal(key, number * 3 + column).double() * width
        coords[:, column], inside = axis.bins_of(axis.centres_of(hits.coords[:, column]) + shift)
        kept &= inside
    moved = hits.replace(coords=coords)
    return moved if edge == "clamp" else moved.select(kept)


def dead_pixels(hits: HitBatch, fraction: float, keys: Tensor) -> HitBatch:
    """Drop all hits of dead pixels; each event has its own, unless keys are equal.

    Args:
        hits: N hits.
        fraction: probability that a pixel (x, y) is dead.
        keys: (B,) int64.
    """
    _check_keys(hits, keys)
    if fraction == 0:
        return hits
    pixel = hits.coords[:, 0].long() * hits.geometry.y.bins + hits.coords[:, 1]
    return hits.select(draws.uniform(keys.index_select(0, hits.batch), pixel) >= fraction)


def add_noise(hits: HitBatch, count: int | tuple[int, int], keys: Tensor, profile: str = "uniform") -> HitBatch:
    """Add exactly ``count`` noise hits to each event and shuffle its hits.

    Noise may share a cell with another hit. Its features are those of some hit of its event, so
    that they do not give it away, or 0 in an event without hits.

    Args:
        hits: N hits.
        count: a number, or a range drawn for each event, both ends included.
        keys: (B,) int64.
        profile: a name in :data:`pointae.simulate.profiles.PROFILES`.

    Returns:
        The hits with noise: ``signal`` false, ``track`` and ``hit_id`` -1, ``origin`` by profile.
    """
    _check_keys(hits, keys)
    if profile not in PROFILES:
        raise unknown_name("noise profile", profile, PROFILES)
    clean = with_truth(hits)
    counts = draws.integers_in(keys, 0, count)
    coords = PROFILES[profile](clean.geometry, draws.derive(keys, profile), counts)
    fields: dict[str, Any] = {
        name: torch.cat([value, value.new_full((len(coords),), _NOISE_HAS[name])])
        for name, value in clean.present.items()
        if name != "origin"
    }
    label = ORIGINS.index(PROFILE_ORIGINS[profile])
    assert clean.origin is not None
    fields["origin"] = torch.cat([clean.origin, clean.origin.new_full((len(coords),), label)])
    fields["features"] = torch.cat([clean.features, _borrowed_features(clean, counts, draws.derive(keys, "features"))])
    return _shuffled(clean, torch.cat([clean.coords, coords]), counts, fields, draws.derive(keys, "shuffle"))


def _shuffled(clean: HitBatch, coords: Tensor, noise: Tensor, fields: dict[str, Any], keys: Tensor) -> HitBatch:
    """Hits of ``clean`` followed by ``noise`` (B,) hits of each event, put in a random order event by event."""
    counts = clean.counts + noise
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])
    noise_event, noise_number = numbered(noise)
    event = torch.cat([clean.batch, noise_event])
    local = torch.cat([clean.local_index(), clean.counts.index_select(0, noise_event) + noise_number])
    place = offsets.index_select(0, event) + local
    place = offsets.index_select(0, event) + draws.shuffled_ranks(keys, offsets).index_select(0, place)
    order = torch.empty_like(place).index_copy_(0, place, torch.arange(len(place), device=place.device))
    shuffled = {name: value.index_select(0, order) for name, value in fields.items()}
    return clean.replace(coords=coords.index_select(0, order), offsets=offsets, **shuffled)


def _borrowed_features(clean: HitBatch, noise: Tensor, keys: Tensor) -> Tensor:
    """(M, C) features for ``noise`` (B,) hits of each event, each those of some hit of its event."""
    event, number = numbered(noise)
    if not clean.features.shape[1] or not clean.num_hits:
        return clean.features.new_zeros(len(event), clean.features.shape[1])
    counts = clean.counts.index_select(0, event)
    pick = draws.integers(keys.index_select(0, event), number, 0, counts)
    rows = (clean.offsets.index_select(0, event) + pick).clamp(max=clean.num_hits - 1)
    return torch.where(counts[:, None] > 0, clean.features.index_select(0, rows), 0.0)


def _check_keys(hits: HitBatch, keys: Tensor) -> None:
    if keys.dtype != torch.int64 or keys.shape != (hits.batch_size,):
        raise DataError(f"keys must be ({hits.batch_size},) int64, got {tuple(keys.shape)} {keys.dtype}")
