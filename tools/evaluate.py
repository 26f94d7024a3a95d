"""Judge a run on unseen events, beside classical filters: python tools/evaluate.py runs/latest [hits.h5]"""

from __future__ import annotations

from collections.abc import Sequence

from pointae.entry import Parser, run_tool
from pointae.errors import DataError
from pointae.terminal import console, warn


def main(arguments: Sequence[str]) -> None:
    from pointae.io.arguments import add_reading_arguments, reading_options

    parser = Parser(description="Judge a run on unseen events, beside classical filters.")
    parser.add_argument("run", help="run directory, e.g. runs/latest")
    parser.add_argument("hits", nargs="?", help="file of labelled hits (default: the test events of the run's config)")
    parser.add_argument("--json", action="store_true", help="print one JSON object of micro metrics, and nothing else")
    parser.add_argument("--no-baselines", action="store_true", help="judge the network alone")
    add_reading_arguments(parser)
    options = parser.parse_intermixed_args(arguments)

    from pointae.io import look_over, read_hits
    from pointae.runs import RunDirectory
    from pointae.trained import open_trained

    run = RunDirectory.open(options.run)
    trained = open_trained(run.path)
    reading = {}
    if options.hits:
        reading = vars(reading_options(options, trained.reading(options.hits), options.run))
        look_over(options.hits, **reading)

    from pointae.analysis.comparison import judged_table
    from pointae.analysis.evaluation import evaluate_run, save_evaluation
    from pointae.analysis.robots import evaluate_robots
    from pointae.analysis.stages import save_stages
    from pointae.attempts import Attempts
    from pointae.storage import to_json
    from visual.pages.report import Told, write_report

    for note in trained.notes:
        warn(note)
    config, events = trained.config, None
    if options.hits:
        events = read_hits(options.hits, **reading)
    with Attempts() as attempts:
        if config.data.source.kind == "robots":
            robots = evaluate_robots(run, events)
            robots.save(run, config.evaluate.pictures)
            figures, text = robots.figures, str(robots)
        else:
            try:
                evaluation = evaluate_run(run, events, not options.no_baselines, attempts.at)
            except DataError as error:
                raise error.at(options.hits) from None
            save_evaluation(run, evaluation, config.evaluate.pictures)
            with attempts.at("stages"):
                save_stages(run, evaluation, of_config=events is None)
            made = {f"pattern_{name}": value for name, value in evaluation.pattern.items()}
            figures, text = {**evaluation.rows[0].figures, **made}, ""
        judged = judged_table(run)
        page = write_report([Told(run, run.name, judged)], run.path, each=attempts.at)
        if options.json:
            print(to_json(figures), end="")
            return
        if text:
            console.print(*text.splitlines(), sep="\n")
        elif judged is not None:
            judged.show()
        console.print(f"saved: tables in {run.evaluation}, plots in {run.plots}, {page}")


if __name__ == "__main__":
    run_tool(main)
