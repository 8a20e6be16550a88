"""Rows of integers in PostgreSQL's binary format of COPY, to and from NumPy's columns.

What lives here: the format. What must not: what any column means. Every row is as long as the next, so a million of
them are one array whose fields are the columns: nothing is done row by row, and other threads run meanwhile.
"""

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

# Signature, flags, and the length of an extension that there is none of.
_HEADER: Final = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_TRAILER: Final = b"\xff\xff"


def columns_of(text: bytes | bytearray, **sizes: int) -> dict[str, NDArray[Any]]:
    """The columns of what COPY wrote: `sizes` are their names and widths in bytes, in order.

    No value may be null. Raises ValueError for anything else than such rows.
    """
    row = _row_type(sizes)
    count, rest = divmod(len(text) - len(_HEADER) - len(_TRAILER), row.itemsize)
    if rest or not text.startswith(_HEADER) or not text.endswith(_TRAILER):
        raise ValueError("the server wrote no rows of these columns")
    rows = np.frombuffer(text, row, count, len(_HEADER))
    if any((rows[f"{name} size"] != size).any() for name, size in sizes.items()):
        raise ValueError("a value is null, or of another size")
    return {name: rows[name].astype(f"i{size}") for name, size in sizes.items()}


def rows_of(**columns: NDArray[Any]) -> memoryview:
    """What COPY reads as these columns of integers, each as wide as its type in the table; bytes."""
    first = next(iter(columns.values()))
    row = _row_type({name: column.itemsize for name, column in columns.items()})
    end = len(_HEADER) + len(first) * row.itemsize
    text = np.empty(end + len(_TRAILER), np.uint8)
    text[: len(_HEADER)] = np.frombuffer(_HEADER, np.uint8)
    text[end:] = np.frombuffer(_TRAILER, np.uint8)
    rows = text[len(_HEADER) : end].view(row)
    rows["fields"] = len(columns)
    for name, column in columns.items():
        rows[f"{name} size"] = column.itemsize
        rows[name] = column
    return text.data


def _row_type(sizes: dict[str, int]) -> "np.dtype[Any]":
    """A row: the number of its fields, then each with its length before it, the most significant byte first."""
    fields = [("fields", ">i2")]
    for name, size in sizes.items():
        fields += [(f"{name} size", ">i4"), (name, f">i{size}")]
    return np.dtype(fields)
