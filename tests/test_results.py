"""Result files: round trips, plain pickle.load, hostile and damaged files."""

import datetime
import io
import json
import os
import pickle
import pickletools
import struct
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from mia_jax import _pickle, results, validate

FRAME = pd.DataFrame(
    {
        "patient_id": ["p1", "p2", "päd 3"],
        "auc": [0.5, np.nan, np.inf],
        "auc32": np.array([0.1, 0.2, 0.3], np.float32),
        "num_records": np.array([1, 2, 3], np.int32),
        "is_proven": [True, False, True],
        "sex": pd.Categorical(["f", None, "m"], ["m", "f"], ordered=True),
        "site": pd.Series(["a", None, "a"], dtype="str"),
    }
)


def _round_trip(tmp_path, content):
    results.save(tmp_path / "a.pkl", content)
    return results.load(tmp_path / "a.pkl")


def test_frames_come_back_equal(tmp_path):
    multi = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["u", None])
    frames = {
        "plain": FRAME,
        "named": FRAME.set_index("patient_id"),
        "filtered": FRAME[FRAME["is_proven"]],
        "multi": FRAME.set_index(multi),
        "no_rows": FRAME.iloc[:0],
        "no_columns": FRAME[[]],
    }
    got = _round_trip(tmp_path, {"tables": frames})["tables"]
    for name, frame in frames.items():
        pd.testing.assert_frame_equal(got[name], frame, check_column_type=False)


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
@pytest.mark.parametrize("dtype", [object, "str", "string"])
def test_text_comes_back_as_the_text_type_of_this_pandas(tmp_path, dtype, missing):
    frame = pd.DataFrame({"t": pd.Series(["a", missing, ""], dtype=dtype)})
    got = _round_trip(tmp_path, {"table": frame})["table"]["t"]
    assert got.dtype == ("str" if pd.__version__ >= "3" else object)
    assert got.isna().tolist() == [False, True, False]
    assert got.dropna().tolist() == ["a", ""]


def test_nullable_numbers_become_plain_ones(tmp_path):
    frame = pd.DataFrame({"n": pd.array([1, 2], dtype="Int64")})
    got = _round_trip(tmp_path, {"table": frame})["table"]
    assert got["n"].dtype == np.int64


def test_values_come_back_as_builtins_and_arrays(tmp_path):
    arrays = {
        name: np.array([[0, 1], [2, 3]]).astype(name)
        for name in ("?", "i1", "u8", "f2", "f4", ">f8", "c16", "S3", "U5")
    }
    arrays |= {"empty": np.zeros((0, 3)), "scalar": np.array(1.5)}
    arrays["strided"] = np.arange(6.0).reshape(2, 3).T
    content = {
        "none": None,
        "text": "x" * 100,
        "numbers": [1, -(2**63), 2**64 - 1, 0.1, True, b"b"],
        "nested": {"a": {"b": []}},
        "arrays": arrays,
    }
    got = _round_trip(tmp_path, content)
    got_arrays = got.pop("arrays")
    assert got == {k: v for k, v in content.items() if k != "arrays"}
    for name, array in arrays.items():
        assert got_arrays[name].dtype == array.dtype.newbyteorder("=")
        assert got_arrays[name].flags.writeable
        np.testing.assert_array_equal(got_arrays[name], array)


def test_numpy_scalars_become_builtins_and_tuples_lists(tmp_path):
    content = {"a": np.float32(0.5), "b": np.int64(3), "c": np.bool_(True), "d": (1,)}
    got = _round_trip(tmp_path, content | {"e": np.str_("x")})
    assert got == {"a": 0.5, "b": 3, "c": True, "d": [1], "e": "x"}
    assert [type(got[k]) for k in "abce"] == [float, int, bool, str]


def test_shared_values_are_written_as_often_as_they_occur(tmp_path):
    array, text, inner = np.arange(3), "long " * 50, [1]
    content = {"a": [array, array], "b": [text, text], "c": [inner, inner]}
    got = _round_trip(tmp_path, content)
    assert got["b"] == [text, text] and got["c"] == [[1], [1]]
    assert got["a"][0] is not got["a"][1]


