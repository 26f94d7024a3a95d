"""Freed memory is kept: page faults counted in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from pointae import allocator

STEPS = """
import resource, numpy as np
from pointae.allocator import keep_freed_memory

def step():
    arrays = [np.ones(2_000_000, np.int8) for _ in range(20)]
    del arrays

kept = {keep} and keep_freed_memory()
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(int(kept), resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
on_glibc = pytest.mark.skipif(
    sys.platform != "linux" or not hasattr(os, "confstr") or "glibc" not in (os.confstr("CS_GNU_LIBC_VERSION") or ""),
    reason="glibc alone",
)


def faults(keep: bool, **environment: str) -> tuple[bool, int]:
    env = {name: value for name, value in os.environ.items() if name not in allocator._SAID_BY_USER}
    done = subprocess.run(
        [sys.executable, "-c", STEPS.format(keep=keep)],
        env={**env, **environment}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    kept, count = done.stdout.split()
    return kept == "1", int(count)


@on_glibc
def test_steps_fetch_no_page_anew():
    kept, few = faults(True)
    _, many = faults(False)
    assert kept
    assert many > 10_000  # 400 MB of pages of 4 KB are 97,656
    assert few < many / 20


@on_glibc
def test_what_the_environment_says_stays():
    kept, count = faults(True, MALLOC_TRIM_THRESHOLD_="131072")
    assert not kept
    assert count > 10_000


def test_without_glibc_nothing_is_asked(monkeypatch):
    monkeypatch.setattr(allocator.sys, "platform", "win32")
    assert allocator.keep_freed_memory() is False


FREED = """
import numpy as np
from pointae.allocator import give_back_freed_memory
from pointae.benchmark.loading import resident_mb

arrays = [np.ones(100_000, np.int8) for _ in range(2000)]
last = arrays[-1]
del arrays
before = resident_mb()
assert give_back_freed_memory()
print(before - resident_mb())
"""


@on_glibc
def test_what_was_freed_goes_back():
    environment = {**os.environ, "MALLOC_MMAP_THRESHOLD_": "1000000", "MALLOC_TRIM_THRESHOLD_": "1000000000"}
    done = subprocess.run([sys.executable, "-c", FREED], env=environment, capture_output=True, text=True, check=True)
    assert float(done.stdout) > 150


def test_elsewhere_nothing_is_given_back(monkeypatch):
    monkeypatch.setattr(sys, "platform", "win32")
    assert not allocator.give_back_freed_memory()
