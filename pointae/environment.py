"""What this installation runs on: versions, hardware, and which components work here."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Literal

from pointae.errors import ComponentError
from pointae.optional import require

PACKAGES = (
    "pointae", "torch", "torch-geometric", "numpy", "scipy", "scikit-learn", "h5py", "pydantic", "safetensors",
    "torchmetrics", "matplotlib", "plotly", "numba", "spconv-cu120", "spconv-cu126", "open3d", "pyvista",
    "optuna", "umap-learn",
)  # fmt: skip
"""Distributions whose versions a run keeps, where they are installed."""
IMPORTED = {
    "torch-geometric": ("torch_geometric", "core"),
    "numba": ("numba", "fast"),
    "spconv": ("spconv.pytorch", "gpu126" if sys.version_info >= (3, 12) else "gpu"),
    "open3d": ("open3d", "open3d"),
    "pyvista": ("pyvista", "view"),
    "plotly": ("plotly", "core"),
}
"""Module and extra of each component that is looked at by importing it."""
IMPORT_LIMIT_S = 120.0
_CUDA_TORCH = "pip install --force-reinstall torch --index-url https://download.pytorch.org/whl/cu126"


@dataclass(frozen=True)
class Component:
    """How one component stands.

    Args:
        name: what it is.
        state: ``"unusable"`` is there but does not work.
        detail: its version or size, or why not.
        fix: what mends it.
    """

    name: str
    state: Literal["ok", "missing", "unusable"]
    detail: str
    fix: str | None = None


def gather_environment() -> dict[str, Any]:
    """Versions and hardware as a run keeps them: plain values that go into JSON; no host or user names."""
    import torch

    cuda = torch.cuda.is_available()
    return {
        "python": platform.python_version(),
        "system": system_name(),
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": memory_gib(),
        "torch_threads": torch.get_num_threads(),
        "cuda": torch.version.cuda,
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())] if cuda else [],
        "packages": {name: version for name in PACKAGES if (version := version_of(name)) is not None},
    }


def check_components() -> list[Component]:
    """Look at python, torch, its devices and every optional component.

    Each is imported in a process of its own, so that one that ends its process is told like any other.
    """
    with ThreadPoolExecutor(max_workers=2) as pool:
        torch_rows = pool.submit(_in_child, "torch")
        rows = [pool.submit(_in_child, name) for name in IMPORTED]
        return [*_here(), *torch_rows.result(), *(row for found in rows for row in found.result())]


def check(name: str) -> list[Component]:
    """Look at one component in this process: ``"torch"`` (and its devices) or one of :data:`IMPORTED`."""
    try:
        return _torch_rows() if name == "torch" else [_imported(name)]
    except ComponentError as error:
        missing = error.what.endswith("is not installed")
        return [Component(name, "missing" if missing else "unusable", error.what, error.fix)]


def version_of(distribution: str) -> str | None:
    """Version of an installed distribution; ``None`` if it is not installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def system_name() -> str:
    """Operating system and its version."""
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, AttributeError, KeyError):
        return platform.platform(terse=True)


def _in_child(name: str) -> list[Component]:
    code = (
        "import json, sys; from dataclasses import asdict; from pointae.environment import check; "
        "print('\\n' + json.dumps([asdict(row) for row in check(sys.argv[1])]))"
    )
    command = [sys.executable, "-c", code, name]
    try:
        child = subprocess.run(command, capture_output=True, text=True, timeout=IMPORT_LIMIT_S, check=False)
    except subprocess.TimeoutExpired:
        return [Component(name, "unusable", f"does not load within {IMPORT_LIMIT_S:.0f} s")]
    if child.returncode:
        last = (child.stderr.strip().splitlines() or [""])[-1]
        return [Component(name, "unusable", f"ends its process with status {child.returncode}: {last}".rstrip(": "))]
    return [Component(**row) for row in json.loads(child.stdout.splitlines()[-1])]


def _here() -> list[Component]:
    fits = (3, 10) <= sys.version_info < (3, 14)
    python = Component("python", "ok", platform.python_version())
    if not fits:
        detail = f"{platform.python_version()} is not one of 3.10 to 3.13"
        python = Component("python", "unusable", detail, "conda env create -f environment.yml")
    return [
        python,
        Component("system", "ok", f"{system_name()}, {platform.machine()}"),
        Component("processor", "ok", _processor_row()),
        Component("pointae", "ok", version_of("pointae") or "not installed: run from its source"),
    ]


def _imported(name: str) -> Component:
    module, extra = IMPORTED[name]
    require(module, extra=extra)
    version = getattr(sys.modules[module.split(".")[0]], "__version__", None)
    return Component(name, "ok", str(version or version_of(name) or "installed"))


def _torch_rows() -> list[Component]:
    torch = require("torch", extra="core")
    rows = [Component("torch", "ok", f"{torch.__version__}, {torch.get_num_threads()} threads"), _cuda(torch)]
    if rows[1].state == "ok":
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        where = "on the GPU"
    else:
        native = getattr(torch.cpu, "_is_avx512_bf16_supported", bool)() or platform.machine() == "arm64"
        where = "on the processor"
    if native:
        return [*rows, Component("bf16", "ok", where)]
    detail = f"computed in software {where}, slower than fp32"
    return [*rows, Component("bf16", "unusable", detail, "train.precision=fp32")]


def _cuda(torch: Any) -> Component:
    if torch.cuda.is_available():
        found = torch.cuda.get_device_properties(0)
        others = torch.cuda.device_count() - 1
        detail = f"{found.name}, {found.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"
        return Component("cuda", "ok", detail + (f", and {others} more" if others else ""))
    if not _has_nvidia_device():
        return Component("cuda", "missing", "no NVIDIA GPU here; everything runs on the processor")
    if torch.version.cuda is None:
        return Component(
            "cuda", "unusable", "there is an NVIDIA GPU, but this torch is built without CUDA", _CUDA_TORCH
        )
    detail = f"torch for CUDA {torch.version.cuda} cannot use the NVIDIA GPU: the driver is too old or not loaded"
    return Component(
        "cuda", "unusable", detail, "update the driver, or install the torch that nvidia-smi's CUDA allows"
    )


def _has_nvidia_device() -> bool:
    import shutil

    return os.path.exists("/dev/nvidiactl") or shutil.which("nvidia-smi") is not None


def _processor_row() -> str:
    memory = memory_gib()
    size = f", {memory:.0f} GiB of memory" if memory else ""
    return f"{_processor()}, {os.cpu_count()} cores{size}"


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # Not Linux: the standard library knows.
    return platform.processor() or platform.machine()


def memory_gib() -> float | None:
    """Memory of this machine, in GiB; ``None`` where the system does not tell."""
    try:
        return round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (AttributeError, ValueError, OSError):
        return None  # Windows has no sysconf.
