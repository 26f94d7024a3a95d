"""Where numba keeps what it compiled."""

from __future__ import annotations

import importlib
import sys

import pytest

from pointae.optional import compiled_loops, listen

pytest.importorskip("numba")


def test_compiled_loops_are_made_again_when_what_they_call_has_changed(tmp_path, monkeypatch):
    package = tmp_path / "loops_of_a_test"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "loops.py").write_text(
        "from numba import njit\nfrom loops_of_a_test.numbers import add\n\n"
        "@njit(cache=True)\ndef f(x):\n    return add(x)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    answers, told = [], []
    monkeypatch.setattr("pointae.optional._listeners", [])
    listen(told.append)
    for number in (2, 3):
        (package / "numbers.py").write_text(f"from numba import njit\n\n@njit\ndef add(x):\n    return x + {number}\n")
        for name in [name for name in sys.modules if name.startswith("loops_of_a_test")]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        compiled_loops.cache_clear()
        loops, _ = compiled_loops("loops_of_a_test.loops", "loops_of_a_test")
        answers.append(loops.f(1))
        compiled_loops.cache_clear()
        compiled_loops("loops_of_a_test.loops", "loops_of_a_test")  # now it is in the cache
    compiled_loops.cache_clear()
    assert answers == [3, 4]
    assert len(told) == 2
    assert all("compiled" in note for note in told)
    assert len(list(package.glob("__pycache__/loops-*"))) == 2
