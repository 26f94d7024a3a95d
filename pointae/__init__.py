"""pointae: sparse point-cloud geometric deep learning for detector hits."""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "HitBatch": "pointae.hits",
    "VoxelBatch": "pointae.voxels",
    "voxelize": "pointae.voxels",
    "DetectorGeometry": "pointae.geometry",
    "torch_geometry": "pointae.geometry",
    "read_hits": "pointae.io",
    "write_hits": "pointae.io",
    "simulate_events": "pointae.simulate",
    "load_config": "pointae.config_files",
    "Denoiser": "pointae.inference",
    "denoise": "pointae.inference",
}
__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    # Found on first use, so that `import pointae` and every --help stay free of torch.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'pointae' has no attribute '{name}'")
