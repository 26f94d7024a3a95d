"""Pictures, pages and windows of events and trainings. Reads runs and structures; never builds a model."""

from importlib import import_module
from typing import Any

_HOMES = {
    "Scene": "visual.scene.layers",
    "build_scene": "visual.scene.layers",
    "Look": "visual.scene.look",
    "EventSource": "visual.scene.source",
    "open_events": "visual.scene.source",
    "view": "visual.engines",
    "write_pictures": "visual.files",
    "save_view": "visual.files",
    "write_panels": "visual.pictures.panels",
    "draw_training": "visual.plots.training",
    "plot_comparison": "visual.plots.charts",
}
__all__ = list(_HOMES)


def __getattr__(name: str) -> Any:
    # Found on first use: a tool that draws only at its end does not wait for matplotlib at its start.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'visual' has no attribute '{name}'")
