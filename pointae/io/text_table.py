"""Tables of text under other endings than ``.csv``: read by :mod:`pointae.io.csv_table`, not written."""

from __future__ import annotations

from pointae.io.csv_table import attributes, blocks, read, users

__all__ = ["attributes", "blocks", "read", "users"]
