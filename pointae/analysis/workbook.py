"""Tables as a spreadsheet, whose sheets have names that spreadsheets allow."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pointae.optional import require
from pointae.printable import printable
from pointae.storage import write_atomically

LONGEST = 31
"""Characters of a sheet's name."""


def sheet_names(titles: Iterable[str]) -> list[str]:
    """A legal name for each title: at most 31 characters, none of ``[]:*?/\\``, no two alike.

    Spreadsheets do not tell case apart in names, refuse an apostrophe at either end, and keep "History" for
    themselves.
    """
    names: list[str] = []
    taken = {"history"}
    for title in titles:
        clean = re.sub(r"[\[\]:*?/\\\x00-\x1f\ud800-\udfff]", "_", title).strip("' ") or "sheet"
        name, number = clean[:LONGEST].rstrip("' "), 1
        while name.lower() in taken:
            number += 1
            end = f" ({number})"
            name = clean[: LONGEST - len(end)] + end
        taken.add(name.lower())
        names.append(name)
    return names


def write_workbook(path: Path, tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> None:
    """Write a sheet a table, with a bold header that stays in view; numbers stay numbers.

    Raises:
        ComponentError: XlsxWriter is not installed.
        StorageError: it cannot be written.
    """
    xlsxwriter = require("xlsxwriter", extra="xlsx")
    buffer = io.BytesIO()
    # Text is never taken for a formula or a link.
    book = xlsxwriter.Workbook(buffer, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False})
    bold = book.add_format({"bold": True})
    for name, rows in zip(sheet_names(tables), tables.values(), strict=True):
        sheet = book.add_worksheet(name)
        columns = list(dict.fromkeys(key for row in rows for key in row))
        for i, column in enumerate(columns):
            sheet.write_string(0, i, printable(column), bold)
            for line, row in enumerate(rows, start=1):
                sheet.write(line, i, _cell(row.get(column)))
        sheet.freeze_panes(1, 0)
        sheet.autofit()
    book.close()
    write_atomically(path, buffer.getvalue())


def _cell(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return ""
    return value if value is None or isinstance(value, (bool, int, float)) else printable(value)
