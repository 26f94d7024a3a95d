"""Numbers of the command line."""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from pointae.argument_types import LARGEST_SEED, real, whole

ODD = [
    "nan", "inf", "-inf", "1e999", "1_0", "１", "٣", "²", "", " 1", "1 ", "0x1", "9" * 5000, "1" * 50_000 + "e",
    "\x1b[31m", "None",
]  # fmt: skip


@pytest.mark.parametrize("text", ODD)
def test_what_is_no_number(text):
    for parse in (whole(), real(), whole(0, LARGEST_SEED)):
        with pytest.raises(ArgumentTypeError, match=r"must be a (whole )?number from") as caught:
            parse(text)
        assert len(str(caught.value)) < 150


def test_numbers_within_bounds():
    assert [whole(1, 5)(text) for text in ("1", "+5", "003")] == [1, 5, 3]
    assert whole(0, LARGEST_SEED)(str(2**63 - 1)) == 2**63 - 1
    assert [real(0, 1)(text) for text in ("0", "1.", ".5", "9.7e-1")] == [0, 1, 0.5, 0.97]
    assert whole()("-7") == -7
    for parse, text in (
        (whole(1, 5), "0"), (whole(1, 5), "6"), (whole(1), "1.0"), (real(0, 1), "2"), (real(0, 1), "-1e-9"),
        (whole(0, LARGEST_SEED), str(2**63)),
    ):  # fmt: skip
        with pytest.raises(ArgumentTypeError):
            parse(text)


def test_every_tool_takes_its_numbers_so():
    """No argument is converted by int or float, which take nan, infinity, 1_0 and digits of any script."""
    taken = re.compile(r"""(type=|"type": )(int|float)\b""")
    sources = [path for folder in ("tools", "pointae") for path in Path(folder).rglob("*.py")]
    assert [path.name for path in sources if taken.search(path.read_text(encoding="utf-8"))] == []
