"""The parts of the benchmark by name, and what becomes of their tables."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pointae.allocator import keep_freed_memory
from pointae.attempts import Each, strictly
from pointae.benchmark.degradation import measure_degradation
from pointae.benchmark.networks import measure_networks
from pointae.benchmark.peaks import measure_memory
from pointae.benchmark.pipelines import measure_pipelines
from pointae.benchmark.ratios import Ratio, ratios, table_of
from pointae.benchmark.results import Plan, Results
from pointae.benchmark.stages import measure_stages
from pointae.benchmark.streams import measure_streams
from pointae.benchmark.sweeps import measure_hits, measure_occupancy, measure_time_bins
from pointae.benchmark.timing import QUIET, pin, quiet_share
from pointae.environment import gather_environment
from pointae.storage import write_atomically, write_json, write_table

Part = Callable[[Plan, Results], None]
PARTS: dict[str, Part] = {
    "networks": measure_networks,
    "pipelines": measure_pipelines,
    "streams": measure_streams,
    "degradation": measure_degradation,
    "time-bins": measure_time_bins,
    "hits": measure_hits,
    "occupancy": measure_occupancy,
    "memory": measure_memory,
    "stages": measure_stages,
}
"""Every part, in the order they are measured."""


def run_parts(plan: Plan, names: Sequence[str], each: Each = strictly) -> tuple[Results, dict[str, Any], list[Ratio]]:
    """Measure parts.

    Args:
        plan: how much is measured.
        names: of :data:`PARTS`.
        each: in what each part is measured.

    Returns:
        what was measured; the header: versions, threads, how quiet the machine was; and the ratios, which are also
        among the tables.
    """
    keep_freed_memory()  # as a training does
    cores = pin(plan.threads)
    results, quiet = Results(), [quiet_share(plan.threads)]
    for name in names:
        plan.advance(0, name)
        with each(name):
            PARTS[name](plan, results)
        quiet.append(quiet_share(plan.threads))
        plan.advance(1, name)
    found = ratios(results)
    if found:
        results.tables["ratios"] = table_of(found)
    header = {"threads": plan.threads, "pinned_cores": cores, "quick": plan.quick, "device": plan.device,
              "quiet_share": min(quiet), **gather_environment()}  # fmt: skip
    return results, header, found


def header_line(header: dict[str, Any]) -> str:
    """The header in a line."""
    packages = header["packages"]
    gpus = "".join(f", {name}" for name in header["gpus"]) if header["device"] != "cpu" else ""
    others = "".join(f", {name} {told}" for name, told in packages.items() if name.startswith(("numba", "spconv")))
    return (
        f"{header['processor']}{gpus}, {header['threads']} threads pinned to {header['pinned_cores']} cores; "
        f"pointae {packages.get('pointae', '?')}, torch {packages['torch']}{others}, Python {header['python']}"
    )


def noise_note(header: dict[str, Any]) -> str | None:
    """What to say where something else ran meanwhile."""
    share = header["quiet_share"]
    if share >= QUIET:
        return None
    return f"the machine was busy: threads got {share:.0%} of their cores' time; times are upper bounds"


def save_results(folder: Path, results: Results, header: dict[str, Any]) -> None:
    """A CSV for each table, all of them in ``benchmark.json`` and, to be read, in ``tables.md``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, table in results.tables.items():
        write_table(folder / f"{name}.csv", table.rows)
    tables = {name: list(table.rows) for name, table in results.tables.items()}
    write_json(folder / "benchmark.json", {"header": header, "tables": tables})
    note = noise_note(header)
    head = [header_line(header), *([f"**{note[0].upper()}{note[1:]}.**"] if note else [])]
    order = ["ratios", *(name for name in results.tables if name != "ratios")]
    parts = [*head, *(results.tables[name].markdown() for name in order if name in results.tables)]
    write_atomically(folder / "tables.md", ("\n\n".join(parts) + "\n").encode())
