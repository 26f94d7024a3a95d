"""Denoise a file with a trained network: python tools/denoise.py runs/latest my_hits.h5 -o clean.h5"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from pointae.argument_types import real
from pointae.entry import Parser, run_tool
from pointae.terminal import console, progress, warn


def main(arguments: Sequence[str]) -> None:
    from pointae.io.arguments import add_reading_arguments, reading_options

    parser = Parser(description="Denoise a file of hits with a trained network.")
    parser.add_argument("run", help="run directory, e.g. runs/latest, or the name of shipped weights")
    parser.add_argument("hits", help="file of hits: .h5 .npz .csv .parquet .pt .npy .tpx3 or a folder of images")
    parser.add_argument("-o", "--out", required=True, help="where to write; the ending chooses the format")
    parser.add_argument("--kept-only", action="store_true", help="leave removed hits out of the file")
    cut = parser.add_mutually_exclusive_group()
    cut.add_argument("--retention", type=real(0, 1), help="share of signal to keep, e.g. 0.99 (default: the run's)")
    cut.add_argument("--threshold", type=real(0, 1), help="keep hits that score at least this instead")
    parser.add_argument("--device", default="auto", choices=["auto", "cpu", "cuda"])
    add_reading_arguments(parser)
    options = parser.parse_intermixed_args(arguments)

    from pointae.io import look_over, output_format
    from pointae.trained import open_trained

    output_format(options.out)
    trained = open_trained(options.run)
    reading = reading_options(options, trained.reading(options.hits), options.run)
    look_over(options.hits, **vars(reading))

    from pointae.inference import Denoiser, denoise_file

    denoiser = Denoiser.of(trained, options.device)
    if options.retention is not None:
        denoiser = denoiser.at_retention(options.retention)
    if options.threshold is not None:
        denoiser = denoiser.at_threshold(options.threshold)
    begin = time.perf_counter()
    with progress(f"denoising {Path(options.hits).name}", None, "events") as advance:
        report = denoise_file(
            denoiser,
            Path(options.hits),
            Path(options.out),
            kept_only=options.kept_only,
            options=reading,
            advance=advance,
        )
    seconds = time.perf_counter() - begin
    for note in report.notes:
        warn(note)
    console.print(
        f"{report.events:,} events, {report.hits:,} hits, {report.kept:,} kept "
        f"(score >= {denoiser.threshold:.3f}) in {seconds:.1f} s: {report.events / seconds:,.0f} events/s"
    )
    console.print(f"saved: {options.out}")


if __name__ == "__main__":
    run_tool(main)
