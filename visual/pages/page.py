"""Self-contained pages: one HTML file with its style, scripts, data and pictures; needs no network."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from pointae.storage import write_atomically

VIEWER = ("decision.js", "viewer.js")


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
    from plotly.offline import get_plotlyjs

    scripts = [get_plotlyjs(), *map(_read, VIEWER)] if scenes else []
    return fill_page(
        "page.html", path, title=title, body=Markup(body), css_class=css_class, scenes=list(scenes),
        style=Markup(_read("style.css")), theme=Markup(_read("theme.js")), scripts=list(map(Markup, scripts)),
    )  # fmt: skip


def fill_page(template: str, path: Path, **parts: Any) -> Path:
    """Write a template of ``web/`` with its parts filled in, in one pass; texts are escaped, ``Markup`` is HTML.

    Data that goes to a script is JSON in an element of its own, in which no ``<`` or ``>`` stands.

    Raises:
        StorageError: it cannot be written.
    """
    page = _environment().get_template(template).render(parts)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Half characters, of file names that are no UTF-8, as their escapes.
    write_atomically(path, page.encode("utf-8", "backslashreplace"))
    return path


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_read),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return environment


@cache
def _read(name: str) -> str:
    return files("visual.pages").joinpath("web", name).read_text(encoding="utf-8")
