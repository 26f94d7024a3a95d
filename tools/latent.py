"""Look at the latent space of a run: python tools/latent.py runs/latest [--between 3 8 --neighbours-of 3]"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from pointae.argument_types import whole
from pointae.entry import Parser, run_tool
from pointae.errors import UsageError
from pointae.terminal import console, note, progress

WORDS = {
    "latent_size": "numbers in a code", "train_events": "training events", "validation_events": "validation events",
    "distance_mean": "distance of two events, mean", "distance_spread": "the same, standard deviation",
    "clusters": "clusters (KMeans)", "elbow": "elbow of the inertia", "silhouette": "silhouette in the whole space",
    "plane_silhouette": "silhouette of the same clusters in the plane", "samples": "drawn from the prior",
    "valid": "of them robots that can be", "novel_of_valid": "of these not trained on",
    "different_of_valid": "of these different from one another",
}  # fmt: skip


def main(arguments: Sequence[str]) -> None:
    parser = Parser("latent.py", description="Look at the latent space of a run.")
    parser.add_argument("run", help="run directory, e.g. runs/latest")
    parser.add_argument("--projections", nargs="+", choices=["pca", "umap"], help="default: pca, and umap if installed")
    parser.add_argument("--clusters", type=whole(high=999), metavar="K", help="coloured (default: the elbow's)")
    parser.add_argument("--neighbours-of", type=whole(), default=0, metavar="N", help="a validation event, from 0")
    parser.add_argument("--between", type=whole(), nargs=2, metavar=("N", "M"), help="two of them (default: 0 1)")
    parser.add_argument("--steps", type=whole(high=999), default=7, help="codes between, with both ends (default 7)")
    parser.add_argument("--samples", type=whole(0), default=1000, help="drawn from the prior (default 1000)")
    parser.add_argument("--events", type=whole(high=999), default=6, help="beside their reconstructions (default 6)")
    parser.add_argument("--skip", type=whole(0), default=0, help="validation events passed over before them")
    parser.add_argument("--seed", type=whole(0, 2**32 - 1), default=1, help="of UMAP, KMeans, the prior (default 1)")
    parser.add_argument("--out", type=Path, help="folder (default: RUN/latent)")
    options = parser.parse_intermixed_args(arguments)
    if options.steps < 2 or options.events < 1 or options.samples < 0 or (options.clusters or 2) < 2:
        raise UsageError("--steps and --clusters start at 2, --events at 1, --samples at 0")

    from pointae.optional import is_installed, require
    from pointae.runs import RunDirectory

    run = RunDirectory.open(options.run)
    run.weights()
    methods = options.projections or (["pca", "umap"] if is_installed("umap") else ["pca"])
    if options.projections and "umap" in methods:
        require("umap", extra="latent")
    elif not options.projections and "umap" not in methods:
        note("PCA alone, umap-learn is not installed (pip install -e '.[latent]')")

    from pointae.analysis.latent.report import Questions, analyse, analysis_steps, save_tables
    from pointae.inference import Denoiser
    from visual.pages.latent import write_latent_page
    from visual.plots.latent import draw_latent

    asked = {name: getattr(options, name) for name in ("clusters", "neighbours_of", "steps", "samples", "events")}
    asked["between"] = options.between and tuple(options.between)
    questions = Questions(tuple(dict.fromkeys(methods)), skip=options.skip, seed=options.seed, **asked)
    with progress("latent space", analysis_steps(questions)) as advance:
        report = analyse(Denoiser.open(run.path), questions, advance)
    folder = options.out or run.latent
    save_tables(report, folder)
    pictures = draw_latent(report, folder)
    page = write_latent_page(report, folder / "latent.html")
    _show(report.summary)
    console.print(f"saved in {folder}: {', '.join(path.name for path in [*pictures, page])}, and a CSV beside each")


def _show(summary: Mapping[str, float]) -> None:
    for name, value in summary.items():
        shown = f"{value:.3g}" if isinstance(value, float) else f"{value:,}"
        console.print(f"{WORDS[name]:<46}{shown}")


if __name__ == "__main__":
    run_tool(main)
