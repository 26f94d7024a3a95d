"""Order of whole numbers against numpy, by compiled loops and by torch alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pointae import ordering
from pointae.optional import compiled_loops

LOOPS, WHY_NOT = compiled_loops(ordering.LOOPS)
needs_loops = pytest.mark.skipif(LOOPS is None, reason=WHY_NOT)
LARGEST = torch.iinfo(torch.int64).max
BOUNDS = {"few": (0, 7), "one": (5, 6), "cells": (0, 3_000_000), "any": (-LARGEST - 1, LARGEST), "negative": (-40, -3)}


@pytest.fixture(params=["torch alone", pytest.param("compiled loops", marks=needs_loops)], autouse=True)
def way(request, monkeypatch) -> None:
    loops = LOOPS if request.param == "compiled loops" else None
    monkeypatch.setattr("pointae.ordering.loops_for", lambda keys, numbers=None: loops)


@pytest.mark.parametrize("length", [0, 1, 2, 5000])
@pytest.mark.parametrize("bounds", BOUNDS.values(), ids=BOUNDS)
def test_order_and_what_is_the_same(length, bounds):
    keys = torch.randint(*bounds, (length,), generator=torch.Generator().manual_seed(length))
    assert np.array_equal(ordering.stable_order(keys), np.argsort(keys.numpy(), kind="stable"))
    _, first, number_of = np.unique(keys.numpy(), return_index=True, return_inverse=True)
    ours = ordering.distinct(keys)
    assert np.array_equal(ours[0], first)
    assert np.array_equal(ours[1], number_of)


def test_numbers_that_are_not_side_by_side_in_memory():
    keys = torch.randint(50, (3000, 2), generator=torch.Generator().manual_seed(1))[:, 1]
    assert torch.equal(ordering.stable_order(keys), torch.argsort(keys.clone(), stable=True))


@needs_loops
def test_loops_are_for_many_numbers(monkeypatch):
    monkeypatch.undo()
    assert ordering.loops_for(torch.zeros(ordering.WORTH, dtype=torch.int64)) is LOOPS
    assert ordering.loops_for(torch.zeros(ordering.WORTH - 1, dtype=torch.int64)) is None


@pytest.mark.parametrize("counts", [[], [0, 0], [3, 0, 2, 1], [0, 1500, 0, 700]], ids=str)
def test_things_of_owners_are_numbered(counts):
    rows, numbers = ordering.numbered(torch.tensor(counts, dtype=torch.int64))
    assert rows.tolist() == [row for row, count in enumerate(counts) for _ in range(count)]
    assert numbers.tolist() == [number for count in counts for number in range(count)]
