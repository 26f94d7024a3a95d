"""Self-contained pages: one HTML file with its style, scripts, data and pictures; needs no network."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from typing import Any

from pointae.storage import write_atomically

VIEWER = ("decision.js", "viewer.js")
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>@TITLE@</title>
<link rel="icon" href="data:,">
<style>
@STYLE@</style>
<script>
@THEME@</script>
</head>
<body class="@CLASS@">
@BODY@
@VIEWER@
</body>
</html>
"""


def write_html(path: Path, title: str, body: str, scenes: Sequence[Any], css_class: str = "") -> Path:
    """Write a page; its events are drawn into the element of ``body`` whose id is ``viewer``.

    Args:
        path: of the page; the folder is made if need be.
        title: of the page, as text.
        body: HTML, texts escaped.
        scenes: of :func:`~visual.pages.events.scene_content`; without any, nothing is drawn.
        css_class: of the body.

    Raises:
        StorageError: it cannot be written.
    """
    parts = {
        "@TITLE@": escape(title),
        "@STYLE@": _read("style.css"),
        "@THEME@": _read("theme.js"),
        "@CLASS@": css_class,
        "@BODY@": body,
        "@VIEWER@": _viewer(scenes) if scenes else "",
    }
    # In pieces: what one part holds is not searched for the name of another.
    page = _PAGE
    filled = []
    for name, content in parts.items():
        before, _, page = page.partition(name)
        filled += [before, content]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, "".join([*filled, page]).encode())
    return path


def _viewer(scenes: Sequence[Any]) -> str:
    from plotly.offline import get_plotlyjs

    content = json.dumps(scenes, separators=(",", ":"), allow_nan=False)
    # In a script element only "</" could end the data early.
    data = f'<script type="application/json" id="scenes">{content.replace("</", "<" + chr(92) + "/")}</script>'
    scripts = [get_plotlyjs(), *(_read(name) for name in VIEWER)]
    return "\n".join([data, *(f"<script>\n{script}</script>" for script in scripts)])


@cache
def _read(name: str) -> str:
    return files("visual.pages").joinpath("web", name).read_text(encoding="utf-8")
