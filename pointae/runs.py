"""One run, one directory: the only module that knows the names of files inside it.

``runs/<name>/``: ``config.yaml`` (all settings), ``run.json`` (what happened), ``metrics.csv`` (a row an epoch),
``outputs.csv`` (histogram of raw outputs), ``log.txt``, ``weights/{best,last}.safetensors``, ``predictions/*.h5``,
``evaluation/*.csv``, ``plots/``, ``views/``, ``latent/``, ``report.html``, ``checkpoints/epoch-0007.safetensors``
(the whole training state, newest few). A file ``pause`` pauses the training. ``runs/latest`` is a text file that names
the newest.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from pointae.config import Config
from pointae.config_files import load_config
from pointae.errors import CheckpointError, ConfigError, StorageError
from pointae.file_names import plain_name
from pointae.record import RECORD, RunRecord, standing
from pointae.replacing import clear_leftovers
from pointae.storage import (
    JSON_BYTES,
    check_regular,
    digest,
    read_bounded,
    read_kept,
    write_atomically,
    write_json,
    write_table,
)
from pointae.terminal import command_line

LATEST = "latest"
HELD_FOR = 2.0
"""Seconds that a training waits for its run: others hold it for a moment, to see whether it is free."""
CONFIG_BYTES = 1_000_000
"""A config of a run is at most as large."""


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
        clean = plain_name(name, "run")
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
            CheckpointError: no such run, or its record is damaged.
        """
        path = Path(path)
        if path.is_file() and path.name == LATEST:
            path = path.parent / _named_in(path)
        if not (path / "config.yaml").is_file():
            raise CheckpointError(
                "is not a run directory: it holds no config.yaml", where=path, fix="train one with tools/train.py"
            )
        run = cls(path)
        _ = run.record  # whoever opens a run is told at once that it is damaged
        return run

    @property
    def name(self) -> str:
        """The directory's name."""
        return self.path.name

    # ---- config and record -----------------------------------------------------------------------

    @property
    def config_path(self) -> Path:
        """The resolved config."""
        return self.path / "config.yaml"

    def write_config(self, text: str, **entries: Any) -> None:
        """Keep the resolved config, and add entries to the record before: a run with a config can be resumed."""
        content = text.encode()
        before = [digest(self._config_content())] if self.config_path.is_file() else []
        # The record knows both while one replaces the other: a kill may come in between.
        self.update_record(config_sha256=list(dict.fromkeys([*before, digest(content)])), **entries)
        write_atomically(self.config_path, content)
        if before not in ([], [digest(content)]):
            self.update_record(config_sha256=[digest(content)])

    def config(self, overrides: Sequence[str] = ()) -> Config:
        """The config that the run was trained with.

        Args:
            overrides: ``key=value``, for a training that goes on.

        Raises:
            CheckpointError: it was changed since, or is not a config of this version.
            ConfigError: an override is wrong.
        """
        self._config_content()
        try:
            config = load_config(self.config_path)
        except ConfigError as error:
            raise CheckpointError(
                f"is not a config of this version of pointae: {error.what}",
                where=self.config_path,
                fix="use the version that trained the run, or train it anew",
            ) from None
        return load_config(self.config_path, overrides) if overrides else config

    def _config_content(self) -> bytes:
        content = read_kept(self.config_path, CONFIG_BYTES, RECORD.fix)
        known = self.record.config_sha256
        if known and digest(content) not in known:
            raise CheckpointError(
                "was changed after it was written: its SHA-256 is not the one in run.json",
                where=self.config_path,
                fix="restore it; settings change by key=value behind tools/train.py --resume",
            )
        return content

    @property
    def record_path(self) -> Path:
        """What happened, as JSON."""
        return self.path / "run.json"

    @property
    def record(self) -> RunRecord:
        """What ``run.json`` tells.

        Raises:
            CheckpointError: it is missing, damaged, or of a later version.
        """
        return RECORD.parse(read_kept(self.record_path, JSON_BYTES, RECORD.fix), self.record_path)

    def update_record(self, **entries: Any) -> None:
        """Add to ``run.json``: versions, counts, threshold, figures."""
        known = self.record.model_dump(mode="json", exclude_unset=True) if self.record_path.exists() else {}
        write_json(self.record_path, RECORD.written({**known, **entries}))

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
        path = self.path / "log.txt"
        if path.exists():
            check_regular(path)  # a pipe would wait for its reader
        with path.open("a", encoding="utf-8") as file:
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
        epochs = [int(path.stem.removeprefix("epoch-")) for path in self._checkpoint_files(True)]
        return {epoch: self.checkpoint_path(epoch) for epoch in sorted(epochs, reverse=True)}

    def other_checkpoints(self) -> list[Path]:
        """Files beside the checkpoints that are not named as they are, e.g. copies."""
        return self._checkpoint_files(False)

    def _checkpoint_files(self, named: bool) -> list[Path]:
        pattern = re.compile(r"epoch-(\d{4}|[1-9]\d{4,8})", re.ASCII)
        files = sorted(self.path.glob("checkpoints/*.safetensors"))
        return [path for path in files if bool(pattern.fullmatch(path.stem)) == named and path.name[0] != "."]

    @property
    def pause_path(self) -> Path:
        """While a file of this name exists, training pauses."""
        return self.path / "pause"

    @contextmanager
    def trained_here(self) -> Iterator[None]:
        """Hold the run for the one process that trains it; the system lets go of it however that process ends.

        Raises:
            CheckpointError: another process holds it.
        """
        try:
            held = self._lock().acquire(timeout=HELD_FOR)
        except Timeout:
            raise CheckpointError(
                "is being trained by another process", where=self.path, fix="wait for it, or stop that one first"
            ) from None
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror or error}", where=self.path) from error
        with held:
            yield

    @property
    def status(self) -> str:
        """How its training stands: ``"training"``, as it ended, or ``"stopped"`` where its process was killed."""
        told = self.record.status
        if told != "training":
            return told
        try:
            with self._lock().acquire(timeout=0):
                return "stopped"
        except Timeout:
            return told
        except OSError:  # a folder that cannot be written: nobody trains in it
            return "stopped"

    @property
    def standing(self) -> str | None:
        """:func:`standing` of this run."""
        return standing(self.status, max(self.checkpoints(), default=0))

    def _lock(self) -> FileLock:
        return FileLock(self.path / "training.lock")

    def clear_temporaries(self) -> None:
        """Remove what killed processes were writing; another may be evaluating the run meanwhile."""
        for folder in [self.path, *(path for path in self.path.iterdir() if path.is_dir())]:
            clear_leftovers(folder)
        for path in self.path.rglob(".*.tmp"):  # of pointae before there were such names
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
                f"has no predictions '{name}'", where=self.path, fix=f"make them: {command_line('evaluate', self.path)}"
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


def _named_in(latest: Path) -> str:
    """The name of a run in the same folder that a file ``latest`` holds."""
    try:
        name = read_bounded(latest, 1000).decode().strip()
    except (OSError, ValueError):
        name = ""
    if not name or name in (".", "..") or not name.isprintable() or re.search(r"[/\\:]", name) or len(name) > 255:
        raise CheckpointError(
            "does not name a run of its folder", where=latest, fix=f"name the run itself: {latest.parent / 'NAME'}"
        )
    return name
