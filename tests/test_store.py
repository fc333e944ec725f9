"""The commit protocol: settings, commits, reads, damage, kills and rival writers."""

import errno
import hashlib
import json
import os
import pathlib
import subprocess
import sys
import time

import ml_dtypes
import numpy as np
import pytest

from mia_jax import _files, _manifests, store, validate

SETTINGS = {
    "train": {"num_models": 8, "learning_rate": 0.1, "hidden": [8, 8]},
    "data": {"name": "randhie", "options": {}},
    "seed": 0,
}
STATISTIC = np.random.default_rng(0).normal(size=(4, 50, 3)).astype(np.float32)


@pytest.fixture
def run(tmp_path):
    return store.open_run(tmp_path / "run", SETTINGS)


def _data_file(run, group, name="statistic"):
    return run.folder / run.manifest(group)["files"][name]["file"]


# --- settings -------------------------------------------------------------------------


def test_the_fingerprint_is_the_sha256_of_run_json(run):
    data = (run.folder / "run.json").read_bytes()
    assert run.fingerprint == hashlib.sha256(data).hexdigest()
    assert json.loads(data) == SETTINGS == run.settings
    assert store.reopen(run.folder) == run


def test_order_and_numpy_types_of_settings_do_not_matter(run):
    other = {"seed": np.int64(0), "data": SETTINGS["data"]}
    other["train"] = SETTINGS["train"] | {"hidden": (8, 8)}
    assert store.open_run(run.folder, other) == run


def test_other_settings_are_named_with_both_values(run):
    train = {"num_models": 16, "learning_rate": 0.1, "epochs": 3}
    data = {"name": "randhie", "options": {"a": 1}}
    with pytest.raises(validate.InputError) as caught:
        store.open_run(run.folder, SETTINGS | {"train": train, "data": data})
    error = caught.value
    assert error.what.split(", ") == [
        "data.options: {} in the run",
        "not set now",
        "data.options.a: not set in the run",
        "1 now",
        "train.epochs: not set in the run",
        "3 now",
        "train.hidden: [8",
        "8] in the run",
        "not set now",
        "train.num_models: 8 in the run",
        "16 now",
    ]
    assert "--workdir" in error.remedy
    assert store.reopen(run.folder) == run  # untouched


def test_settings_must_be_json_and_a_run_must_exist(tmp_path):
    with pytest.raises(validate.InputError, match=r"settings\.a=nan"):
        store.open_run(tmp_path, {"a": np.nan})
    with pytest.raises(validate.InputError, match=r"run\.json is missing"):
        store.reopen(tmp_path)
    (tmp_path / "run.json").write_text("{")
    with pytest.raises(validate.InputError, match=r"run\.json"):
        store.open_run(tmp_path, SETTINGS)


# --- commits --------------------------------------------------------------------------


def test_a_commit_is_a_plain_npy_and_a_manifest(run):
    assert not run.is_committed(7)
    assert run.commit(7, STATISTIC, model_ids=[28, 29, 30, 31], seconds=np.float64(2))
    assert run.is_committed(7) and run.committed() == [7]
    manifest = run.manifest(7)
    path = _data_file(run, 7)
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert manifest == {
        "group": 7,
        "fingerprint": run.fingerprint,
        "model_ids": [28, 29, 30, 31],
        "seconds": 2.0,
        "files": {
            "statistic": {
                "file": f"group_007.statistic.{sha256[:16]}.npy",
                "sha256": sha256,
                "bytes": path.stat().st_size,
                "shape": [4, 50, 3],
                "dtype": "<f4",
            }
        },
    }
    np.testing.assert_array_equal(np.load(path), STATISTIC)
    run.verify(7)
    names = {p.name for p in run.folder.iterdir()}
    assert names == {"run.json", "group_007.json", path.name}


