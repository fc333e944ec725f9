"""Pseudonyms: golden value, alphabet, collisions, and a key that stays where it is."""

import base64
import hashlib
import hmac
import os
import threading

import pytest

from mia_jax import validate
from mia_jax.report import pseudonyms

KEY = b"test-key"


def test_golden():
    assert pseudonyms.name("patient-1", KEY) == "86HC-PCHP"


def test_agrees_with_the_standard_library_in_another_alphabet():
    rfc4648 = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
    crockford = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
    digest = hmac.new(KEY, b"patient-7", hashlib.sha256).digest()
    text = (
        base64.b32encode(digest).decode().translate(str.maketrans(rfc4648, crockford))
    )
    assert pseudonyms.name("patient-7", KEY, 48).replace("-", "") == text[:48]


def test_key_and_id_both_matter():
    names = {pseudonyms.name(i, k) for i in ("a", "b") for k in (KEY, b"other")}
    assert len(names) == 4


def test_any_text_is_an_id():
    for patient in ("", "Ünsal 7", "\ud800", "x" * 10_000):
        assert len(pseudonyms.name(patient, KEY)) == 9


def test_no_letter_is_mistaken_for_a_digit():
    text = "".join(pseudonyms.name(str(i), KEY) for i in range(2_000))
    assert not set("ILOU") & set(text)
    assert set(text) == set("0123456789ABCDEFGHJKMNPQRSTVWXYZ-")


def test_collisions_lengthen_all_names():
    # 32^2 = 1,024 names of 2 characters: 200 patients collide almost surely
    # (probability 1 - exp(-200^2 / 2048) = 1 - 3e-9), 6 characters rarely (2e-5).
    patients = [f"patient-{i}" for i in range(200)]
    short = {pseudonyms.name(p, KEY, 2) for p in patients}
    assert len(short) < 200
    found = pseudonyms.names(patients, KEY, length=2)
    assert len(set(found.values())) == 200
    assert {len(name) for name in found.values()} == {7}  # 6 characters and a hyphen


def test_duplicate_ids_are_refused():
    with pytest.raises(validate.InputError, match="1 patient ids occur twice"):
        pseudonyms.names(["a", "b", "a"], KEY)


def test_key_is_random_private_and_kept(tmp_path):
    path = tmp_path / "config" / "pseudonym.key"
    key = pseudonyms.load_key(path, tmp_path / "results")
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert pseudonyms.load_key(path, tmp_path / "results") == key
    assert pseudonyms.load_key(tmp_path / "other.key", tmp_path / "results") != key
    assert [p.name for p in path.parent.iterdir()] == ["pseudonym.key"]


def test_mode_is_private_whatever_the_umask(tmp_path):
    old = os.umask(0)
    try:
        pseudonyms.load_key(tmp_path / "key", tmp_path / "results")
    finally:
        os.umask(old)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_runs_that_start_at_once_share_one_key(tmp_path):
    found = []
    load = lambda: found.append(pseudonyms.load_key(tmp_path / "key", tmp_path / "r"))
    threads = [threading.Thread(target=load) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len(set(found)) == 1


@pytest.mark.parametrize("inside", ["key", "deep/key", "../results/key"])
def test_key_inside_the_results_is_refused(tmp_path, inside):
    results = tmp_path / "results"
    results.mkdir()
    with pytest.raises(validate.InputError, match="must not get the key"):
        pseudonyms.load_key(results / inside, results)
    assert not list(results.iterdir())


def test_link_into_the_results_is_refused(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (tmp_path / "link").symlink_to(results)
    with pytest.raises(validate.InputError, match="must not get the key"):
        pseudonyms.load_key(tmp_path / "link" / "key", results)


def test_readable_key_is_refused(tmp_path):
    path = tmp_path / "key"
    pseudonyms.load_key(path, tmp_path / "results")
    path.chmod(0o640)
    with pytest.raises(validate.InputError, match="mode 640"):
        pseudonyms.load_key(path, tmp_path / "results")


@pytest.mark.parametrize("text", [b"", b"abc", b"g" * 64, b"0" * 63])
def test_damaged_key_is_refused(tmp_path, text):
    path = tmp_path / "key"
    path.write_bytes(text)
    path.chmod(0o600)
    with pytest.raises(validate.InputError, match="64 hexadecimal digits"):
        pseudonyms.load_key(path, tmp_path / "results")


def test_unusable_folder_names_the_way_out(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(validate.InputError, match="MIA_JAX_PSEUDONYM_KEY"):
        pseudonyms.load_key(tmp_path / "file" / "key", tmp_path / "results")


def test_where_the_key_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    default = tmp_path / ".config" / "mia_jax" / "pseudonym.key"
    assert pseudonyms.key_path(environment={}) == default
    chosen = {"MIA_JAX_PSEUDONYM_KEY": "/a/key"}
    assert str(pseudonyms.key_path(environment=chosen)) == "/a/key"
    assert str(pseudonyms.key_path("/b/key", chosen)) == "/b/key"
