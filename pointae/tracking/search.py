"""The search for the tracks of an event: many starts, few survivors, from coarse to fine."""

from __future__ import annotations

import torch
from torch import Tensor

from pointae.tracking.fit import COARSE, EXACT, FINE, MIDDLE, apart, best, explained, gauss_newton
from pointae.tracking.hough import starts
from pointae.tracking.paths import LightHits

_VOTING, _FITTING = (48, 128), (80, 320)
"""Fewest and most hits that vote for starts, and that are fitted."""
_FOR_VOTE, _FOR_FIT = 0.8, 1.2
"""Hits for each unit of weight."""
_TEMPER = 0.4
"""Power of the odds that a hit is signal: its score and the fit rest on the same positions, so neither counts whole."""
_ROUNDS = 3
_STARTS, _PROMISING, _GOOD = 512, 96, 32


def fit_weights(logits: Tensor) -> Tensor:
    """What hits weigh in the fit, in (0, 1), from the logits of their being signal."""
    return (_TEMPER * logits).sigmoid()


def search(
    hits: LightHits, weights: Tensor, guesses: Tensor, number: int, known: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Hypotheses that explain an event's hits.

    In the first round hits count by their weight, then by what the tracks found so far leave unexplained, so that
    weaker tracks are found beside stronger ones. All that was found stays a candidate: a track that took another's
    hits goes when that one comes.

    Args:
        hits: L hits of each of B events, in order of falling weight.
        weights: (B, L), of :func:`fit_weights`; 0 where there is no hit.
        guesses: (B, P, 5), rough hypotheses; each round starts from others.
        number: H, of tracks that are told apart.
        known: (B, H', 5), hypotheses that were found before.

    Returns:
        Hypotheses (B, H, 5), the one that explains most first, and the support (B, H) that each adds.
    """
    fitted, likely = _most_likely(hits, weights, _FOR_FIT, *_FITTING)
    left, remaining, found = hits, weights, guesses[:, :0]
    pool = found if known is None else known
    for turn in range(_ROUNDS):
        pool = torch.cat([pool, found, _candidates(left, remaining, guesses[:, turn::_ROUNDS])], 1)
        wanted = number if turn == _ROUNDS - 1 else -(-number // 2)
        found, _ = apart(fitted, likely, pool, EXACT, wanted)
        for _ in range(3):
            found = gauss_newton(fitted, likely, found, EXACT, together=True)
        left, remaining = reorder(hits, weights / (1 + explained(hits, found, EXACT).sum(1)))
    return apart(fitted, likely, found, EXACT, number)


def reorder(hits: LightHits, weights: Tensor) -> tuple[LightHits, Tensor]:
    """Hits and their weights (B, L) in order of falling weight."""
    order = torch.argsort(weights, dim=1, descending=True, stable=True)
    return LightHits(*(value.gather(1, order) for value in vars(hits).values())), weights.gather(1, order)


def _candidates(hits: LightHits, weights: Tensor, guesses: Tensor) -> Tensor:
    """(B, H, 5) from many starts, few survivors, from coarse to fine."""
    voting, votes = _most_likely(hits, weights, _FOR_VOTE, *_VOTING)
    fitted, weights = _most_likely(hits, weights, _FOR_FIT, *_FITTING)
    found = starts(voting, votes, guesses, _STARTS)
    found = best(voting, votes, found, COARSE, _PROMISING)
    found = gauss_newton(voting, votes, found, COARSE)
    for _ in range(2):
        found = gauss_newton(voting, votes, found, MIDDLE)
    found, _ = apart(fitted, weights, found, MIDDLE, _GOOD)
    for _ in range(2):
        found = gauss_newton(fitted, weights, found, FINE)
    return gauss_newton(fitted, weights, found, EXACT)


def _most_likely(hits: LightHits, weights: Tensor, share: float, least: int, most: int) -> tuple[LightHits, Tensor]:
    """The first hits of each event, as many as its own weight asks for; the rest of the columns weigh nothing."""
    number = (share * weights.sum(1)).round().clamp(least, most)
    length = min(int(number.max()), weights.shape[1])
    place = torch.arange(length, device=weights.device)
    return hits.columns(length), weights[:, :length] * (place < number[:, None])