def test_the_first_commit_wins(run):
    assert run.commit(0, STATISTIC, device="a")
    assert not run.commit(0, STATISTIC + 1, device="b")
    assert run.manifest(0)["device"] == "a"
    np.testing.assert_array_equal(run.read(0), STATISTIC)


def test_a_rival_that_commits_while_we_write_wins(run, monkeypatch):
    write = store.Run._write

    def slow(self, group, name, array):
        entry = write(self, group, name, array)
        monkeypatch.setattr(store.Run, "_write", write)
        assert store.reopen(run.folder).commit(0, STATISTIC)
        return entry

    monkeypatch.setattr(store.Run, "_write", slow)
    assert not run.commit(0, STATISTIC + 1)
    np.testing.assert_array_equal(run.read(0), STATISTIC)
    run.verify(0)
    assert len(run.clean(older_than_s=0)) == 1  # the loser's data
    np.testing.assert_array_equal(run.read(0), STATISTIC)


def test_several_arrays_make_one_commit(run):
    logits = np.arange(8.0).reshape(4, 2)
    run.commit(1, {"statistic": STATISTIC, "logits": logits})
    np.testing.assert_array_equal(run.read(1, "logits"), logits)
    np.testing.assert_array_equal(run.read(1), STATISTIC)
    with pytest.raises(validate.InputError, match="did you mean 'logits'"):
        run.read(1, "logit")
    _data_file(run, 1, "logits").unlink()
    assert not run.is_committed(1)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((2, 3), ml_dtypes.bfloat16),
        np.array([None]),
        np.zeros(2, "f4,f4"),
        np.float32(1),
        np.array(1.0),
        [1.0],
    ],
    ids=["bfloat16", "object", "fields", "scalar", "no_axis", "list"],
)
def test_what_cannot_be_stored_is_refused(run, array):
    with pytest.raises(validate.InputError, match="statistic of group 0"):
        run.commit(0, array)
    assert [path.name for path in run.folder.iterdir()] == ["run.json"]


def test_bad_names_are_refused(run):
    for arrays in ({"../a": STATISTIC}, {"a.b": STATISTIC}, {}):
        with pytest.raises(validate.InputError):
            run.commit(0, arrays)
    with pytest.raises(validate.InputError, match="files"):
        run.commit(0, STATISTIC, files=3)
    with pytest.raises(validate.InputError, match="-1"):
        run.commit(-1, STATISTIC)


def test_groups_above_999_sort_as_numbers(run):
    for group in (1000, 2, 10):
        run.commit(group, np.zeros(1))
    assert run.committed() == [2, 10, 1000]


def test_links_are_not_needed(tmp_path, monkeypatch):
    def no_link(source, target):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    run = store.open_run(tmp_path, SETTINGS)
    assert run.commit(0, STATISTIC)
    assert not run.commit(0, STATISTIC + 1)
    assert not _files.create(tmp_path / "group_000.json", b"{}")
    run.verify(0)


def test_other_errors_of_link_are_not_swallowed(tmp_path, monkeypatch):
    def broken(source, target):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "link", broken)
    with pytest.raises(OSError, match="Input/output"):
        store.open_run(tmp_path, SETTINGS)
    assert not list(tmp_path.iterdir())


# --- reads ----------------------------------------------------------------------------


@pytest.mark.parametrize("has_preadv", [True, False])
@pytest.mark.parametrize("dtype", ["f4", "f2", "?", "i8", ">f8", "U3", "c16"])
def test_parts_are_what_indexing_gives(run, monkeypatch, has_preadv, dtype):
    if not has_preadv:
        monkeypatch.delattr(os, "preadv")
    array = (STATISTIC * 100).astype(dtype)
    run.commit(0, array)
    for rows in (None, slice(1, 3), [3, 0, -1], np.array([2]), np.zeros(0, int)):
        for columns in (slice(None), slice(10, 20), slice(-5, None), slice(7, 3)):
            got = run.read(0, rows=rows, columns=columns)
            picked = array[slice(None) if rows is None else rows]
            want = picked[:, columns]
            assert got.dtype == array.dtype and got.flags.writeable
            np.testing.assert_array_equal(got, want)


