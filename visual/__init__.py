"""Pictures, pages and windows of events and trainings. Reads runs and structures; never builds a model."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Scene": "visual.scene",
    "build_scene": "visual.scene",
    "Look": "visual.look",
    "EventSource": "visual.source",
    "open_events": "visual.source",
    "view": "visual.engines",
    "write_pictures": "visual.pictures",
    "save_view": "visual.pictures",
    "write_panels": "visual.panels",
    "draw_training": "visual.training_plots",
    "plot_comparison": "visual.plots",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Found on first use: a tool that draws only at its end does not wait for matplotlib at its start.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'visual' has no attribute '{name}'")