def test_equal_content_has_equal_bytes():
    fresh = {"".join(["a", "b"]): ["".join(["x", "y"]), "".join(["x", "y"])]}
    assert _pickle.dumps(fresh) == _pickle.dumps({"ab": ["xy", "xy"]})


class _Mapping(dict):
    pass


@pytest.mark.parametrize(
    "value",
    [
        datetime.date(2026, 1, 1),
        np.datetime64("2026-01-01"),
        pd.Timestamp("2026-01-01"),
        np.array(["2026-01-01"], "M8[D]"),
        np.array([None]),
        np.zeros(1, "f8,f8"),
        np.ma.masked_array([1.0], [True]),
        pd.Series([1.0]),
        pd.DataFrame({"d": pd.to_datetime(["2026-01-01"])}),
        pd.DataFrame({"d": pd.Categorical(pd.to_datetime(["2026-01-01"]))}),
        pd.DataFrame({"d": pd.array([1, None], dtype="Int64")}),
        pd.DataFrame({"d": [1, "a"]}, dtype=object),
        pd.DataFrame({1: [1.0]}),
        pd.DataFrame([[1, 2]], columns=["a", "a"]),
        pd.DataFrame({"a": [1.0]}, index=pd.to_datetime(["2026-01-01"])),
        _Mapping(a=1),
        {1, 2},
        {1: 2},
        {"__table__": 1},
        2**64,
        1j,
        "\udc80",
        print,
        np.longdouble(1),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_values_are_refused_by_name(tmp_path, value):
    with pytest.raises(validate.InputError, match=r"content\.outer\.key"):
        results.save(tmp_path / "a.pkl", {"outer": {"key": value}})
    assert not list(tmp_path.iterdir())


def test_a_list_in_itself_is_refused(tmp_path):
    loop = []
    loop.append(loop)
    with pytest.raises(validate.InputError, match="levels deep"):
        results.save(tmp_path / "a.pkl", {"loop": loop})


def test_the_message_names_column_and_row(tmp_path):
    frame = pd.DataFrame({"d": ["a", datetime.date(2026, 1, 1)]}, dtype=object)
    with pytest.raises(validate.InputError, match=r"content\.table\.d: row 1 is"):
        results.save(tmp_path / "a.pkl", {"table": frame})


def test_plain_pickle_reads_it(tmp_path):
    results.save(tmp_path / "a.pkl", {"table": FRAME, "curve": np.arange(4.0)})
    data = (tmp_path / "a.pkl").read_bytes()
    got = pickle.loads(data)
    np.testing.assert_array_equal(got["curve"], np.arange(4.0))
    plain = pd.DataFrame(got["table"]["columns"])
    rest = FRAME.columns.drop("sex")
    pd.testing.assert_frame_equal(plain[rest], FRAME[rest])
    codes = plain["sex"].to_numpy()
    names = np.array([*got["table"]["categories"]["sex"]["names"], None])
    assert names[codes].tolist() == ["f", None, "m"]
    words = [arg for op, arg, _ in pickletools.genops(data) if op.name == "FRAME"]
    assert words and b"pandas" not in data  # any pandas: no class of it inside


def test_the_allowed_opcodes_are_those_the_writer_makes():
    long = "x" * 300
    content = {"t": FRAME, "deep": np.zeros((1, 1, 1, 1)), "long": [long, 300, 2**20]}
    content |= {"n": [None, 0.5, -1, 2**40, True, False, b"", b"b" * 300], "d": {}}
    content |= {
        "s": np.array(1.0),
        "two": np.zeros((1, 2)),
        "three": np.zeros((1, 2, 3)),
    }
    content |= {"many": [str(i) for i in range(300)] * 2, "one": [1], "k": {"a": 1}}
    used = {op.name for op, _, _ in pickletools.genops(_pickle.dumps(content))}
    # These take strings and bytes above 4 GiB.
    assert set(_pickle.OPCODES) - used <= {"BINUNICODE8", "BINBYTES8"}
    assert len(_pickle.OPCODES) == 34


# --- hostile files -------------------------------------------------------------------


class _Call:
    """Pickles as a call with a state, as a hostile file would hold it."""

    def __init__(self, function, *arguments, state=None):
        self.parts = (function, arguments) + (() if state is None else (state,))

    def __reduce__(self):
        return self.parts


def _numpy_attacks():
    core = np._core.multiarray
    state = (3, "|", None, None, None, -1, -1, 0)
    objects = _Call(np.dtype, "O8", False, True, state=state)
    far = (3, "|", None, ("a",), {"a": (np.dtype("f8"), 1 << 20)}, 8, 1, 16)
    field = _Call(np.dtype, "V8", False, True, state=far)
    empty = (core._reconstruct, np.ndarray, (0,), b"b")
    fill = b"A" * 8
    frombuffer = np._core.numeric._frombuffer
    return {
        "object_reconstruct": _Call(*empty, state=(1, (1,), objects, False, fill)),
        "object_frombuffer": _Call(frombuffer, fill, objects, (1,), "C"),
        "object_scalar": _Call(core.scalar, objects, fill),
        "far_field": _Call(*empty, state=(1, (1,), field, False, fill)),
        "eight_gib": _Call(core._reconstruct, np.ndarray, (2**33,), b"b"),
    }


def _array_calls():
    calls = {
        "negative": ((-1,), "<f8", b""),
        "too_large": ((2**33,), "|u1", b""),
        "too_small": ((1,), "|u1", b"12"),
        "overflow": ((2**32, 2**32), "<f8", b""),
        "huge_empty": ((2**62, 2**62, 0), "<f8", b""),
        "object": ((1,), "|O", b"A" * 8),
        "void": ((1,), "|V8", b"A" * 8),
        "fields": ((1,), "f8,f8", b"A" * 16),
        "subarray": ((1,), "(2,)f8", b"A" * 16),
        "no_width": ((2**60,), "<U0", b""),
        "date": ((1,), "<M8[D]", b"A" * 8),
        "bool_shape": ((True,), "<f8", b"A" * 8),
        "strides": ((1,), "<f8", b"A" * 8, 0, (1 << 20,)),
        "odd_bool": ((1,), "|b1", b"A"),
        "odd_character": ((1,), "<U1", b"\xff" * 4),
        "list_shape": ([1], "<f8", b"A" * 8),
        "dimensions": ((1,) * 60, "<f8", b"A" * 8),
    }
    return {f"array_{name}": _Call(np.ndarray, *call) for name, call in calls.items()}


def _table(**changes):
    table = {"__table__": 1, "num_rows": 1, "columns": {"a": ["x"]}, "categories": {}}
    return table | {"index": None, "index_names": [None]} | changes


def _tables():
    codes = _Call(np.ndarray, (1,), "|i1", b"\x07")
    category = {"names": ["x"], "ordered": False}
    return {
        "rows": _table(num_rows=2),
        "huge": _table(num_rows=2**60, columns={}),
        "columns": _table(columns=[1]),
        "cell": _table(columns={"a": [{}]}),
        "codes": _table(columns={"a": codes}, categories={"a": category}),
        "no_column": _table(categories={"b": category}),
        "names": _table(index_names=[]),
        "version": _table(__table__=2),
        "fields": {"__table__": 1},
    }


def _deep(opcode, count, is_key):
    inner = b")" if opcode == b"\x85" else b"]"
    item = inner + opcode * count
    return b"\x80\x04}" + (item + b"N" if is_key else b"\x8c\x01a" + item) + b"s."


def _doubling(levels):
    """A list of two equal lists of two equal lists ...: 2**levels items by name."""
    step = b"".join(b"]\x94(h%ch%ce" % (i, i) for i in range(levels))
    return b"\x80\x04}\x8c\x01a]\x94" + step + b"s."


def _repeated(text):
    """One MB named again and again: as arrays, as one column of text."""
    size = 1 << 20
    same = bytes(size)
    arrays = [_Call(np.ndarray, (size,), "|u1", same) for _ in range(2000)]
    column = _table(num_rows=10_000, columns={"a": [text] * 10_000})
    return {"repeated_arrays": arrays, "repeated_text": column}


def _raw_files():
    good = _pickle.dumps({"a": 1})
    loop = b"\x80\x04}\x8c\x01a]\x94h\x00as."
    return {
        "declares_16_gib": b"\x80\x04\x8e" + struct.pack("<Q", 2**34) + b".",
        "memo_2_31": b"\x80\x04Nr" + struct.pack("<I", 2**31 - 1) + b".",
        "frame_16_gib": b"\x80\x04\x95" + struct.pack("<Q", 2**34) + b"N.",
        "bytearray": b"\x80\x05\x96" + struct.pack("<Q", 2**34) + b".",
        "no_memo": b"\x80\x04}\x8c\x01aj\xff\xff\xff\x7fs.",
        "trailing": good + b"N.",
        "cut": good[:-1],
        "empty": b"",
        "not_a_dict": pickle.dumps([1], 4),
        "text": b"PK\x03\x04 hello",
        "global_itself": b"\x80\x04}\x8c\x01a\x8c\x05numpy\x8c\x07ndarray\x93s.",
        "tuple": pickle.dumps({"a": (1,)}, 4),
        "number_key": pickle.dumps({1: 2}, 4),
        "deep_tuple_key": _deep(b"\x85", 1_000_000, True),
        "deep_list": b"\x80\x04}\x8c\x01a" + b"]" * 200_000 + b"a" * 199_999 + b"s.",
        "loop": loop,
        "doubling": _doubling(60),
    }


def _hostile_files():
    calls = {"system": _Call(os.system, "echo gotcha"), "eval": _Call(eval, "1+1")}
    calls["frame"] = FRAME
    calls |= _numpy_attacks() | _array_calls()
    calls |= _repeated("t" * (1 << 20))
    calls |= {f"table_{name}": table for name, table in _tables().items()}
    files = {name: pickle.dumps({"a": c}, 4) for name, c in calls.items()}
    return files | _raw_files()


# Loads every file in a process of its own with 512 MB to spare; says how each ended.
_LOADER = """
import json, os, pathlib, pickle, resource, sys
from mia_jax import results
assert "jax" not in sys.modules
ends = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    child = os.fork()
    if child == 0:
        size = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (size + (1 << 29),) * 2)
        resource.setrlimit(resource.RLIMIT_CPU, (10, 10))
        try:
            results.load(path)
        except pickle.UnpicklingError as error:
            os._exit(0 if path.name in str(error) else 3)
        except BaseException:
            os._exit(2)
        os._exit(1)
    ends[path.name] = os.waitpid(child, 0)[1]
print(json.dumps(ends))
"""


def _run(script, *arguments):
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=os.path.dirname(os.path.dirname(results.__file__)),
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs RLIMIT_AS")
def test_hostile_files_are_refused_in_bounded_memory(tmp_path):
    files = _hostile_files()
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    out = _run(_LOADER, tmp_path)
    assert "gotcha" not in out
    ends = json.loads(out)
    assert {name: end for name, end in ends.items() if end} == {}
    assert len(ends) == len(files)


def test_the_hostile_tables_are_one_change_away_from_a_good_one():
    got = _pickle.loads(pickle.dumps({"a": _table()}, 4))
    pd.testing.assert_frame_equal(got["a"], pd.DataFrame({"a": ["x"]}))
    short = _repeated("short")["repeated_text"]
    assert len(_pickle.loads(pickle.dumps({"a": short}, 4))["a"]) == 10_000


PLAIN = (type(None), bool, int, float, str, bytes, dict, list, np.ndarray, pd.DataFrame)


def _check_plain(value):
    assert type(value) in PLAIN
    if type(value) is dict:
        value = list(value.values())
    if type(value) is list:
        for item in value:
            _check_plain(item)
    if type(value) is pd.DataFrame:
        repr(value)
    if type(value) is np.ndarray:
        assert value.dtype.kind in "biufcSU"
        value.tolist()


def _mutated(data, generator):
    """The file with one to four bytes changed, sometimes cut or with a part doubled."""
    data = bytearray(data)
    for _ in range(generator.integers(1, 5)):
        data[generator.integers(len(data))] = generator.integers(256)
    kind, place = generator.integers(20), int(generator.integers(len(data)))
    if kind == 0:
        del data[place:]
    if kind == 1:
        data[place:place] = data[place : place + 16]
    return bytes(data)


@pytest.mark.parametrize("count", [3000, pytest.param(20_000, marks=pytest.mark.slow)])
@pytest.mark.filterwarnings("ignore")  # what pandas says of odd numbers is no matter
def test_mutated_files_are_refused_or_plain(count):
    good = _pickle.dumps({"schema": "a", "table": FRAME, "x": np.arange(3), "y": [1.5]})
    generator, num_loaded = np.random.default_rng(0), 0
    for _ in range(count):
        try:
            content = _pickle.loads(_mutated(good, generator))
        except _pickle.DamagedError:
            continue
        num_loaded += 1
        _check_plain(content)
    assert 0 < num_loaded < count


def test_a_damaged_file_is_both_errors_and_named(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"\x80\x04")
    for error in (validate.InputError, pickle.UnpicklingError):
        with pytest.raises(error, match=r"a\.pkl"):
            results.load(tmp_path / "a.pkl")
    with pytest.raises(validate.InputError, match=r"b\.pkl"):
        results.load(tmp_path / "b.pkl")


# --- run folders, JSON, CSV, arrays ---------------------------------------------------


def test_a_run_folder_gives_its_results(tmp_path):
    results.write_json(tmp_path / "summary.json", {"num_models": 4})
    for kind in ("patients", "curves"):
        field = results.KINDS[kind]
        value = FRAME if field == "table" else {"roc": FRAME}
        content = {"schema": results.schema(kind), field: value}
        results.save(tmp_path / f"{kind}.pkl", content)
    got = results.load(tmp_path)
    assert list(got) == ["summary", "patients", "curves"]
    assert got["summary"] == {"num_models": 4}
    pd.testing.assert_frame_equal(got["patients"], FRAME)
    pd.testing.assert_frame_equal(got["curves"]["roc"], FRAME)


def test_a_run_folder_without_results_or_of_another_version_is_refused(tmp_path):
    with pytest.raises(validate.InputError, match="holds no results"):
        results.load(tmp_path)
    content = {"schema": "mia_jax.patients/9", "table": FRAME}
    results.save(tmp_path / "patients.pkl", content)
    with pytest.raises(validate.InputError, match="patients/9"):
        results.load(tmp_path)


def test_json_is_plain_and_finite(tmp_path):
    path = tmp_path / "new" / "a.json"
    results.write_json(path, {"b": np.float32(0.5), "a": (np.int64(1), None, "ä")})
    assert json.loads(path.read_bytes()) == {"b": 0.5, "a": [1, None, "ä"]}
    for bad in (np.nan, np.float32(np.inf), np.arange(2), {1: 2}, {1}):
        with pytest.raises(validate.InputError, match=r"a\.x\[1\]"):
            results.write_json(path, {"x": [0, bad]})
    assert json.loads(path.read_bytes())["b"] == 0.5  # the old file is still there


def test_csv_reads_back_to_the_same_numbers(tmp_path):
    frame = pd.DataFrame({"a": ["x,1", 'y"', ""], "b": [0.1, np.nan, 1 / 3]})
    results.write_csv(tmp_path / "t" / "a.csv", frame)
    text = (tmp_path / "t" / "a.csv").read_bytes()
    got = pd.read_csv(io.BytesIO(text), keep_default_na=False, na_values={"b": [""]})
    pd.testing.assert_frame_equal(got, frame, check_exact=True)
    assert b"\r" not in text


def test_arrays_are_npy_files(tmp_path):
    array = np.arange(12, dtype=np.float32).reshape(3, 4)[:, ::2]
    results.write_array(tmp_path / "a.npy", array)
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), array)
    with pytest.raises(validate.InputError, match="object"):
        results.write_array(tmp_path / "b.npy", np.array([None]))
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_a_failed_write_leaves_the_old_file_alone(tmp_path, monkeypatch):
    results.save(tmp_path / "a.pkl", {"a": 1})

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        results.save(tmp_path / "a.pkl", {"a": 2})
    assert results.load(tmp_path / "a.pkl") == {"a": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["a.pkl"]