@pytest.mark.parametrize("shape", [(3,), (3, 0), (0, 4), (3, 4), (2, 3, 0, 2)])
def test_every_shape_reads_back(run, shape):
    array = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
    run.commit(0, array)
    got = run.read(0)
    assert got.shape == shape
    np.testing.assert_array_equal(got, array)


def test_a_transposed_array_is_stored_in_order(run):
    array = np.asfortranarray(STATISTIC)
    run.commit(0, array)
    np.testing.assert_array_equal(run.read(0, columns=slice(3, 9)), array[:, 3:9])


def test_short_reads_are_continued(run, monkeypatch):
    run.commit(0, STATISTIC)
    preadv = os.preadv
    monkeypatch.setattr(os, "preadv", lambda f, v, o: preadv(f, [v[0][:7]], o))
    np.testing.assert_array_equal(run.read(0), STATISTIC)


def test_columns_are_a_plain_slice(run):
    run.commit(0, STATISTIC)
    run.commit(1, STATISTIC[:, 0, 0].copy())
    with pytest.raises(validate.InputError, match="step 1"):
        run.read(0, columns=slice(0, 10, 2))
    with pytest.raises(validate.InputError, match="step 1"):
        run.read(1, columns=slice(1, 2))


# --- damage ---------------------------------------------------------------------------


def _flip(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def test_a_flipped_bit_is_found_and_named_and_deleting_the_file_repairs(run):
    run.commit(0, STATISTIC)
    path = _data_file(run, 0)
    _flip(path)
    assert run.is_committed(0)  # the size fits: only verify reads the data
    with pytest.raises(validate.InputError, match=path.name) as caught:
        run.verify(0)
    assert "delete it" in caught.value.remedy
    path.unlink()  # what the remedy says
    assert not run.is_committed(0) and run.committed() == []
    with pytest.raises(validate.InputError, match="not committed"):
        run.read(0)
    assert run.commit(0, STATISTIC)
    run.verify(0)


def test_discarding_a_damaged_group_repairs_too(run):
    run.commit(0, STATISTIC)
    _flip(_data_file(run, 0))
    run.discard(0)
    run.discard(0)
    assert not run.is_committed(0)
    assert run.commit(0, STATISTIC)  # the same bits: the damaged file is replaced
    run.verify(0)


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: _data_file(run, 0).write_bytes(b"short"),
        lambda run: _data_file(run, 0).unlink(),
        lambda run: (run.folder / "group_000.json").write_bytes(b'{"files'),
        lambda run: (run.folder / "group_000.json").write_bytes(b""),
        lambda run: (run.folder / "group_000.json").write_bytes(b"[]"),
        lambda run: (run.folder / "group_000.json").write_bytes(b'{"files": {"a": 1}}'),
        lambda run: (run.folder / "group_000.json").unlink(),
    ],
    ids=["short", "gone", "torn", "empty", "list", "odd", "no_manifest"],
)
def test_a_stale_manifest_is_replaced(run, damage):
    run.commit(0, STATISTIC)
    damage(run)
    assert not run.is_committed(0)
    assert run.commit(0, STATISTIC + 1)  # other bits: another file name
    run.verify(0)
    np.testing.assert_array_equal(run.read(0), STATISTIC + 1)
    assert not [p for p in run.folder.iterdir() if ".tmp-" in p.name]


def test_a_manifest_of_other_settings_is_stale(run):
    run.commit(0, STATISTIC)
    (run.folder / "run.json").unlink()
    other = store.open_run(run.folder, SETTINGS | {"seed": 1})
    assert not other.is_committed(0)
    assert other.commit(0, STATISTIC) and not run.is_committed(0)


