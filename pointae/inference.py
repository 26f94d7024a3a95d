"""A trained run at work: hits in, the same hits out with a score and a decision."""

from __future__ import annotations

import shlex
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

import torch

from pointae.allocator import give_back_freed_memory
from pointae.config import Config
from pointae.errors import CheckpointError, DataError, PointaeError
from pointae.geometry import DetectorGeometry, differences_of
from pointae.hits import HitBatch
from pointae.io import hits_of_events, open_writer, output_format, read_blocks
from pointae.io.options import ReadOptions
from pointae.nn.autoencoder import Autoencoder, Prediction
from pointae.nn.event_sizes import too_large
from pointae.precision import Precision, choose_precision
from pointae.recover import recover
from pointae.thresholds import check_threshold, threshold_at
from pointae.trained import Trained, notes_on, open_trained, reading_of
from pointae.weights import load_weights

BLOCK_EVENTS, BLOCK_HITS = 2000, 500_000
"""Read, denoised and written at once: events, or fewer once they have so many hits."""

GIVE_BACK_BLOCKS = 4
"""Blocks after which memory that is free goes back to the system, so that the process does not grow with the file."""

HITS_AT_ONCE = 100_000
"""Hits given to the network at once, unless one event has more: bounds memory."""


@dataclass
class Denoiser:
    """A trained network with the grid, the features and the threshold it was made for."""

    model: Autoencoder
    config: Config
    geometry: DetectorGeometry
    feature_names: tuple[str, ...]
    threshold: float
    thresholds: Mapping[float, float]
    precision: Precision
    source: Path
    standing: str | None = None
    basis: str | None = None

    @classmethod
    def open(cls, name_or_path: str | Path, device: str = "auto") -> Denoiser:
        """The network of a run directory, e.g. ``"runs/latest"``, or of shipped weights, e.g. ``"torch-base"``.

        Raises:
            CheckpointError: neither is there, or as :meth:`of`.
        """
        return cls.of(open_trained(name_or_path), device)

    @classmethod
    def of(cls, trained: Trained, device: str = "auto") -> Denoiser:
        """The network of what :func:`~pointae.trained.open_trained` found.

        Raises:
            CheckpointError: weights that are damaged or do not fit their config.
        """
        geometry = trained.geometry
        config, names = trained.config, trained.feature_names
        precision = choose_precision(device, "fp64" if config.train.precision == "fp64" else config.evaluate.precision)
        model = Autoencoder(config.model, geometry, len(names)).to(precision.device, precision.dtype)
        load_weights(model, trained.weights)
        return cls(
            model.eval(), config, geometry, names, trained.threshold, trained.thresholds, precision, trained.source,
            trained.standing, trained.basis,
        )  # fmt: skip

    @property
    def notes(self) -> list[str]:
        """See :func:`~pointae.trained.notes_on`."""
        return notes_on(self.source.name, self.standing, self.basis, self.threshold)

    def at_threshold(self, threshold: float) -> Denoiser:
        """The same network, keeping hits that score at least ``threshold``.

        Raises:
            UsageError: it is not in [0, 1].
        """
        return replace(self, threshold=check_threshold(threshold), basis=None)

    def at_retention(self, retention: float) -> Denoiser:
        """The same network, cutting where ``retention`` of the signal was kept on validation events.

        Raises:
            CheckpointError, UsageError: as :func:`~pointae.thresholds.threshold_at`.
        """
        try:
            return replace(self, threshold=threshold_at(self.thresholds, retention))
        except PointaeError as error:
            raise error.at(self.source) from None

    def __call__(self, hits: HitBatch) -> HitBatch:
        """Score and decide every hit; coords, order and identifiers stay as they are.

        Raises:
            CheckpointError: another grid, or a feature is missing that the run was trained with.
            DataError: an event has more hits than the network takes; nothing was computed yet.
        """
        logits = [prediction.output.hit_logits(part).cpu() for part, prediction in self.predictions(hits)]
        return recover(hits, torch.cat(logits) if logits else torch.zeros(0), self.threshold)

    @torch.no_grad()
    def predictions(self, hits: HitBatch) -> Iterator[tuple[HitBatch, Prediction]]:
        """The forward pass, a group of events at a time, in order.

        Raises:
            CheckpointError, DataError: as of calling it.
        """
        self.model.refuse_large_events(hits)
        for part in event_groups(self._as_trained(hits), self.config.evaluate.batch_size, HITS_AT_ONCE):
            part = part.to(self.precision.device)
            with self.precision.autocast():
                prediction = self.model(part)
            yield part, prediction

    def reading(self, path: str | Path) -> ReadOptions:
        """How a file is read for this network, see :func:`~pointae.trained.reading_of`."""
        return reading_of(self.config, self.geometry, self.feature_names, path)

    def check_grid(self, geometry: DetectorGeometry) -> str | None:
        """What to warn of when bins of hits are not as wide, or not where, the run's are; ``None`` if they are.

        Raises:
            CheckpointError: another number of bins: the network cannot take such hits.
        """
        if geometry.spatial_shape != self.geometry.spatial_shape:
            ours, theirs = (" x ".join(map(str, grid.spatial_shape)) for grid in (self.geometry, geometry))
            raise CheckpointError(
                f"was trained on a grid of {ours}, the hits are on one of {theirs}",
                where=self.source,
                fix="use a run of that detector",
            )
        found = differences_of(geometry, self.geometry)
        told = [f"{what} {here} here and {ours} in the run" for what, here, ours in found]
        return f"{'; '.join(told)}: it may not know such patterns" if told else None

    def _as_trained(self, hits: HitBatch) -> HitBatch:
        self.check_grid(hits.geometry)
        missing = [name for name in self.feature_names if name not in hits.feature_names]
        if missing:
            raise CheckpointError(
                f"needs the feature '{missing[0]}', which the hits lack",
                where=self.source,
                fix=f"if it has another name in the file: --columns {shlex.quote(f'{missing[0]}=NAME')}",
            )
        columns = [hits.feature_names.index(name) for name in self.feature_names]
        # Only what the network sees: the rest would be cut into groups for nothing.
        return HitBatch(
            self.geometry,
            hits.coords,
            hits.offsets,
            hits.features[:, columns],
            self.feature_names,
            category=hits.category,
            trusted=True,
        )


