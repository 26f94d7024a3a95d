"""One run, one directory: the only module that knows the names of files inside it.

``runs/<name>/``: ``config.yaml`` (all settings), ``run.json`` (what happened), ``metrics.csv`` (a row an epoch),
``outputs.csv`` (histogram of raw outputs), ``log.txt``, ``weights/{best,last}.safetensors``, ``predictions/*.h5``,
``evaluation/*.csv``, ``plots/``, ``views/``, ``latent/``, ``report.html``, ``checkpoints/epoch-0007.safetensors``
(the whole training state, newest few). A file ``pause`` pauses the training. ``runs/latest`` is a text file that names
the newest.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.errors import CheckpointError
from pointae.storage import read_bounded, read_json, write_atomically, write_json, write_table

FORMAT_VERSION = 1
LATEST = "latest"


class RunDirectory:
    """A run on disk: training writes through it, everything else reads through it.

    Args:
        path: the directory; see :meth:`create` and :meth:`open`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    # ---- finding and making ----------------------------------------------------------------------

    @classmethod
    def create(cls, parent: Path, name: str) -> RunDirectory:
        """A new directory ``parent/name`` (``name-2``, ... if taken), noted in ``parent/latest``."""
        clean = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-") or "run"
        if clean == LATEST:
            clean = "run-latest"
        number = 1
        while True:
            path = parent / (clean if number == 1 else f"{clean}-{number}")
            try:
                path.mkdir(parents=True)
                break
            except FileExistsError:
                number += 1
        run = cls(path)
        for folder in ("weights", "checkpoints", "predictions", "evaluation", "plots"):
            (path / folder).mkdir()
        write_atomically(parent / LATEST, f"{path.name}\n".encode())
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunDirectory:
        """An existing run; ``runs/latest`` leads to the newest.

        Raises:
            CheckpointError: no such run.
        """
        path = Path(path)
        if path.is_file() and path.name == LATEST:
            path = path.parent / read_bounded(path, 4096).decode("utf-8").strip()
        if not (path / "config.yaml").is_file():
            raise CheckpointError(
                "is not a run directory: it holds no config.yaml", where=path, fix="train one with tools/train.py"
            )
        return cls(path)

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    # ---- config and record -----------------------------------------------------------------------

    @property
    def config_path(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    def write_config(self, text: str) -> None:
        """Keep the resolved config."""
        write_atomically(self.config_path, text.encode())

    @property
    def record(self) -> dict[str, Any]:
        """What ``run.json`` holds; empty before it is written."""
        return read_json(self.path / "run.json") if (self.path / "run.json").is_file() else {}

    def update_record(self, **entries: Any) -> None:
        """Add to ``run.json``: versions, counts, threshold, figures."""
        content = {"format": "pointae-run", "format_version": FORMAT_VERSION, **self.record, **entries}
        write_json(self.path / "run.json", content)

    # ---- metrics and log -------------------------------------------------------------------------

    @property
    def metrics_path(self) -> Path:
        """One row an epoch."""
        return self.path / "metrics.csv"

    def write_metrics(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite ``metrics.csv`` whole, so that a reader never meets half a row."""
        write_table(self.metrics_path, rows)

    @property
    def outputs_path(self) -> Path:
        """Histogram of the raw outputs on validation events."""
        return self.path / "outputs.csv"

    def write_outputs(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Rewrite ``outputs.csv`` whole; rows of :func:`~pointae.metrics.output_histogram`."""
        write_table(self.outputs_path, rows)

    def log(self, line: str) -> None:
        """Append a line to ``log.txt``."""
        with (self.path / "log.txt").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    # ---- weights -----------------------------------------------------------------------------------

    def weights(self, which: str = "best") -> Path:
        """Path of ``best`` or ``last`` weights.

        Raises:
            CheckpointError: the run has none.
        """
        path = self.weights_path(which)
        if not path.is_file():
            raise CheckpointError("has no weights", where=self.path, fix="train it first, or name another run")
        return path

    def weights_path(self, which: str) -> Path:
        """Where ``best`` or ``last`` weights are kept, whether or not they exist yet."""
        return self.path / "weights" / f"{which}.safetensors"

    # ---- going on ----------------------------------------------------------------------------------

    def checkpoint_path(self, epoch: int) -> Path:
        """Where the training state at the end of ``epoch`` is kept."""
        return self.path / "checkpoints" / f"epoch-{epoch:04d}.safetensors"

    def checkpoints(self) -> dict[int, Path]:
        """Existing checkpoints by epoch, the newest first, good or damaged."""
        found = {
            int(path.stem.removeprefix("epoch-")): path
            for path in self.path.glob("checkpoints/epoch-*[0-9].safetensors")
        }
        return dict(sorted(found.items(), reverse=True))

    @property
    def pause_path(self) -> Path:
        """While a file of this name exists, training pauses."""
        return self.path / "pause"

    def clear_temporaries(self) -> None:
        """Remove what a killed process was writing; for the one process that writes to the run."""
        for path in [*self.path.rglob(".*.tmp"), *self.path.rglob(".*.part")]:
            path.unlink(missing_ok=True)

    # ---- results -------------------------------------------------------------------------------------

    def predictions_path(self, name: str) -> Path:
        """Where predictions called ``name`` are kept: a hits file with scores and decisions."""
        return self.path / "predictions" / f"{name}.h5"

    def predictions(self, name: str = "events") -> Path:
        """Existing predictions.

        Raises:
            CheckpointError: there are none yet.
        """
        path = self.predictions_path(name)
        if not path.is_file():
            raise CheckpointError(
                f"has no predictions '{name}'", where=self.path, fix=f"make them: python tools/evaluate.py {self.path}"
            )
        return path

    @property
    def evaluation(self) -> Path:
        """Folder of figures and tables."""
        return self.path / "evaluation"

    @property
    def judged_path(self) -> Path:
        """Figures of an evaluation: JSON, by the name of what was judged."""
        return self.evaluation / "metrics.json"

    def evaluation_table(self, name: str) -> Path:
        """Where the table called ``name`` of an evaluation is kept: ``"table"``, ``"events"``, ``"curves"``, ..."""
        return self.evaluation / f"{name}.csv"

    @property
    def report(self) -> Path:
        """The page that tells all of a run."""
        return self.path / "report.html"

    @property
    def plots(self) -> Path:
        """Folder of curves, each with its CSV beside it."""
        return self.path / "plots"

    @property
    def views(self) -> Path:
        """Folder of drawn events."""
        return self.path / "views"

    @property
    def latent(self) -> Path:
        """Folder of what is told of the latent space."""
        return self.path / "latent"