def test_a_fresh_manifest_is_not_taken_for_the_stale_one(run, monkeypatch):
    run.commit(0, STATISTIC)
    stale = (run.folder / "group_000.json").read_bytes()
    _data_file(run, 0).unlink()
    assert store.reopen(run.folder).commit(0, STATISTIC + 1)
    run._retire(0, stale)  # judged before the other worker came
    np.testing.assert_array_equal(run.read(0), STATISTIC + 1)
    # The other worker comes between our look and our move: its manifest is put back.
    monkeypatch.setattr(store.Run, "_raw_manifest", lambda self, group: stale)
    run._retire(0, stale)
    monkeypatch.undo()
    np.testing.assert_array_equal(run.read(0), STATISTIC + 1)


def test_a_manifest_cannot_name_files_elsewhere():
    entry = {"file": "../group_000.a.0123456789abcdef.npy", "bytes": 1}
    entry |= {"sha256": "", "shape": [1], "dtype": "<f4"}
    assert not _manifests.entries(json.dumps({"files": {"a": entry}}).encode())
    entry["file"] = entry["file"][3:]
    assert _manifests.entries(json.dumps({"files": {"a": entry}}).encode())


def test_clean_removes_old_waste_only(run):
    run.commit(0, STATISTIC)
    waste = ["group_001.json.tmp-1-ab", "group_001.statistic.0123456789abcdef.npy"]
    kept = ["notes.txt", "block_000.json"]
    for name in waste + kept:
        (run.folder / name).write_bytes(b"{}")
    assert run.clean() == []
    for name in os.listdir(run.folder):
        os.utime(run.folder / name, (0, time.time() - 90_000))
    assert sorted(run.clean()) == waste
    run.verify(0)
    assert set(kept) < set(os.listdir(run.folder))


# --- blocks ---------------------------------------------------------------------------


def test_blocks_are_added_in_order_and_the_first_wins(run):
    assert run.blocks() == []
    assert run.add_block(0, {"num_models": 8}) == {"num_models": 8}
    assert run.add_block(0, {"num_models": 9}) == {"num_models": 8}
    run.add_block(1, {"num_models": 4})
    assert run.blocks() == [{"num_models": 8}, {"num_models": 4}]
    with pytest.raises(validate.InputError, match="block 3 of a run with 2 blocks"):
        run.add_block(3, {})


# --- processes ------------------------------------------------------------------------


