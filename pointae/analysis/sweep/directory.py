"""One sweep, one directory: the only module that knows the names of files inside it."""

from __future__ import annotations

from pathlib import Path


class SweepDirectory:
    """A sweep on disk: the study, a run a trial, and its tables.

    Args:
        path: the directory; made if need be.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        for folder in (self.trials, self.locks):
            folder.mkdir(parents=True, exist_ok=True)

    @property
    def trials(self) -> Path:
        """Folder of the trials' run directories."""
        return self.path / "trials"

    def trial_name(self, number: int) -> str:
        """Name of a trial's run."""
        return f"trial-{number:04d}"

    @property
    def locks(self) -> Path:
        """Folder of the locks."""
        return self.path / "locks"

    @property
    def claim_lock(self) -> Path:
        """Held while a process chooses its next trial."""
        return self.locks / "claim.lock"

    def trial_lock(self, number: int) -> Path:
        """Held by the process that trains a trial."""
        return self.locks / f"{self.trial_name(number)}.lock"

    @property
    def database(self) -> Path:
        """The study in sqlite."""
        return self.path / "study.db"

    @property
    def journal(self) -> Path:
        """The study as a journal."""
        return self.path / "study.journal"

    @property
    def journal_lock(self) -> Path:
        """Held while a process adds to the journal."""
        return self.locks / "journal.lock"

    @property
    def ranking(self) -> Path:
        """The ranked table."""
        return self.path / "ranking.csv"

    @property
    def importances(self) -> Path:
        """How much each parameter matters."""
        return self.path / "importances.csv"

    @property
    def workbook(self) -> Path:
        """The tables as a spreadsheet."""
        return self.path / "sweep.xlsx"

    @property
    def page(self) -> Path:
        """Parallel coordinates and importances."""
        return self.path / "sweep.html"

    @property
    def picture(self) -> Path:
        """The same drawn, and scores in the order of the trials."""
        return self.path / "sweep.png"
