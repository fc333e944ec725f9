"""Whole files or none: a killed process never leaves a torn file under a final name.

Every file is written beside its final name as `<name>.tmp-<pid>-<random>`, forced to
disk, and only then renamed or linked. No locks, no JAX, no pandas.
"""

import contextlib
import errno
import json
import os
import pathlib
import secrets
from collections.abc import Iterator
from typing import Any

import numpy as np

from mia_jax import validate

PathLike = str | os.PathLike[str]

# Answers of file systems without hard links: FAT, mounted object stores.
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}


def temporary(path: pathlib.Path) -> pathlib.Path:
    """A name beside `path` that no other process takes, on whatever host."""
    return path.with_name(f"{path.name}.tmp-{os.getpid()}-{secrets.token_hex(8)}")


@contextlib.contextmanager
def _written(path: pathlib.Path, chunks: tuple) -> Iterator[pathlib.Path]:
    """A temporary file with the chunks, on disk; removed at the end unless renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = temporary(path)
    try:
        with open(temp, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        yield temp
    finally:
        temp.unlink(missing_ok=True)


def _sync_folder(folder: pathlib.Path) -> None:
    """Forces a rename or link to disk, where a folder can be opened (not Windows)."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write(path: PathLike, *chunks: bytes | memoryview) -> None:
    """Writes a file whole, in place of any file of that name; makes its folders."""
    path = pathlib.Path(path)
    with _written(path, chunks) as temp:
        os.replace(temp, path)
    _sync_folder(path.parent)


def create(path: PathLike, data: bytes) -> bool:
    """Writes a small file only if none has its name; True = it is ours.

    Where hard links are missing the file is created exclusively instead. It could then
    be torn by a kill: readers must treat a file that does not parse as absent.
    """
    path = pathlib.Path(path)
    with _written(path, (data,)) as temp:
        try:
            os.link(temp, path)
        except FileExistsError:
            return False
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if not _create_exclusively(path, data):
                return False
    _sync_folder(path.parent)
    return True


def _create_exclusively(path: pathlib.Path, data: bytes) -> bool:
    """`create` without hard links."""
    try:
        with open(path, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except FileExistsError:
        return False
    return True


def plain(value: Any, key: str) -> Any:
    """What JSON can hold exactly: NumPy scalars become builtins, tuples lists.

    Args:
      value: None, bool, int, float, str, or dict (keys: str), list, tuple of these.
      key: dotted name of the value, for messages.

    Raises:
      validate.InputError: NaN, infinity, or another type; names the key.
    """
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if kind is dict:
        for name in value:
            validate.require(
                type(name) is str,
                f"{key} has the key {name!r}",
                "keys must be strings",
                "write it as a string",
            )
        return {name: plain(item, f"{key}.{name}") for name, item in value.items()}
    if kind in (list, tuple):
        return [plain(item, f"{key}[{i}]") for i, item in enumerate(value)]
    validate.require(
        kind is not float or np.isfinite(value),
        f"{key}={value}",
        "numbers in JSON must be finite",
        "write None where there is no value",
    )
    validate.require(
        value is None or kind in (bool, int, float, str),
        f"{key} is a {kind.__module__}.{kind.__qualname__}",
        "JSON holds None, bool, int, float, str, and dict, list of these",
        "turn it into one of these, e.g. .tolist() or str()",
    )
    return value


def to_json(value: Any, key: str, sort_keys: bool = False) -> bytes:
    """UTF-8 JSON text of `plain(value, key)`, two spaces deep, one trailing newline."""
    text = json.dumps(
        plain(value, key),
        indent=2,
        sort_keys=sort_keys,
        ensure_ascii=False,
        allow_nan=False,
    )
    # A lone surrogate is no text: written as an escape it survives.
    return (text + "\n").encode("utf-8", "backslashreplace")


def read_json(path: PathLike) -> Any:
    """Parses a JSON file.

    Raises:
      validate.InputError: no such file, or it does not parse; NaN does not.
    """
    try:
        return json.loads(pathlib.Path(path).read_bytes(), parse_constant=_refuse)
    except OSError as error:
        raise validate.InputError(
            f"{path}: {error.strerror}", "must be a readable file", "check the path"
        ) from error
    except (ValueError, RecursionError) as error:
        raise validate.InputError(
            f"{path}: {error}", "must be JSON", "restore the file or write it again"
        ) from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is no JSON")
