"""The page of a sweep: parallel coordinates, importances, scores in order, and the ranking; self-contained."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.storage import write_atomically
from visual.colours import BLUE, GREY, INK, VERMILLION
from visual.plots.sweep import Coordinate, best_so_far, coordinates

Row = Mapping[str, Any]
_STYLE = """
body { margin: 0 auto; max-width: 1200px; padding: 18px 26px; background: #fff; color: #333;
       font: 15px system-ui, "DejaVu Sans", sans-serif; }
h1 { font-size: 21px; margin: 6px 0; } h2 { font-size: 17px; margin: 26px 0 4px; } p { color: #555; margin: 4px 0; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: 13px; } th, td { padding: 4px 10px; border-bottom: 1px solid #e0e0e0;
       text-align: right; white-space: nowrap; } th { background: #f6f6f6; position: sticky; top: 0; }
"""
_LAYOUT: dict[str, Any] = {
    "font": {"color": INK, "size": 13, "family": 'system-ui, "DejaVu Sans", sans-serif'},
    "plot_bgcolor": "#fff", "paper_bgcolor": "#fff",
}  # fmt: skip


def write_sweep_page(
    rows: Sequence[Row], keys: Sequence[str], logarithmic: Sequence[str], importances: Mapping[str, float],
    score: str, path: Path, title: str,
) -> Path:  # fmt: skip
    """Write the page of a sweep.

    Args:
        rows: of the ranking: ``rank``, ``trial``, ``state``, ``score`` and a column a searched key.
        keys: the searched keys.
        logarithmic: those of them that have a logarithmic axis.
        importances: share of each key, largest first.
        score: what the score is, in words.
        path: of the HTML file.
        title: of the page.

    Raises:
        StorageError: it cannot be written.
    """
    from plotly.offline import get_plotlyjs

    done = [row for row in rows if row["state"] == "complete"]
    parts = [f"<h1>{html.escape(title)}</h1><p>{html.escape(_summary(rows, score))}</p>"]
    if done:
        parts.append("<h2>Parallel coordinates</h2><p>A line a trial that was trained to its end, dark where it is "
                     "good. Drag along an axis to choose lines, drag an axis to move it.</p>")  # fmt: skip
        parts.append(_drawn(_parallel(rows, keys, logarithmic)))
        parts.append("<h2>Importance of each parameter</h2>")
        parts.append(_drawn(_bars(importances)) if importances else "<p>Too few trials to tell.</p>")
        parts.append("<h2>Scores in order of the trials</h2>")
        parts.append(_drawn(_history(rows)))
    parts.append(f"<h2>Ranking</h2><div class='wide'>{_table(rows)}</div>")
    page = (
        f"<!DOCTYPE html>\n<html lang='en'><head><meta charset='utf-8'><title>{html.escape(title)}</title>"
        f"<link rel='icon' href='data:,'><style>{_STYLE}</style><script>{get_plotlyjs()}</script></head>"
        f"<body>{''.join(parts)}</body></html>\n"
    )
    write_atomically(path, page.encode("utf-8", "backslashreplace"))
    return path


def _summary(rows: Sequence[Row], score: str) -> str:
    counts = [f"{sum(row['state'] == state for row in rows)} {state}" for state in ("complete", "pruned", "failed")]
    return f"{len(rows)} trials: {', '.join(counts)}. Score: {score}; lower is better."


def _parallel(rows: Sequence[Row], keys: Sequence[str], logarithmic: Sequence[str]) -> Any:
    from plotly import graph_objects

    axes = coordinates(rows, keys, logarithmic)
    lines = graph_objects.Parcoords(
        line={"color": axes[0].places, "colorscale": "Viridis", "showscale": True,
              "colorbar": {"title": {"text": "score"}}},
        dimensions=[_dimension(axis) for axis in axes], labelangle=-20, labelside="top",
    )  # fmt: skip
    figure = graph_objects.Figure(lines)
    figure.update_layout(**_LAYOUT, height=470, margin={"l": 70, "r": 30, "t": 120, "b": 30})
    return figure


def _dimension(axis: Coordinate) -> dict[str, Any]:
    low, high = axis.ends
    # Room above the last value, where the axis' name begins. Texts at its ticks plotly takes as they are.
    return {"label": _literal(axis.name), "values": axis.places, "range": [low, high + 0.08 * (high - low)],
            "tickvals": [place for place, _ in axis.marks],
            "ticktext": [text for _, text in axis.marks]}  # fmt: skip


def _literal(text: str) -> str:
    return html.escape(text, quote=False)  # plotly takes some HTML in its texts


def _bars(importances: Mapping[str, float]) -> Any:
    from plotly import graph_objects

    keys, shares = (
        [_literal(key) for key in importances][::-1],
        [100 * value for value in importances.values()][::-1],
    )
    bars = graph_objects.Bar(
        x=shares, y=keys, orientation="h", marker_color=BLUE, text=[f"{share:.0f} %" for share in shares],
        textposition="outside", cliponaxis=False,
    )  # fmt: skip
    figure = graph_objects.Figure(bars)
    figure.update_layout(
        **_LAYOUT, height=110 + 34 * len(keys), margin={"l": 10, "r": 60, "t": 10, "b": 50},
        xaxis={"title": "share of the score's variance [%]", "gridcolor": "#e6e6e6", "rangemode": "tozero"},
        yaxis={"automargin": True, "ticksuffix": "  "},
    )  # fmt: skip
    return figure


def _history(rows: Sequence[Row]) -> Any:
    from plotly import graph_objects

    looks = {"complete": (BLUE, "circle"), "pruned": (GREY, "circle-open")}
    figure = graph_objects.Figure()
    for state, (colour, symbol) in looks.items():
        own = [row for row in rows if row["state"] == state and row["score"] != ""]
        figure.add_scatter(
            x=[row["trial"] for row in own], y=[row["score"] for row in own], mode="markers", name=state,
            marker={"color": colour, "symbol": symbol, "size": 9},
        )  # fmt: skip
    trials, best = best_so_far(rows)
    figure.add_scatter(
        x=trials, y=best, mode="lines", name="best so far",
        line={"color": VERMILLION, "shape": "hv", "width": 2},
    )  # fmt: skip
    figure.update_layout(
        **_LAYOUT, height=340, margin={"l": 10, "r": 20, "t": 30, "b": 50}, showlegend=True,
        legend={"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        xaxis={"title": "trial", "gridcolor": "#e6e6e6", "tickformat": "d"},
        yaxis={"title": "score", "gridcolor": "#e6e6e6", "automargin": True},
    )  # fmt: skip
    return figure


def _drawn(figure: Any) -> str:
    return str(figure.to_html(full_html=False, include_plotlyjs=False, config={"displayModeBar": False}))


def _table(rows: Sequence[Row]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    columns = [name for name in columns if any(row.get(name, "") != "" for row in rows)]
    head = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(_cell(row.get(name, '')))}</td>" for name in columns) + "</tr>"
        for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if type(value) is int else str(value)
