"""What to do about a file, in words that hold for the tools and for configs."""

from __future__ import annotations


def said(name: str, value: str) -> str:
    """How an option is given a value, in a tool and in a config."""
    return f"--{name.replace('_', '-')} {value}, in a config data.source.{name}: {value}"


def advice_on(name: str, like: str) -> str:
    """What to do about values of a field that are not like they must be."""
    if name in ("coords", *"xyt"):
        return f"bin numbers are {like}"
    if name.startswith("feature "):
        return "name others as features, this column travels along all the same"
    return f"{name} is a field of pointae's and {like}: correct it, or give the column another name if it is yours"
