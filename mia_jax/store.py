"""Finished groups of models on disk: a commit protocol without locks.

    run.json                                 settings that change the result
    block_000.json, ...                      mask blocks, in order
    group_007.statistic.<sha256[:16]>.npy    written whole, then
    group_007.json                           the manifest, created only if absent

A group is committed when its manifest names files that are there. Data files carry
their hash, so two workers that trained the same group (and rounded differently on
different devices) never overwrite each other: the first manifest wins. A worker killed
at any moment leaves at worst files that no manifest names; `Run.clean` removes them.
"""

import dataclasses
import hashlib
import json
import os
import pathlib
import re
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mia_jax import _files, _manifests, _npy, validate

FOLDER = "groups"  # in the folder of a whole audit
_MANIFEST = re.compile(r"group_(\d{3,})\.json")


@dataclasses.dataclass(frozen=True)
class Run:
    """The folder of a run; made by `open_run`. Holds no state: every call looks.

    Attributes:
      folder: where everything lies.
      settings: what `run.json` says.
      fingerprint: sha256 of the settings' JSON text, hexadecimal.
    """

    folder: pathlib.Path
    settings: dict[str, Any]
    fingerprint: str

    def commit(
        self,
        group: int,
        arrays: np.ndarray | Mapping[str, np.ndarray],
        **manifest_fields: Any,
    ) -> bool:
        """Writes a group's arrays, then its manifest unless another worker was first.

        A manifest whose data file is gone or has another size is replaced.

        Args:
          group: number of the group, from 0.
          arrays: [K, ...] of any type that `np.load` reads without pickle, models
            first; or several by name. A single one is named "statistic".
          **manifest_fields: JSON values kept in the manifest, e.g. model_ids, seconds.

        Returns:
          Whether the group is ours; False = it was committed before.

        Raises:
          validate.InputError: a type or name that cannot be stored.
        """
        if not isinstance(arrays, Mapping):
            arrays = {"statistic": arrays}
        _manifests.check(group, arrays, manifest_fields)
        seen = self._raw_manifest(group)
        if self._parse(group, seen) is not None:
            return False
        files = {name: self._write(group, name, a) for name, a in arrays.items()}
        manifest = manifest_fields | {
            "group": group,
            "fingerprint": self.fingerprint,
            "files": files,
        }
        data = _files.to_json(manifest, f"group {group}", sort_keys=True)
        if seen is not None:
            self._retire(group, seen)
        return _files.create(self._manifest_path(group), data)

    def is_committed(self, group: int) -> bool:
        """Whether the manifest is of this run and its files are there in full size."""
        return self._parse(group, self._raw_manifest(group)) is not None

    def committed(self) -> list[int]:
        """Numbers of all committed groups, ascending."""
        names = map(_MANIFEST.fullmatch, sorted(os.listdir(self.folder)))
        groups = sorted(int(name[1]) for name in names if name)
        return [group for group in groups if self.is_committed(group)]

    def manifest(self, group: int) -> dict[str, Any]:
        """The manifest of a committed group.

        Raises:
          validate.InputError: the group is not committed.
        """
        found = self._parse(group, self._raw_manifest(group))
        if found is None:
            raise validate.InputError(
                f"{self._manifest_path(group)}: group {group} is not committed",
                "its manifest and all files it names must be there, in full size",
                "run the training again: it does the missing groups",
            )
        return found

    def read(
        self,
        group: int,
        name: str = "statistic",
        rows: slice | Sequence[int] | None = None,
        columns: slice = slice(None),
    ) -> np.ndarray:
        """Reads a part of a committed array, and only that part, into new memory.

        Args:
          group: number of the group.
          name: which array of the group.
          rows: models of the group, by position; None = all.
          columns: records, a slice of step 1.

        Returns:
          [rows, columns, ...], as written.

        Raises:
          validate.InputError: not committed, no such array, or the file is cut short.
        """
        files = self.manifest(group)["files"]
        validate.one_of(f"array of group {group}", name, files)
        return _npy.read(self.folder / files[name]["file"], files[name], rows, columns)

    def verify(self, group: int) -> None:
        """Checks size and sha256 of every file of a committed group.

        Raises:
          validate.InputError: names the damaged file; delete it (or `discard` the
            group) and the next run trains the group again.
        """
        for entry in self.manifest(group)["files"].values():
            path = self.folder / entry["file"]
            if _npy.sha256(path) != entry["sha256"]:
                raise _npy.damaged(path, "its sha256 is not the one in the manifest")

    def discard(self, group: int) -> None:
        """Takes a commit back, so that the group is trained again.

        Removes the manifest alone: another worker may be writing the same data file.
        """
        self._manifest_path(group).unlink(missing_ok=True)

    def clean(self, older_than_s: float = 86400) -> list[str]:
        """Removes what dead workers left: temporary files, data no manifest names.

        Args:
          older_than_s: only files at least this old, in seconds; younger ones may
            belong to a worker that is about to commit.

        Returns:
          Names of the removed files.
        """
        names = sorted(os.listdir(self.folder))
        named = {
            entry["file"]
            for match in map(_MANIFEST.fullmatch, names)
            if match
            for entry in _manifests.entries(self._raw_manifest(int(match[1])))
        }
        limit = time.time() - older_than_s
        unnamed = [n for n in names if _manifests.DATA.fullmatch(n) and n not in named]
        waste = [name for name in names if ".tmp-" in name] + unnamed
        removed = [name for name in waste if _is_older(self.folder / name, limit)]
        for name in removed:
            (self.folder / name).unlink(missing_ok=True)
        return removed

    def blocks(self) -> list[dict[str, Any]]:
        """The mask blocks so far, in order."""
        found = []
        while (path := self._block_path(len(found))).exists():
            found.append(_files.read_json(path))
        return found

    def add_block(self, index: int, block: dict[str, Any]) -> dict[str, Any]:
        """Adds a mask block at a position, unless another worker was first.

        Args:
          index: its position; saying it keeps two workers that add the same block from
            adding it twice.
          block: JSON values, e.g. num_models.

        Returns:
          The block that stands at the position: ours or the other worker's.

        Raises:
          validate.InputError: blocks before it are missing.
        """
        count = len(self.blocks())
        validate.require(
            0 <= index <= count,
            f"block {index} of a run with {count} blocks",
            "blocks are added in order, without gaps",
            f"add block {count}",
        )
        path = self._block_path(index)
        _files.create(path, _files.to_json(block, f"block {index}", sort_keys=True))
        return _files.read_json(path)

    def _block_path(self, index: int) -> pathlib.Path:
        return self.folder / f"block_{index:03d}.json"

    def _manifest_path(self, group: int) -> pathlib.Path:
        return self.folder / f"group_{group:03d}.json"

    def _raw_manifest(self, group: int) -> bytes | None:
        try:
            return self._manifest_path(group).read_bytes()
        except FileNotFoundError:
            return None

    def _parse(self, group: int, raw: bytes | None) -> dict[str, Any] | None:
        return _manifests.parse(raw, self.folder, group, self.fingerprint)

    def _write(self, group: int, name: str, array: np.ndarray) -> dict[str, Any]:
        """Writes one array under a name with its hash; returns its manifest entry."""
        header, body = _npy.to_bytes(array)
        sha256 = hashlib.sha256(header)
        sha256.update(body)
        digest = sha256.hexdigest()
        file = f"group_{group:03d}.{name}.{digest[:16]}.npy"
        _files.write(self.folder / file, header, body)
        return {
            "file": file,
            "sha256": digest,
            "bytes": len(header) + len(body),
            "shape": list(array.shape),
            "dtype": array.dtype.str,
        }

    def _retire(self, group: int, stale: bytes) -> None:
        """Removes a stale manifest, and no other that came in its place meanwhile."""
        path = self._manifest_path(group)
        if self._raw_manifest(group) != stale:
            return
        aside = _files.temporary(path)
        try:
            os.rename(path, aside)
        except FileNotFoundError:
            return
        moved = aside.read_bytes()
        if moved != stale:
            _files.create(path, moved)
        aside.unlink()


