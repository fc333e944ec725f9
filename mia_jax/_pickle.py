"""The bytes of a result file: a pickle of builtins and one global, `numpy.ndarray`.

Plain `pickle.load` reads it with any NumPy and any pandas: an array is the call
`numpy.ndarray(shape, dtype, bytes)`, a table a dict of columns, so that
`pandas.DataFrame(table["columns"])` gives the frame. Our own `loads` trusts nothing:

1. a scan lets only the opcodes pass that our writer makes, none of which can declare
   more bytes than follow, and nothing after the end;
2. the one global is replaced by a checked function, so no call of the file runs;
3. what comes out must be a tree of plain types.

An allow-list of NumPy's own pickle functions would not do: they can be made to read
and write outside a buffer.
"""

import io
import pickle
import pickletools
import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import _tables, validate

# Everything the pickler makes of the plain types at protocol 4; so no BUILD, NEWOBJ,
# GLOBAL, EXT, PERSID, PUT or BYTEARRAY8.
_NAMES = (
    "PROTO FRAME STOP MARK NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 BINFLOAT "
    "SHORT_BINUNICODE BINUNICODE BINUNICODE8 SHORT_BINBYTES BINBYTES BINBYTES8 "
    "EMPTY_DICT SETITEM SETITEMS EMPTY_LIST APPEND APPENDS EMPTY_TUPLE TUPLE TUPLE1 "
    "TUPLE2 TUPLE3 MEMOIZE BINGET LONG_BINGET STACK_GLOBAL REDUCE"
)
OPCODES = frozenset(_NAMES.split())
_TUPLES = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})

# An array takes two tuples. CPython hashes nested tuples recursively without a guard
# and overflows its stack somewhere above 100,000 of them (8 MB of stack): stay far off.
MAX_ARRAYS = 2_500
MAX_DEPTH = 50
MAX_DIMENSIONS = 32  # NumPy 1

# Equal strings are stored once and then named in 2 bytes. A reader that copies them
# into columns must not be made to fill the memory: longer ones are never shared.
SHARED_LENGTH = 64

# b1, i1..i8, u1..u8, f2..f8, c8, c16, S, U; no object, void, date or field.
_DTYPE = re.compile(r"[<>|](?:b1|[iu][1248]|f[248]|c8|c16|[SU][1-9][0-9]{0,8})")
_LARGEST_CODE_POINT = 0x10FFFF


class DamagedError(Exception):
    """The bytes are not what our writer makes."""


class _Writer(pickle.Pickler):
    """Pickles an array as the call `numpy.ndarray(shape, dtype, bytes)`."""

    def reducer_override(self, value):
        if type(value) is np.ndarray:
            return np.ndarray, (value.shape, value.dtype.str, value.tobytes())
        return NotImplemented


class _Pool(NamedTuple):
    """What was met while encoding.

    Attributes:
      texts: short strings. The pickler shares a string by identity; one object for
        equal ones gives equal content equal bytes.
      arrays: keys of the arrays.
    """

    texts: dict[str, str]
    arrays: list[str]

    def text(self, value: str, key: str) -> str:
        """The text to pickle: shared if it is short, else an object of its own."""
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise validate.InputError(
                f"{key} holds the text {value[:40]!r}",
                "text must be valid Unicode: it has a lone surrogate",
                "read its source with the right encoding",
            ) from error
        if len(value) <= SHARED_LENGTH:
            return self.texts.setdefault(value, value)
        return value[:1] + value[1:]


def dumps(content: dict[str, Any]) -> bytes:
    """The bytes of a result.

    Args:
      content: dict with string keys of None, bool, int (64 bits), float, str, bytes,
        dict, list, tuple (comes back as a list), np.ndarray of bool, int, float,
        complex or text, NumPy scalars (come back as builtins), pd.DataFrame.

    Raises:
      validate.InputError: anything else, dates included; names the key.
    """
    out, pool = io.BytesIO(), _Pool({}, [])
    tree = _encode(content, "content", pool)
    validate.require(
        len(pool.arrays) <= MAX_ARRAYS,
        f"the content holds {len(pool.arrays)} arrays or numeric columns",
        f"a result file holds at most {MAX_ARRAYS}",
        "stack the columns of a wide table into one array",
    )
    _Writer(out, protocol=4).dump(tree)
    return out.getvalue()


def _encode(value: Any, key: str, pool: _Pool, depth: int = 0) -> Any:
    """A fresh tree of builtins and exact arrays; no container occurs in it twice."""
    validate.require(
        depth <= MAX_DEPTH,
        f"{key} is more than {MAX_DEPTH} levels deep",
        "a result file is a shallow tree",
        "check that no list or dict contains itself",
    )
    if isinstance(value, np.generic):
        value = value.item()
    kind = type(value)
    if kind is pd.DataFrame:
        value = _tables.encode(value, key)
    if kind in (dict, pd.DataFrame):
        _check_keys(value, key, is_table=kind is pd.DataFrame)
        return {
            pool.text(name, key): _encode(item, f"{key}.{name}", pool, depth + 1)
            for name, item in value.items()
        }
    if kind in (list, tuple):
        return [
            _encode(item, f"{key}[{i}]", pool, depth + 1)
            for i, item in enumerate(value)
        ]
    if kind is np.ndarray and _DTYPE.fullmatch(value.dtype.str):
        pool.arrays.append(key)
        return value.view()
    if kind is str:
        return pool.text(value, key)
    is_short = kind is int and -(2**63) <= value < 2**64
    if value is None or is_short or kind in (bool, float, bytes):
        return value
    raise _refusal(value, key)


