"""The loss of a set that is told one hit after another."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from pointae.hits import HitBatch
from pointae.losses.categories import CategoryWeights, category_error
from pointae.losses.cells import misfit, widen
from pointae.losses.elementwise import Weight
from pointae.losses.parts import Part, Parts, summed
from pointae.nn.outputs import CellSequence, Output


@summed
def sequence(
    output: Output,
    hits: HitBatch,
    target: HitBatch,
    *,
    position_weight: Weight = 1.0,
    presence_weight: Weight = 1.0,
    category_weight: Weight = 1.0,
    category_weights: CategoryWeights = None,
) -> Parts:
    """Negative log-likelihood of the true set, in nats an event: the sum over the steps that tell it.

    With all weights 1 this and the Kullback-Leibler divergence of the latent are the evidence lower
    bound, so that ``train.kl_weight`` is beta in the sense of Higgins et al. 2017. The order of
    the hits is the decoder's, so that of the batch does not matter; 0 where the true hits are certain.

    Args:
        output: CellSequence of B events.
        hits: the network's input, whose signal was told to the decoder.
        target: the same hits; not used.
        position_weight, presence_weight, category_weight: of the cells, of whether there is another
            hit, of the kinds.
        category_weights: what an error of each kind counts.

    Returns:
        0-d, at least float32; ``.parts`` gives its three parts.

    Raises:
        ConfigError: the output is not a CellSequence.
        DataError: a category outside 1..Q.
    """
    if not isinstance(output, CellSequence):
        raise misfit("sequence", output, (CellSequence,))
    told, events = output.told, max(len(output.presence), 1)
    logits = widen(told.presence)
    presence = functional.binary_cross_entropy_with_logits(logits, told.present.to(logits), reduction="sum")
    parts = {
        "position": Part(_mean(-widen(told.position), events), position_weight),
        "presence": Part(presence / events, presence_weight),
    }
    if told.categories.shape[1] and bool(told.category.any()):
        errors = category_error(widen(told.categories), told.category, category_weights)
        parts["category"] = Part(_mean(errors, events), category_weight)
    return parts


def _mean(values: Tensor, events: int) -> Tensor:
    return values.sum() / events