def event_groups(hits: HitBatch, max_events: int, max_hits: int) -> Iterator[HitBatch]:
    """Consecutive events in groups of at most ``max_events`` and, unless one event has more, ``max_hits``."""
    start = 0
    while start < hits.batch_size:
        limit = hits.offsets[start] + max_hits
        end = int(torch.searchsorted(hits.offsets, limit, right=True)) - 1
        end = min(max(end, start + 1), start + max_events, hits.batch_size)
        yield hits.events(slice(start, end))
        start = end


def denoise(hits: HitBatch, run: str | Path | Denoiser, retention: float | None = None) -> HitBatch:
    """Score and decide hits with a trained network: the one call of a notebook.

    Args:
        hits: N hits on the grid that it was trained on.
        run: a run directory, e.g. ``"runs/latest"``, the name of shipped weights, or what :meth:`Denoiser.open` gave.
        retention: share of the signal to keep; ``None``: what the run was made for, 0.97 by default.

    Returns:
        The same hits, in the same order, with ``score`` and ``kept``.
    """
    denoiser = run if isinstance(run, Denoiser) else Denoiser.open(run)
    return (denoiser if retention is None else denoiser.at_retention(retention))(hits)


@dataclass
class FileReport:
    """What a file came to.

    Args:
        events, hits, kept: counts.
        notes: what a user should know: a training that did not end, other bin widths, what the format could not hold.
    """

    events: int = 0
    hits: int = 0
    kept: int = 0
    notes: list[str] = field(default_factory=list)