def _check_keys(value: dict, key: str, is_table: bool) -> None:
    for name in value:
        validate.require(
            type(name) is str and (is_table or name != _tables.MARK),
            f"{key} has the key {name!r}",
            f"keys must be strings, and {_tables.MARK!r} marks a table",
            "rename the key",
        )


def _refusal(value: Any, key: str) -> validate.InputError:
    """Says what the value is and what a result file can hold."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    if isinstance(value, np.ndarray):
        name += f" of {value.dtype}"
    if kind is int:
        name = "int of more than 64 bits"
    return validate.InputError(
        f"{key} is a {name}",
        "a result file holds plain Python values, arrays of numbers or text, tables",
        "write dates as text (.isoformat()), other arrays with np.asarray, "
        "settings as a dict",
    )


def loads(data: bytes) -> dict[str, Any]:
    """The content of a result, tables as DataFrames, whoever wrote the bytes.

    Arrays are writable copies in native byte order.

    Raises:
      DamagedError: the bytes are not of our writer; nothing of them has run.
    """
    try:
        _scan(data)
        content = _decode(_Reader(data).load(), set())
    except DamagedError:
        raise
    except Exception as error:
        # Whatever the unpickler, NumPy or pandas find wrong means the same.
        raise DamagedError(f"{type(error).__name__}: {error}") from error
    if type(content) is not dict:
        raise DamagedError(f"holds a {type(content).__name__}, not a dict")
    return content


def _check(condition: bool, reason: str) -> None:
    if not condition:
        raise DamagedError(reason)


def _scan(data: bytes) -> None:
    """Passes only our opcodes, each with its whole argument, and nothing after STOP."""
    num_tuples, position = 0, -1
    for opcode, argument, position in pickletools.genops(data):
        _check(opcode.name in OPCODES, f"opcode {opcode.name} at byte {position}")
        num_tuples += opcode.name in _TUPLES
        if opcode.name == "FRAME":
            _check(argument <= len(data) - position, "a frame longer than the file")
    _check(position + 1 == len(data), "bytes after the end")
    _check(num_tuples <= 2 * MAX_ARRAYS, f"{num_tuples} tuples")


class _Reader(pickle.Unpickler):
    """Unpickles scanned bytes; the one global is a checked function of ours."""

    def __init__(self, data: bytes):
        super().__init__(io.BytesIO(data))
        self._bytes_left = len(data)

    def find_class(self, module, name):
        _check((module, name) == ("numpy", "ndarray"), f"global {module}.{name}")
        return self._array

    def _array(self, *arguments):
        """`numpy.ndarray(shape, dtype, data)` for exact and consistent arguments."""
        types = [type(argument) for argument in arguments]
        _check(types == [tuple, str, bytes], "an array of odd arguments")
        shape, dtype, data = arguments
        _check(all(type(size) is int and size >= 0 for size in shape), "odd shape")
        _check(len(shape) <= MAX_DIMENSIONS, "too many dimensions")
        _check(_DTYPE.fullmatch(dtype) is not None, f"dtype {dtype[:40]!r}")
        dtype, size = np.dtype(dtype), 1
        for length in shape:
            size *= length
        _check(size * dtype.itemsize == len(data), "array size and bytes differ")
        # The same bytes object could be named again and again.
        self._bytes_left -= len(data)
        _check(self._bytes_left >= 0, "arrays larger than the file")
        array = np.ndarray(shape, dtype, data).astype(dtype.newbyteorder("="))
        _check(_has_valid_items(array), "array items out of range")
        return array


def _has_valid_items(array: np.ndarray) -> bool:
    """Bools must be 0 or 1, characters code points; NumPy does not check either."""
    if array.dtype.kind == "b":
        return bool((array.view(np.uint8) <= 1).all())
    if array.dtype.kind == "U":
        points = array.reshape(-1).view(np.uint32)
        return bool((points <= _LARGEST_CODE_POINT).all())
    return True


def _decode(value: Any, seen: set[int], depth: int = 0) -> Any:
    """Checks that the value is a tree of plain types; makes its tables DataFrames."""
    kind = type(value)
    is_short_text = kind is str and len(value) <= SHARED_LENGTH
    if value is None or is_short_text or kind in (bool, int, float, bytes):
        return value
    _check(kind in (dict, list, str, np.ndarray), f"a {kind.__name__}")
    # Our writer repeats none: no cycle, no tree that doubles at every level.
    _check(id(value) not in seen, "a container or long text occurs twice")
    _check(depth <= MAX_DEPTH, "too deep")
    seen.add(id(value))
    if kind is list:
        return [_decode(item, seen, depth + 1) for item in value]
    if kind is dict:
        _check(all(type(name) is str for name in value), "a key that is no string")
        items = {
            _decode(name, seen): _decode(item, seen, depth + 1)
            for name, item in value.items()
        }
        return _tables.decode(items) if _tables.MARK in items else items
    return value
