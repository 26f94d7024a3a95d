"""The engines of sparse convolution by name, and the levels of a batch built with one."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from pointae.errors import ComponentError, ConfigError, unknown_name
from pointae.nn.loops import LOOPS
from pointae.nn.sparse.dense_engine import DenseLevel
from pointae.nn.sparse.levels import Coarsening, Level
from pointae.nn.sparse.spconv_engine import SpconvLevel
from pointae.nn.sparse.torch_engine import TorchLevel
from pointae.optional import compiled_loops, require
from pointae.voxels import Triple, VoxelBatch

ENGINES: dict[str, type[Level]] = {"torch": TorchLevel, "spconv": SpconvLevel, "dense": DenseLevel}
"""Engines known by name; naming one imports nothing."""

SPCONV_PRECISION = "bf16 is unknown to it: its convolutions use fp32 instead"
"""Said wherever spconv is taken."""


def resolve_engine(name: str) -> tuple[str, str]:
    """The engine to use and why.

    Args:
        name: ``"auto"`` or a key of :data:`ENGINES`.

    Returns:
        A key of :data:`ENGINES`, and the reason in words.

    Raises:
        ComponentError: an engine that was asked for by name cannot run here.
        ConfigError: no engine of that name.
    """
    if name == "auto":
        if not torch.cuda.is_available():
            return "torch", f"auto: no CUDA device; {compiled_loops(*LOOPS)[1]}"
        try:
            require("spconv.pytorch", extra="gpu")
        except ComponentError as error:
            return "torch", f"auto: {error}"
        return "spconv", f"auto: CUDA device and spconv present; {SPCONV_PRECISION}"
    if name not in ENGINES:
        raise unknown_name("sparse engine", name, ["auto", *ENGINES])
    if name == "spconv":
        require("spconv.pytorch", extra="gpu")
        return name, f"named in the settings; {SPCONV_PRECISION}"
    if name == "torch":
        return name, f"named in the settings; {compiled_loops(*LOOPS)[1]}"
    return name, "named in the settings"


def build_levels(
    engine: str,
    voxels: VoxelBatch,
    ratios: Sequence[Triple] = (),
    kernel_size: Triple = (3, 3, 3),
    dilation: Triple = (1, 1, 1),
) -> list[Level]:
    """The levels of a batch, finest first, for all layers of a network.

    Args:
        engine: a key of :data:`ENGINES`.
        voxels: M voxels of the finest level.
        ratios: of each level to the next; one level more than ratios is built.
        kernel_size: of the submanifold convolutions, odd along each axis.
        dilation: voxels from one place of their kernel to the next.

    Raises:
        ConfigError: an unknown engine or an even kernel.
    """
    if engine not in ENGINES:
        raise unknown_name("sparse engine", engine, ENGINES)
    if any(size % 2 == 0 for size in kernel_size):
        raise ConfigError(f"a submanifold kernel needs a centre: odd sizes, got {kernel_size}")
    indices, shape = voxels.indices, voxels.spatial_shape
    levels = []
    for ratio in ratios:
        coarsening = Coarsening.build(indices, shape, ratio)
        levels.append(ENGINES[engine](indices, shape, voxels.batch_size, kernel_size, dilation, coarsening))
        indices, shape = coarsening.indices, coarsening.spatial_shape
    levels.append(ENGINES[engine](indices, shape, voxels.batch_size, kernel_size, dilation, None))
    return levels
