"""Keyed names for patients: "86HC-PCHP" instead of a hospital number.

A plain hash would be no pseudonym: all eight-digit numbers are hashed in minutes. So
the name is an HMAC with a random key. The key lies outside the results, readable by its
owner only, and enters neither settings, pickles nor reports. Whoever holds the key and
the patient ids can find a patient again; nobody else can.
"""

import contextlib
import hashlib
import hmac
import os
import pathlib
import secrets
from collections.abc import Mapping, Sequence

from mia_jax import _files, validate

ENVIRONMENT = "MIA_JAX_PSEUDONYM_KEY"  # names the key file
_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford: without I, L, O, U
_KEY_BYTES = 32
_LENGTH = 8  # characters; two of 65,000 patients collide with probability .2 %
_BLOCK = 4  # characters between hyphens
_LONGEST = 48  # characters: 240 of the digest's 256 bits


def name(patient_id: str, key: bytes, length: int = _LENGTH) -> str:
    """The pseudonym of one patient: HMAC-SHA256 (RFC 2104), its first bits in base 32.

    Args:
      patient_id: any text.
      key: secret bytes.
      length: characters, 1 to 48; five bits each.

    Returns:
      Characters in blocks of four: "86HC-PCHP".
    """
    digest = hmac.new(key, patient_id.encode("utf-8", "surrogatepass"), hashlib.sha256)
    bits = int.from_bytes(digest.digest(), "big")
    letters = [_ALPHABET[bits >> (251 - 5 * i) & 31] for i in range(length)]
    blocks = [letters[i : i + _BLOCK] for i in range(0, length, _BLOCK)]
    return "-".join("".join(block) for block in blocks)


def names(
    patient_ids: Sequence[str], key: bytes, length: int = _LENGTH
) -> dict[str, str]:
    """Pseudonyms of a cohort, all different; longer ones if short ones collide.

    Args:
      patient_ids: every patient of the cohort, not only those to be shown, so that a
        report's names do not depend on who is in its tables.
      key: secret bytes.
      length: characters to begin with.

    Returns:
      patient id -> pseudonym, all of one length.

    Raises:
      InputError: patient ids that are not unique.
    """
    validate.require(
        len(set(patient_ids)) == len(patient_ids),
        f"{len(patient_ids) - len(set(patient_ids))} patient ids occur twice",
        "every patient must have one id",
        "pass one id per patient, not per record",
    )
    while True:
        found = {patient: name(patient, key, length) for patient in patient_ids}
        if len(set(found.values())) == len(found) or length >= _LONGEST:
            return found
        length += _BLOCK


def key_path(
    path: str | os.PathLike[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> pathlib.Path:
    """Where the key lies: argument, else $MIA_JAX_PSEUDONYM_KEY, else the default."""
    chosen = path or environment.get(ENVIRONMENT)
    if chosen:
        return pathlib.Path(chosen).expanduser()
    return pathlib.Path.home() / ".config" / "mia_jax" / "pseudonym.key"


def load_key(path: pathlib.Path, results: pathlib.Path) -> bytes:
    """Reads the key, or makes a random one that only its owner can read.

    Args:
      path: the key file, 64 hexadecimal digits.
      results: folder of the run; the key must lie outside.

    Raises:
      InputError: a key inside `results`, readable by others, damaged, or in a folder
        that cannot be written.
    """
    inside = path.resolve().is_relative_to(results.resolve())
    validate.require(
        not inside,
        f"{path} lies in the results folder {results}",
        "who gets the results must not get the key of the pseudonyms",
        f"move the key elsewhere and set {ENVIRONMENT} to its path",
    )
    try:
        # Two runs may start at once: the first key wins, both read it.
        if not path.exists():
            _create(path)
        mode, text = path.stat().st_mode, path.read_bytes()
    except OSError as error:
        raise validate.InputError(
            f"{path}: {error.strerror}",
            "the key of the pseudonyms must be readable, or its folder writable",
            f"set {ENVIRONMENT} to a path of your own, outside the results",
        ) from error
    _check(path, mode, text)
    return bytes.fromhex(text.decode())


def _create(path: pathlib.Path) -> None:
    """Writes a new key whole, unless somebody was faster; never readable by others."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temp = _files.temporary(path)
    try:
        handle = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_hex(_KEY_BYTES).encode() + b"\n")
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(temp, path)
    finally:
        temp.unlink(missing_ok=True)


def _check(path: pathlib.Path, mode: int, text: bytes) -> None:
    # Windows has no such bits.
    validate.require(
        os.name != "posix" or mode & 0o077 == 0,
        f"{path} has mode {mode & 0o777:o}",
        "only its owner may read the key of the pseudonyms (mode 600)",
        f"run: chmod 600 {path}",
    )
    digits = text.strip()
    is_key = len(digits) == 2 * _KEY_BYTES and not set(digits) - set(
        b"0123456789abcdef"
    )
    validate.require(
        is_key,
        f"{path} holds {len(digits)} characters",
        f"a key is {2 * _KEY_BYTES} hexadecimal digits",
        "restore it from a copy; a new key gives every patient a new pseudonym",
    )
