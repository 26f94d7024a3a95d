"""Which device and which arithmetic a run really uses, and why not the one that was asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import torch

from pointae.errors import ComponentError

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Precision:
    """Device and arithmetic of a run.

    Args:
        device: where the model and the batches live.
        name: fp32, bf16, fp16 or fp64.
        note: what was used instead of what, if anything; for the log.
    """

    device: torch.device
    name: str
    note: str = ""

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights: half precision is used for arithmetic only."""
        return torch.float64 if self.name == "fp64" else torch.float32

    def autocast(self) -> AbstractContextManager[object]:
        """Context for a forward pass."""
        if self.name in HALF:
            return torch.autocast(self.device.type, HALF[self.name])
        return nullcontext()

    def scaler(self) -> torch.amp.GradScaler:
        """Loss scaler; does nothing unless the precision is fp16."""
        return torch.amp.GradScaler(self.device.type, enabled=self.name == "fp16")


def choose_precision(device: str, precision: str) -> Precision:
    """The device and arithmetic that this machine can run.

    Args:
        device: ``"auto"``, ``"cpu"`` or ``"cuda"``.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or ``"fp64"``.

    Raises:
        ComponentError: CUDA was asked for by name and is not there.
    """
    has_cuda = torch.cuda.is_available()
    if device == "cuda" and not has_cuda:
        raise ComponentError("no CUDA device was found", where="train.device", fix="use train.device=cpu or auto")
    chosen = torch.device("cuda" if has_cuda and device != "cpu" else "cpu")
    if precision == "bf16" and not _runs_bf16(chosen):
        return Precision(chosen, "fp32", f"bf16 is slow or absent on this {chosen.type}: fp32 is used instead")
    if precision == "fp16" and chosen.type == "cpu":
        instead = "bf16" if _runs_bf16(chosen) else "fp32"
        return Precision(chosen, instead, f"fp16 does not train on a CPU: {instead} is used instead")
    return Precision(chosen, precision)


def _runs_bf16(device: torch.device) -> bool:
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported()
    # Without these instructions a CPU emulates bf16 several times slower than fp32. The probes
    # are private to torch: where they are missing, bf16 is not taken.
    probes = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return any(probe is not None and probe() for probe in probes)
