"""What a denoiser is made from, wherever it is kept: in a run, or among the weights that are shipped."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from pointae import shipped
from pointae.attempts import Each, strictly
from pointae.config import Config
from pointae.errors import CheckpointError, unknown_name
from pointae.geometry import DetectorGeometry, deepclean3d_geometry
from pointae.io.options import ReadOptions
from pointae.record import RECORD, RunRecord
from pointae.runs import LATEST, RunDirectory
from pointae.thresholds import weak_basis


@dataclass(frozen=True)
class Trained:
    """Weights, and all that is needed to put them to work.

    Args:
        source: the run directory, or the shipped files without their endings; for people.
        weights: the ``.safetensors`` file.
        config: of the training.
        geometry: the grid.
        feature_names: of the hits trained on.
        threshold: hits that score at least this are kept.
        thresholds: by retention; empty for runs that are older than they are.
        standing: what to know of a training that did not end as it should.
        basis: why it is not known which share of signal the threshold keeps.
    """

    source: Path
    weights: Path
    config: Config
    geometry: DetectorGeometry
    feature_names: tuple[str, ...]
    threshold: float
    thresholds: Mapping[float, float]
    standing: str | None = None
    basis: str | None = None

    @property
    def notes(self) -> list[str]:
        """See :func:`notes_on`."""
        return notes_on(self.source.name, self.standing, self.basis, self.threshold)

    def reading(self, path: str | Path) -> ReadOptions:
        """How a file is read for these weights, see :func:`reading_of`."""
        return reading_of(self.config, self.geometry, self.feature_names, path)


def notes_on(name: str, standing: str | None, basis: str | None, threshold: float) -> list[str]:
    """What to know of a run before it is put to work: how its training ended, and what its threshold rests on.

    Args:
        name: of the run.
        standing, basis: as of :class:`Trained`.
        threshold: in use.
    """
    kept = None if basis is None else f"{basis}; hits that score {threshold:.3f} or more are kept"
    return [f"{name}: {note}" for note in (standing, kept) if note is not None]


def reading_as(name_or_path: str | Path | None, path: str | Path) -> ReadOptions | None:
    """How a file is read for a run or shipped weights; ``None`` where none are named.

    Raises:
        CheckpointError: as :func:`open_trained`.
    """
    return None if name_or_path is None else open_trained(name_or_path).reading(path)


def reading_of(config: Config, geometry: DetectorGeometry, features: tuple[str, ...], path: str | Path) -> ReadOptions:
    """How a file is read for a trained network: as the files of its training, on its grid where it states none.

    Images of DeepClean3D's shape are on the grid of these, whose bins are wider than TORCH's.

    Args:
        config: of the training.
        geometry: trained on.
        features: trained on.
        path: of the file.
    """
    path = Path(path)
    implied = path.is_dir() or path.suffix.lower() in (".pt", ".npy")
    own = implied and geometry.spatial_shape == deepclean3d_geometry().spatial_shape
    kept = ReadOptions.of_source(config.data.source)
    return replace(kept, geometry=None if own else geometry, features=features)


def open_trained(name_or_path: str | Path) -> Trained:
    """A run directory, the file ``latest`` that names one, or shipped weights by their name.

    A directory of that name comes before shipped weights.

    Raises:
        CheckpointError: neither; or a run without weights, or shipped files that are not as they were written.
    """
    path = Path(name_or_path)
    if path.is_dir() or (path.is_file() and path.name == LATEST):
        return _of_run(RunDirectory.open(path))
    names = shipped.shipped_names()
    if str(name_or_path) in names:
        return open_shipped(str(name_or_path))
    advice = f"{unknown_name('weights', str(name_or_path), names).fix}; or " if names else ""
    raise CheckpointError(
        "is not a run directory, nor the name of shipped weights",
        where=path,
        fix=f"{advice}train one with tools/train.py",
    )


def open_each(names: Sequence[str | Path], each: Each = strictly) -> list[Trained]:
    """What of these can be opened, as :func:`open_trained` does.

    Args:
        names: of runs or shipped weights.
        each: in what each is opened.
    """
    found = []
    for name in names:
        with each(name):
            found.append(open_trained(name))
    return found


def _of_run(run: RunDirectory) -> Trained:
    record = run.record
    weights = run.weights()
    if record.geometry is None:
        raise CheckpointError("does not say which grid the run was trained on", where=run.record_path, fix=RECORD.fix)
    return Trained(
        run.path,
        weights,
        run.config(),
        record.geometry.geometry(),
        tuple(record.feature_names),
        0.5 if record.threshold is None else record.threshold,
        record.thresholds,
        run.standing,
        None if run.config().data.source.kind == "robots" else _basis(record),
    )


def _basis(record: RunRecord) -> str | None:
    if record.threshold is None:
        return "no threshold was fixed yet"
    if record.signal_hits is None or record.retention is None:
        return None
    return weak_basis(record.signal_hits, record.retention)


def open_shipped(name: str) -> Trained:
    """Shipped weights by their name, once their checksum is found to be right.

    Raises:
        CheckpointError: as :func:`~pointae.shipped.read_shipped`.
    """
    card = shipped.read_shipped(name)
    weights = shipped.weights_path(name)
    return Trained(
        weights.with_suffix(""),
        weights,
        card.config,
        card.geometry.geometry(),
        tuple(card.feature_names),
        card.thresholds[card.retention],
        card.thresholds,
    )
