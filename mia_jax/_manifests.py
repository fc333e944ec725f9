"""What `run.json` and the manifests of groups must say, and when they count."""

import json
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from mia_jax import _npy, validate

DATA = re.compile(r"group_\d{3,}\.\w+\.[0-9a-f]{16}\.npy")
_RESERVED = {"group", "fingerprint", "files"}


def check(group: int, arrays: Mapping, fields: dict[str, Any]) -> None:
    """Checks what is to be committed before anything is written."""
    validate.require(
        isinstance(group, int | np.integer) and group >= 0 and bool(arrays),
        f"group {group!r} with {len(arrays)} arrays",
        "a group has a number from 0 and at least one array",
        "number the groups with shadow.groups",
    )
    clash = sorted(_RESERVED & set(fields))
    validate.require(
        not clash,
        f"manifest field {validate.listing(clash)}",
        f"{validate.listing(sorted(_RESERVED))} are written by the store",
        "rename the field",
    )
    for name, array in arrays.items():
        validate.require(
            re.fullmatch(r"\w+", name, re.ASCII) is not None,
            f"array name {name!r}",
            "must be letters, digits and _: it is part of a file name",
            "rename the array",
        )
        is_array = isinstance(array, np.ndarray) and array.ndim > 0
        validate.require(
            is_array and _npy.is_storable(array),
            f"{name} of group {group} is {_description(array)}",
            "must be a NumPy array [models, ...] that np.load reads without pickle",
            "convert it, e.g. np.asarray(x, np.float32)",
        )


def _description(array: Any) -> str:
    if not isinstance(array, np.ndarray):
        return f"a {type(array).__name__}"
    return f"an array of shape {array.shape} and type {array.dtype}"


def entries(raw: bytes | None) -> list[dict[str, Any]]:
    """The file entries of a manifest; none if it is absent, torn or not ours."""
    try:
        entries = list(json.loads(raw or b"null")["files"].values())
        is_ours = all(
            DATA.fullmatch(entry["file"])
            and type(entry["bytes"]) is int
            and {"sha256", "shape", "dtype"} <= set(entry)
            for entry in entries
        )
    except (ValueError, TypeError, KeyError, AttributeError):
        return []
    return entries if is_ours else []


def _size(path: pathlib.Path) -> int | None:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return None


def parse(
    raw: bytes | None, folder: pathlib.Path, group: int, fingerprint: str
) -> dict[str, Any] | None:
    """The manifest, if it is of this group and run and all its files have their size.

    None if it is absent or stale: the group is to be trained, the manifest replaced.
    """
    files = entries(raw)
    if not files:
        return None
    manifest = json.loads(raw)
    if (manifest.get("group"), manifest.get("fingerprint")) != (group, fingerprint):
        return None
    is_whole = all(_size(folder / entry["file"]) == entry["bytes"] for entry in files)
    return manifest if is_whole else None


def other_settings(path: pathlib.Path, old: Any, new: Any) -> validate.InputError:
    """Names the dotted keys that differ, with both values."""
    old, new = _flat(old), _flat(new)
    names = sorted(old.keys() | new.keys())
    absent = object()
    changes = [
        f"{name}: {_shown(old, name)} in the run, {_shown(new, name)} now"
        for name in names
        if old.get(name, absent) != new.get(name, absent)
    ]
    return validate.InputError(
        validate.listing(changes),
        f"{path} fixes the settings that change the result",
        "restore these settings, or start a new run with another --workdir",
    )


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    """Nested dicts as one dict with dotted keys."""
    if not isinstance(value, dict) or not value:
        return {prefix or "settings": value}
    found = {}
    for name, item in value.items():
        found |= _flat(item, f"{prefix}.{name}" if prefix else name)
    return found


def _shown(flat: dict[str, Any], name: str) -> str:
    return json.dumps(flat[name]) if name in flat else "not set"
