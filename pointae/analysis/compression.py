"""How much of a full pattern comes back from a code of so many bytes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from pointae.attempts import Each, strictly
from pointae.config import Config, EvaluateSettings, TorchSource
from pointae.data.events import Batch, EventData
from pointae.data.simulated import split_seed
from pointae.errors import CheckpointError, UsageError
from pointae.geometry import DetectorGeometry
from pointae.hits import HitBatch
from pointae.inference import HITS_AT_ONCE, Denoiser, event_groups
from pointae.metrics import PatternMetrics, noise_removed_at
from pointae.nn.outputs import Output
from pointae.recover import generated_pattern
from pointae.simulate.torch_detector import same_tracks_again

CODE_DTYPE = torch.float16
"""What a code is kept in: every number is rounded to it before it is decoded."""

COLUMNS = {
    "code_size": "numbers in the code",
    "code_bytes": "bytes of the code",
    "compression_ratio": "compression",
    "chamfer_space_macro": "Chamfer distance, mm",
    "chamfer_time_macro": "Chamfer distance, ns",
    "coverage": "true hits near a generated one",
    "purity": "generated hits near a true one",
    "hallucinated_xy": "generated hits in a wrong pixel",
    "hallucinated_xyt": "in a wrong pixel or time",
    "temporal_retention": "right time in a right pixel",
    "generated_hits_per_event": "generated hits an event",
    "noise_removed_at_97": "noise removed at 97 % signal kept",
}
"""Figures of the printed table, and how their row is headed."""

Advance = Callable[[int, str], None]


def comparable(denoisers: Mapping[str, Denoiser], each: Each = strictly) -> dict[str, Denoiser]:
    """Those that make patterns, on the test events of the first that does.

    Args:
        denoisers: by name.
        each: in what each is looked at.

    Raises:
        UsageError, CheckpointError: as :func:`compression_table`; ``each`` may keep it.
    """
    fit: dict[str, Denoiser] = {}
    for name, denoiser in denoisers.items():
        with each(name):
            _common_config({**dict(list(fit.items())[:1]), name: denoiser})
            fit[name] = denoiser
    return fit


def compression_steps(denoisers: Mapping[str, Denoiser]) -> int:
    """How often :func:`compression_table` reports."""
    return 1 + len(denoisers)


def compression_table(
    denoisers: Mapping[str, Denoiser], advance: Advance = lambda steps, note: None, each: Each = strictly
) -> list[dict[str, Any]]:
    """Runs that make patterns from a code, judged on the same test events, and what to compare them with.

    The compression ratio is the bytes of the hits that an event's network was given over the bytes of its
    code, on average over events: a hit is stored in the fewest whole bytes that hold its bin of each axis
    (4 on the TORCH grid), a number of the code in 2. The pattern is made from the rounded code alone.

    Args:
        denoisers: by name; their runs have the same test events.
        advance: told of every step.
        each: in what each run is judged.

    Returns:
        rows with ``name``, ``kind`` and the figures of :class:`~pointae.metrics.PatternMetrics`. Of kind
        ``network``, besides: ``decoder``, ``code_size``, ``code_bytes``, ``hit_bytes``, ``compression_ratio``,
        ``noise_removed_at_97`` and ``noise_removed_at_99`` of the measured hits near the pattern. Of kind
        ``reference``: the measured hits in place of a pattern, all and the signal alone, and on TORCH
        events the same tracks' light once more, which nothing that knows the tracks alone can beat.

    Raises:
        UsageError: runs of robots, or of other test events.
        CheckpointError: a run whose decoder makes no pattern.
    """
    config = _common_config(denoisers)
    events = EventData(config.data, config.seed).all_events("test")
    advance(1, "events")
    rows = []
    for name, denoiser in denoisers.items():
        with each(name):
            rows.append(_judge_run(name, denoiser, events))
        advance(1, name)
    return rows + _references(config, events)


def example_patterns(denoisers: Mapping[str, Denoiser], number: int) -> dict[str, HitBatch]:
    """The first ``number`` test events by name: as measured, as they are in full, and as each run makes them.

    Raises:
        UsageError, CheckpointError: as :func:`compression_table`.
    """
    config = _common_config(denoisers)
    batch = next(EventData(config.data, config.seed).batches("test", number))
    patterns = {"measured": batch.hits, "full pattern": batch.target}
    for name, denoiser in denoisers.items():
        made = [_pattern(output, denoiser) for _, output in decode_rounded(denoiser, batch.hits)]
        patterns[name] = HitBatch.concat(made)
    return patterns


def bytes_per_hit(geometry: DetectorGeometry) -> int:
    """Fewest whole bytes that hold a hit's bin of each axis."""
    return sum((max(bins - 1, 1).bit_length() + 7) // 8 for bins in geometry.spatial_shape)


@torch.no_grad()
def decode_rounded(denoiser: Denoiser, hits: HitBatch) -> Iterator[tuple[HitBatch, Output]]:
    """Patterns from codes rounded to :data:`CODE_DTYPE`, a group of events at a time, in order.

    Args:
        denoiser: whose decoder needs the code alone.
        hits: N hits on its grid.
    """
    model = denoiser.model
    for part in event_groups(hits, denoiser.config.evaluate.batch_size, HITS_AT_ONCE):
        part = part.to(denoiser.precision.device)
        z = model.latent(model.encoder(part).code).z  # (B, D)
        yield part, model.decoder(z.to(CODE_DTYPE).to(z.dtype), None, part)


def _common_config(denoisers: Mapping[str, Denoiser]) -> Config:
    """The config of the first run, whose test events all have.

    Raises:
        CheckpointError: a run whose decoder makes no pattern.
        UsageError: runs of robots, or of other test events.
    """
    configs = {name: denoiser.config for name, denoiser in denoisers.items()}
    for name, config in configs.items():
        if config.model.decoder.name == "per_hit":
            raise CheckpointError("its decoder masks hits and makes no pattern", where=name, fix="name runs of others")
        if config.data.source.kind == "robots":
            raise UsageError("was trained on robots, which have no noise", where=name, fix="use tools/evaluate.py")
    first, *others = configs
    for name in others:
        if _events_of(configs[name]) != _events_of(configs[first]):
            raise UsageError(
                f"{name} and {first} have other test events: seed, data or evaluate differ",
                fix="compare runs that differ in the model and its training alone",
            )
    return configs[first]


def _events_of(config: Config) -> tuple[Any, ...]:
    """What decides the test events and how generated hits are judged."""
    data = config.data.model_dump(exclude={"events": {"train", "validation"}, "fresh": True})
    return config.seed, data, config.evaluate.tolerance_bins, config.evaluate.reach_bins


def _judge_run(name: str, denoiser: Denoiser, events: Batch) -> dict[str, Any]:
    metrics, logits, start = _metrics(denoiser.config.evaluate), [], 0
    for part, output in decode_rounded(denoiser, events.hits):
        metrics.update(_pattern(output, denoiser), events.target.events(slice(start, start + part.batch_size)))
        logits.append(output.hit_logits(part).cpu())
        start += part.batch_size
    size = denoiser.config.model.latent.size
    code_bytes = size * CODE_DTYPE.itemsize
    hit_bytes = bytes_per_hit(denoiser.geometry) * events.hits.num_hits / events.hits.batch_size
    return {
        "name": name, "kind": "network", "decoder": denoiser.config.model.decoder.name,
        "code_size": size, "code_bytes": code_bytes, "hit_bytes": hit_bytes,
        "compression_ratio": hit_bytes / code_bytes,
        **_figures(metrics), **_noise_removed(torch.cat(logits), events.hits),
    }  # fmt: skip


def _pattern(output: Output, denoiser: Denoiser) -> HitBatch:
    made = generated_pattern(output, denoiser.geometry)
    assert made is not None  # no mask, as _common_config has checked
    return made.to("cpu")


def _references(config: Config, events: Batch) -> list[dict[str, Any]]:
    hits, source = events.hits, config.data.source
    assert hits.signal is not None
    patterns = {"measured hits": hits, "measured signal": hits.select(hits.signal)}
    if isinstance(source, TorchSource) and config.data.target == "full":
        index = torch.arange(events.target.batch_size)
        seed = split_seed(config.seed, "test")
        again = [same_tracks_again(source, seed, part) for part in index.split(_CHUNK)]
        patterns["other photons of the same tracks"] = HitBatch.concat(again)
    rows = []
    for name, pattern in patterns.items():
        metrics = _metrics(config.evaluate)
        metrics.update(pattern, events.target)
        rows.append({"name": name, "kind": "reference", **_figures(metrics)})
    return rows


_CHUNK = 200
"""Events simulated at once: bounds memory."""


def _metrics(settings: EvaluateSettings) -> PatternMetrics:
    return PatternMetrics(settings.tolerance_bins, settings.reach_bins)


def _figures(metrics: PatternMetrics) -> dict[str, float]:
    figures = metrics.compute()
    return {**figures, "generated_hits_per_event": figures["generated_hits"] / max(figures["events"], 1)}


def _noise_removed(logits: Tensor, hits: HitBatch) -> dict[str, float]:
    assert hits.signal is not None
    score = logits.float().sigmoid()
    return {f"noise_removed_at_{p}": noise_removed_at(score, hits.signal, p / 100) for p in (97, 99)}