def _is_older(path: pathlib.Path, limit: float) -> bool:
    """Whether a file was last written before a time; False if it is gone."""
    try:
        return path.stat().st_mtime <= limit
    except FileNotFoundError:
        return False


def open_run(folder: str | os.PathLike[str], settings: dict[str, Any]) -> Run:
    """Opens a run, or starts it if the folder has none.

    Args:
      folder: the run's folder; made if missing.
      settings: everything that changes the result, JSON values: settings of the run,
        models per group, data fingerprint, mask seed.

    Raises:
      validate.InputError: the folder holds a run with other settings; names the keys.
    """
    path = pathlib.Path(folder) / "run.json"
    text = _files.to_json(settings, "settings", sort_keys=True)
    if not _files.create(path, text):
        stored = _files.read_json(path)
        if _files.to_json(stored, str(path), sort_keys=True) != text:
            raise _manifests.other_settings(path, stored, json.loads(text))
    return Run(path.parent, json.loads(text), hashlib.sha256(text).hexdigest())


def reopen(folder: str | os.PathLike[str]) -> Run:
    """Opens a run that is there, with the settings it was started with.

    Raises:
      validate.InputError: the folder holds no run.
    """
    path = pathlib.Path(folder) / "run.json"
    validate.require(
        path.exists(),
        f"{path} is missing",
        "a run must be trained before it is read",
        "run: python -m experiments.train --config=... --workdir=... first",
    )
    return open_run(path.parent, _files.read_json(path))