def _script(text, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", text, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=pathlib.Path(__file__).parents[1],
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_store_needs_neither_jax_nor_pandas():
    text = "import json, sys; from mia_jax import store; print(json.dumps("
    assert (
        _script(text + "[m in sys.modules for m in ('jax', 'pandas')]))") == [False] * 2
    )


# Forks children that commit group after group, kills each at a random moment, and looks
# at every file under a final name after every kill.
_KILL_LOOP = """
import hashlib, json, os, pathlib, random, re, signal, sys, time
import numpy as np
from mia_jax import store
folder, num_kills, num_groups = pathlib.Path(sys.argv[1]), int(sys.argv[2]), 20
settings, chance = {"seed": 0}, random.Random(0)

def array(group):
    return np.random.default_rng(group).normal(size=(4, 20_000)).astype(np.float32)

arrays = [array(group) for group in range(num_groups)]

def torn():
    found = []
    for path in folder.iterdir():
        name = re.fullmatch(r"group_\\d+\\.statistic\\.(\\w+)\\.npy", path.name)
        if name and hashlib.sha256(path.read_bytes()).hexdigest()[:16] != name[1]:
            found.append(path.name)
        if path.suffix == ".json":
            try:
                json.loads(path.read_bytes())
            except ValueError:
                found.append(path.name)
    return found

begin = time.perf_counter()
trial = store.open_run(folder.with_name("trial"), settings)
for group in range(4):
    trial.commit(group, arrays[group])
second = (time.perf_counter() - begin) / 4

report = {"torn": [], "inside": 0, "waste": 0, "kills": 0}
for kill in range(num_kills):
    child = os.fork()
    if child == 0:
        run = store.open_run(folder, settings)
        while True:
            for group in range(num_groups):
                run.commit(group, arrays[group])
                run.discard(chance.randrange(num_groups))
    time.sleep(chance.random() * 2 * second)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    report["kills"] += os.WIFSIGNALED(status) and os.WTERMSIG(status) == 9
    report["torn"] += torn()
    waste = len([p for p in folder.iterdir() if ".tmp-" in p.name])
    report["inside"] += waste > report["waste"]
    report["waste"] = waste

run = store.open_run(folder, settings)
for group in range(num_groups):
    run.commit(group, arrays[group])
    run.verify(group)
report["equal"] = sum(
    np.array_equal(run.read(group), arrays[group]) for group in range(num_groups)
)
run.clean(older_than_s=0)
report["files"] = len(list(folder.iterdir()))
print(json.dumps(report))
"""


@pytest.mark.parametrize("kills", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_a_kill_at_any_moment_tears_nothing(tmp_path, kills):
    report = _script(_KILL_LOOP, tmp_path / "run", kills)
    assert report["torn"] == []
    assert report["kills"] == kills
    assert report["inside"] >= kills / 20  # or the loop tests nothing
    assert report["equal"] == 20
    assert report["files"] == 2 * 20 + 1


# Two processes commit the same groups with different bits, each round at one moment.
_RIVALS = """
import json, os, pathlib, sys, time
import numpy as np
from mia_jax import store
folder, num_rounds = pathlib.Path(sys.argv[1]), int(sys.argv[2])
run = store.open_run(folder, {"seed": 0})
arrays = [np.full((2, 5_000), worker, np.float32) for worker in range(2)]
wins, mismatches = [0, 0], 0
for group in range(num_rounds):
    if group % 2:  # a stale manifest for both to replace
        run.commit(group, arrays[0] + 7, stale=True)
        (folder / run.manifest(group)["files"]["statistic"]["file"]).unlink()
    start, children = time.time() + 0.005, []
    for worker in range(2):
        children.append(os.fork())
        if children[-1] == 0:
            while time.time() < start:
                pass
            os._exit(run.commit(group, arrays[worker], worker=worker))
    won = [os.waitstatus_to_exitcode(os.waitpid(c, 0)[1]) for c in children]
    run.verify(group)
    worker = run.manifest(group)["worker"]
    mismatches += not np.array_equal(run.read(group), arrays[worker])
    mismatches += won != [worker == 0, worker == 1]
    wins[worker] += 1
print(json.dumps({"wins": wins, "mismatches": mismatches}))
"""


@pytest.mark.parametrize("rounds", [60, pytest.param(400, marks=pytest.mark.slow)])
def test_rival_writers_never_mix(tmp_path, rounds):
    report = _script(_RIVALS, tmp_path / "run", rounds)
    assert report["mismatches"] == 0
    assert sum(report["wins"]) == rounds


_PASS = """
import json, pathlib, resource, sys
import numpy as np
from mia_jax import store
run = store.reopen(pathlib.Path(sys.argv[1]))
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
for start in range(0, 450_000, 16_384):
    slabs = [run.read(g, columns=slice(start, start + 16_384)) for g in range(4)]
    np.concatenate(slabs)
print(json.dumps((peak() - before) / 1024))
"""


@pytest.mark.slow
def test_a_pass_over_all_predictions_stays_in_two_slabs(tmp_path):
    run = store.open_run(tmp_path / "run", SETTINGS)
    for group in range(4):  # 4 x 58 MB
        run.commit(group, np.full((8, 450_000, 4), group, np.float32))
    # A slab of 4 x 8 models x 16,384 records x 4 views is 8.4 MB, held twice, and once
    # more while the next is read; mapped, the peak would grow by all 230 MB.
    assert _script(_PASS, run.folder) < 60