def denoise_file(
    denoiser: Denoiser,
    source: Path,
    out: Path,
    *,
    kept_only: bool = False,
    options: ReadOptions | Mapping[str, object] | None = None,
    advance: Callable[[int, str], None] = lambda steps, note: None,
) -> FileReport:
    """Denoise a file block by block, while the next is read and the last is written.

    Memory follows the block, not the file, where both formats are HDF5 or CSV (of events whose rows are together).

    Args:
        denoiser: a trained network.
        source: any readable file of hits.
        out: where to write; its ending chooses the format. Nothing is left there on failure.
        kept_only: leave removed hits out; images, which have no place for a decision, always do.
        options: for the reader: all of them, or by keyword those that differ from the run's, e.g. ``window_ns``.
        advance: told of events done.
    """
    report = FileReport(notes=denoiser.notes)
    is_image = not output_format(out).holds_decisions
    attributes = {"run": denoiser.source.name, "threshold": denoiser.threshold}
    given = options if isinstance(options, ReadOptions) else denoiser.reading(source).but(options or {})
    # Formats with types are given numbers where a table of text has nothing else; images have no place for either.
    typed = out.suffix.lower() != ".csv"
    given = replace(given, hits_per_block=BLOCK_HITS, carry=not is_image, verbatim=not typed)
    _refuse_early(denoiser, source, given)
    read = read_blocks(source, BLOCK_EVENTS, **vars(given))
    with (
        open_writer(out, attributes, kept_only or is_image) as writer,
        closing(read) as blocks,  # type: ignore[type-var]  # a generator
        ThreadPoolExecutor(1) as reader,
        ThreadPoolExecutor(1) as scribe,
    ):
        coming = reader.submit(next, blocks, None)
        written: Future[None] | None = None
        left_out = 0
        for number in count(1):
            if (hits := coming.result()) is None:
                break
            coming = reader.submit(next, blocks, None)
            note = denoiser.check_grid(hits.geometry)
            if note and note not in report.notes:
                report.notes.append(note)
            if given.skips:
                large = too_large(hits, denoiser.model.max_hits)
                left_out, hits = left_out + int(large.sum()), hits.events((~large).nonzero()[:, 0])
            _refuse_large_events(denoiser, hits, report.events, source)
            done = denoiser(hits)
            if written is not None:  # one block waits at most, and what went wrong is told here
                written.result()
            written = scribe.submit(writer.append, done)
            report.events += done.batch_size
            report.hits += done.num_hits
            report.kept += int(done.kept.sum()) if done.kept is not None else 0
            advance(done.batch_size, f"{report.hits:,} hits")
            if number % GIVE_BACK_BLOCKS == 0:
                give_back_freed_memory()
        if written is not None:
            written.result()
    if left_out:
        were = "1 event was" if left_out == 1 else f"{left_out:,} events were"
        report.notes.append(f"{were} left out: more than {denoiser.model.max_hits:,} hits")
    if writer.report.losses:
        report.notes.append(f"{out}: {writer.report.losses}{'; it holds the kept hits' if is_image else ''}")
    return report


def _refuse_early(denoiser: Denoiser, source: Path, given: ReadOptions) -> None:
    """Refuse a file with an event too large before any other is denoised, where its offsets say so."""
    most = denoiser.model.max_hits
    if most is None or given.skips:
        return
    counts = hits_of_events(source, **vars(given))
    if counts is None or not (counts > most).any():
        return
    first = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what is said of the file is said when it is denoised
        for hits in read_blocks(source, BLOCK_EVENTS, **vars(given)):  # with duplicates merged it may be small enough
            _refuse_large_events(denoiser, hits, first, source)
            first += hits.batch_size


def _refuse_large_events(denoiser: Denoiser, hits: HitBatch, first: int, source: Path) -> None:
    try:
        denoiser.model.refuse_large_events(hits, first)
    except DataError as error:
        raise error.at(source) from None
