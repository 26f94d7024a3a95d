"""What a training makes small: the named loss, and what the parts of a model add to it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional

from pointae.config import TrainSettings
from pointae.data.events import Batch
from pointae.losses import Loss, Part, Parts, build_loss, kl_divergence, total
from pointae.losses.latent import kl_weight_at
from pointae.nn.autoencoder import Prediction
from pointae.nn.track_mixture import track_loss
from pointae.tracking.hypotheses import hypotheses_of, to_unit


@dataclass(frozen=True)
class Objective:
    """The loss of a batch, (prediction, batch) -> 0-d.

    Beside the named loss: the Kullback-Leibler divergence of a variational latent (``kl``), the guessed tracks
    (``tracks``), the hits as the encoder judges them (``judged``), how far alignments are from turning (``alignment``).

    Args:
        named: between output and target.
        settings: the train section of the config.
        kl_weight: beta.
    """

    named: Loss
    settings: TrainSettings
    kl_weight: float

    def __call__(self, prediction: Prediction, batch: Batch) -> Tensor:
        return total(self.parts(prediction, batch))

    def parts(self, prediction: Prediction, batch: Batch) -> Parts:
        """All parts by name, raw and scaled."""
        parts = self.named.parts(prediction.output, batch.hits, batch.target)
        latent = prediction.latent
        if latent.mean is not None and latent.log_var is not None:
            free = self.settings.free_bits
            parts["kl"] = Part(kl_divergence(latent.mean, latent.log_var, free), self.kl_weight)
        if prediction.tracks is not None and batch.tracks is not None:
            true = to_unit(hypotheses_of(batch.tracks))
            guessed = track_loss(prediction.tracks, batch.tracks.event, true)
            parts["tracks"] = Part(guessed, self.settings.track_weight)
        if prediction.judged is not None and batch.hits.signal is not None and batch.hits.num_hits:
            signal = batch.hits.signal.to(prediction.judged.dtype)[:, None].expand_as(prediction.judged)
            parts["judged"] = Part(functional.binary_cross_entropy_with_logits(prediction.judged, signal), 1.0)
        if prediction.alignment is not None:
            parts["alignment"] = Part(alignment_error(prediction.alignment), self.settings.alignment_weight)
        return parts

    def at(self, epoch: int) -> Objective:
        """The objective of an epoch, counted from 1: beta where its schedule has it by then."""
        settings = self.settings
        weight = kl_weight_at(epoch, settings.kl_weight, settings.kl_schedule, settings.kl_period)
        return replace(self, kl_weight=weight)


def make_loss(settings: TrainSettings, validation: bool, category_counts: Tensor | None = None) -> Objective:
    """The objective that settings describe, beta at its full weight: the same for every validation.

    Args:
        settings: the train section of the config.
        validation: whether it is of validation events.
        category_counts: of the training events, see :func:`~pointae.losses.build_loss`.
    """
    named = build_loss(settings.validation_loss or settings.loss if validation else settings.loss, category_counts)
    return Objective(named, settings, settings.kl_weight)


def alignment_error(matrix: Tensor) -> Tensor:
    """How far matrices A are from turning only: the mean over events of ``|I - A A^T|^2`` (Qi et al. 2017, 3.3).

    Args:
        matrix: (B, 3, 3).

    Returns:
        0-d; 0 without events.
    """
    identity = torch.eye(3, device=matrix.device, dtype=matrix.dtype)
    return (identity - matrix @ matrix.transpose(1, 2)).square().sum() / max(len(matrix), 1)
