"""What works here and what would mend the rest: versions, devices, viewers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from pointae.entry import Parser, run_tool
from pointae.terminal import console

if TYPE_CHECKING:
    from pointae.environment import Component

COLOURS = {"ok": "green", "missing": "yellow", "unusable": "red"}


def main(arguments: Sequence[str]) -> None:
    """Look at the installation. Whatever is found, the exit code is 0."""
    parser = Parser("doctor.py", description=__doc__)
    parser.add_argument("--json", action="store_true", help="print one JSON object instead of a table")
    options = parser.parse_intermixed_args(arguments)
    from pointae.environment import check_components

    components = [*check_components(), display_row()]
    if options.json:
        print(json.dumps({"components": [asdict(component) for component in components]}, indent=2))
        return
    for component in components:
        show(component)


def display_row() -> Component:
    """Whether a window can be opened, as a component."""
    from pointae.environment import Component
    from visual.windows.display import display_problem

    problem = display_problem()
    if problem is None:
        return Component("display", "ok", "windows can be opened")
    return Component("display", "missing", f"{problem}; views are written as PNG and HTML")


def show(component: Component) -> None:
    """A line for a component, and one for what mends it."""
    reason = "because " if component.state == "unusable" else ""
    state = (f"{component.state:<10}", COLOURS[component.state])
    console.pieces((f"{component.name:<17}", ""), state, (reason + component.detail, ""))
    if component.fix:
        console.print(f"{'':<27}mend it: {component.fix}", style="dim")


if __name__ == "__main__":
    run_tool(main)
