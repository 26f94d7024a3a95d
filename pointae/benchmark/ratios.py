"""The ratios that sum a benchmark up, what they should be, and the guard against slow rot.

A ratio of two things timed in turns in one run hardly depends on the machine, so it can be held against one that
was stored before; a bare time cannot.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pointae.benchmark.results import Key, Results, Row, Table
from pointae.benchmark.sweeps import HITS, TIME_BINS, crossing
from pointae.documents import first_problem
from pointae.errors import DataError, PointaeError, UsageError
from pointae.storage import JSON_BYTES, parse_json, read_bounded

TOLERANCE = 0.25
"""Share by which a ratio may be worse than the stored one."""
GRID = "88 x 128 x 1000"
SMALL, DENSE, TORCH, SPCONV = "torch-small, bf16", "dense 2D", "sparse U-Net, torch", "sparse U-Net, spconv"


@dataclass(frozen=True)
class Ratio:
    """One figure.

    Args:
        name: of its row.
        value: as measured.
        goal: what it should reach; ``None`` where it is only told.
        most: whether the goal is an upper bound, and less is better.
    """

    name: str
    value: float
    goal: float | None = None
    most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; ``None`` without one."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.most else self.value >= self.goal

    def rotten(self, stored: float) -> bool:
        """Whether it is worse than ``stored`` by more than the tolerance."""
        if self.most:
            return self.value > stored * (1 + TOLERANCE)
        return self.value < stored * (1 - TOLERANCE)


def ratios(results: Results) -> list[Ratio]:
    """All that can be made of what was measured."""
    found: list[tuple[str, float | None, float | None, bool]] = []
    pair: tuple[Key, Key]
    for batch in (64, 250):
        place = (GRID, 230, batch)
        for kind, told in (("forward", "forward"), ("step", "training step")):
            pair = (kind, SPCONV, *place), (kind, TORCH, *place)
            found.append((f"sparse U-Net, {told}, batch {batch}: spconv / torch", results.ratio(*pair), 2.0, False))
        for small, dense in ((SMALL, DENSE), (SMALL, f"{DENSE}, bf16"), ("torch-small, fp32", DENSE)):
            goal = 3.0 if (small, dense) == (SMALL, DENSE) else None
            pair = ("denoise", dense, batch), ("denoise", small, batch)
            found.append((f"denoising, batch {batch}: {dense} / {small}", results.ratio(*pair), goal, False))
            pair = ("step", dense, *place), ("step", small, *place)
            found.append((f"training step, batch {batch}: {dense} / {small}", results.ratio(*pair), goal, False))
        pair = ("degrade", "images", batch), ("degrade", "hits", batch)
        found.append((f"degradation with smear, batch {batch}: images / hits", results.ratio(*pair), 5.0, False))
    for name in (TORCH, "torch-small", "PointNet"):
        pair = ("time bins", name, TIME_BINS[-1]), ("time bins", name, TIME_BINS[0])
        found.append((f"{name}: 10,000 / 100 time bins", results.ratio(*pair), 1.05, True))
    pair = ("hits", TORCH, HITS[-1]), ("hits", TORCH, 1000)
    found.append(("sparse U-Net, a hit: 100,000 / 1,000 hits an event", results.ratio(*pair), 1.5, True))
    found += _of_memory(results)
    if "occupancy" in results.tables:
        share = crossing(results.tables["occupancy"].rows)
        found.append(("occupancy of 44 x 64 x 64 above which the dense engine wins", share, None, True))
    return [Ratio(name, value, goal, most) for name, value, goal, most in found if value is not None]


def _of_memory(results: Results) -> list[tuple[str, float | None, float | None, bool]]:
    rows = {row["name"]: row for row in results.tables["memory"].rows} if "memory" in results.tables else {}

    def peak(*words: str, column: str = "peak_mb") -> float | None:
        return next((row.get(column) for name, row in rows.items() if all(word in name for word in words)), None)

    def over(above: float | None, below: float | None) -> float | None:
        return above / below if above and below else None

    sparse, million = peak("training step", "sparse"), peak("1,000,000", column="resident_mb")
    files = [row["resident_mb"] for name, row in rows.items() if "HDF5" in name and "resident_mb" in row]
    dense, growth = over(peak("training step", "dense 3D"), sparse), files[-1] / files[0] if len(files) == 2 else None
    return [
        ("peak memory of training: dense 3D / sparse U-Net", dense, None, False),
        ("peak memory of a process: file of 4 N / N events", growth, 1.1, True),
        ("one event of 1,000,000 hits, GB of the process", million / 1e3 if million else None, 8.0, True),
    ]


def table_of(found: list[Ratio]) -> Table:
    """The ratios as a table."""
    rows: list[Row] = []
    for ratio in found:
        goal = "" if ratio.goal is None else f"{'at most' if ratio.most else 'at least'} {ratio.goal:g}"
        met = "" if ratio.met is None else "yes" if ratio.met else "no"
        rows.append({"name": ratio.name, "value": ratio.value, "goal": goal, "met": met, "most": ratio.most})
    columns = {"name": "ratio", "value": "measured", "goal": "should be", "met": "reached"}
    return Table("Ratios of things timed in turns", columns, rows)


def check_rot(found: list[Ratio], baseline: Path) -> int:
    """Compare with what an earlier benchmark stored.

    Args:
        found: ratios of this benchmark.
        baseline: its ``benchmark.json``.

    Returns:
        how many ratios were compared.

    Raises:
        UsageError, DataError: as :func:`read_baseline`, or it holds none of these ratios.
        PointaeError: a ratio is worse by more than the tolerance.
    """
    stored = read_baseline(baseline)
    shared = [ratio for ratio in found if ratio.name in stored]
    if not shared:
        raise UsageError("holds no ratio that was measured now", where=baseline, fix="make it by the same parts")
    worse = [ratio for ratio in shared if ratio.rotten(stored[ratio.name])]
    if worse:
        told = "; ".join(f"{ratio.name} is {ratio.value:.3g}, was {stored[ratio.name]:.3g}" for ratio in worse)
        raise PointaeError(f"{len(worse)} of {len(shared)} ratios got worse by more than {TOLERANCE:.0%}: {told}")
    return len(shared)


def read_baseline(path: Path) -> dict[str, float]:
    """The ratios that an earlier benchmark stored, by name.

    Raises:
        UsageError: there is no such file.
        DataError: it is not what a benchmark stored.
    """
    if not path.is_file():
        raise UsageError("there is no such file", where=path, fix=_MAKE)
    try:
        kept = _Baseline.model_validate(parse_json(read_bounded(path, JSON_BYTES)))
    except ValidationError as error:
        problem = first_problem(error)
    except ValueError as error:
        problem = str(error)
    else:
        return {ratio.name: ratio.value for ratio in kept.tables.ratios}
    raise DataError(f"is no benchmark.json: {problem}"[:400], where=path, fix=_MAKE)


_MAKE = "make one: python tools/benchmark.py --out FOLDER"


class _Kept(BaseModel):
    model_config = ConfigDict(strict=True)


class _Ratio(_Kept):
    name: str
    value: float = Field(allow_inf_nan=False)


class _Tables(_Kept):
    ratios: list[_Ratio] = []


class _Baseline(_Kept):
    tables: _Tables
