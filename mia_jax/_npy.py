"""Parts of `.npy` files: bytes to write, and reads of some rows and columns.

Reads go to the file (`preadv`), not through a memory map, whose pages would count as
memory of the process: a pass over all predictions stays within two slabs.
"""

import contextlib
import hashlib
import io
import math
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import numpy as np

from mia_jax import _files, validate

_HASH_CHUNK = 1 << 20


def is_storable(array: np.ndarray) -> bool:
    """Whether `np.load` gives the array back: not for objects and bfloat16."""
    dtype = array.dtype
    return not dtype.hasobject and np.dtype(dtype.str) == dtype


def to_bytes(array: np.ndarray) -> tuple[bytes, memoryview]:
    """Header and data of the `.npy` file of a storable array, as `np.save` writes."""
    array = np.ascontiguousarray(array)
    header = io.BytesIO()
    fields = np.lib.format.header_data_from_array_1_0(array)
    np.lib.format.write_array_header_1_0(header, fields)
    return header.getvalue(), memoryview(_raw(array))


@contextlib.contextmanager
def writing(
    path: pathlib.Path, shape: tuple[int, ...], dtype: np.dtype
) -> Iterator[np.ndarray]:
    """An array on disk to be filled part by part; gets its name when all is done."""
    temp = _files.temporary(path)
    try:
        out = np.lib.format.open_memmap(temp, mode="w+", dtype=dtype, shape=shape)
        yield out
        out.flush()
        os.replace(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def _raw(array: np.ndarray) -> np.ndarray:
    """The bytes of a contiguous array, shared: a memoryview takes no text or empty."""
    return array.reshape(-1).view(np.uint8)


def sha256(path: pathlib.Path) -> str:
    """Hexadecimal sha256 of a file, read in pieces."""
    found = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(_HASH_CHUNK):
            found.update(chunk)
    return found.hexdigest()


def damaged(path: pathlib.Path, how: str) -> validate.InputError:
    """The error of a data file that is not what its manifest says."""
    return validate.InputError(
        f"{path} is damaged: {how}",
        "a committed file never changes",
        "delete it and run the training again: it does the missing groups",
    )


def read(
    path: pathlib.Path,
    entry: dict[str, Any],
    rows: slice | Sequence[int] | None,
    columns: slice,
) -> np.ndarray:
    """Reads rows and columns of a `.npy` file in C order.

    Args:
      path: the file.
      entry: its "bytes", "shape" and "dtype", from the manifest.
      rows: positions along the first axis; None = all.
      columns: slice of step 1 along the second axis.

    Returns:
      [rows, columns, ...], writable.

    Raises:
      validate.InputError: columns with a step, or the file is cut short.
    """
    shape, dtype = tuple(entry["shape"]), np.dtype(entry["dtype"])
    wide = shape if len(shape) > 1 else (*shape, 1)
    start, stop, step = columns.indices(wide[1])
    validate.require(
        step == 1 and (len(shape) > 1 or (start, stop) == (0, 1)),
        f"columns={columns} of an array of shape {shape}",
        "must be a slice of step 1 along the second axis",
        "read a larger slice and pick from it",
    )
    picked = np.arange(wide[0])[slice(None) if rows is None else rows]
    out = np.empty((len(picked), max(stop - start, 0), *wide[2:]), dtype)
    cell = dtype.itemsize * math.prod(wide[2:])
    # The header needs no parsing: the data are the end of the file.
    first = entry["bytes"] - math.prod(wide) * dtype.itemsize + start * cell
    with open(path, "rb", buffering=0) as file:
        for row, target in zip(picked.tolist(), out):
            if target.size:
                view = memoryview(_raw(target))
                _fill(file, view, first + row * wide[1] * cell, path)
    return out if len(shape) > 1 else out.reshape(len(picked))


def _fill(file: BinaryIO, view: memoryview, offset: int, path: pathlib.Path) -> None:
    """Reads until the view is full; the system may give less at a time."""
    while view:
        count = _read_some(file, view, offset)
        if count == 0:
            raise damaged(path, f"it ends at byte {offset}")
        view, offset = view[count:], offset + count


def _read_some(file: BinaryIO, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [view], offset)
    file.seek(offset)
    return file.readinto(view)
