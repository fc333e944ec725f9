"""The command line as a person meets it: messages, exit codes, printed settings.

Each case runs a small binary in a process of its own, since flags are global and what
counts is what arrives on stderr.
"""

import os
import pathlib
import signal
import subprocess
import sys

import pytest

from experiments import config_file, overrides

ROOT = pathlib.Path(__file__).parent.parent

BINARY = '''
"""A sample binary."""

from absl import flags
from experiments import cli
from mia_jax import validate

flags.DEFINE_integer("fail_if_proven", None, "exit with 3 above this many")


def main(config, given):
    print(config.train.num_models, config.train.rate, config.train.hidden)
    print(config.train.same_init, config.train.optimizer, given.workdir)
    if config.seed == 1:
        raise RuntimeError("a bug")
    if config.seed == 2:
        raise validate.InputError("train.num_models=3", "must be\\neven", "use 4")
    if config.seed == 3:
        return 3
    if config.seed == 130:
        raise KeyboardInterrupt


if __name__ == "__main__":
    cli.config_flag()
    cli.run(main)
'''

SLOW = """
import signal
import time

from experiments import cli
from mia_jax import progress

# Ignored where a shell started the tests in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)


def main(config, given):
    with progress.Progress() as stages, stages.stage("train", "models", total=9):
        print("working", flush=True)
        time.sleep(60)


cli.config_flag()
cli.run(main)
"""

CONFIG = """
import dataclasses

import ml_collections

from mia_jax import config as settings


def get_config():
    train = dataclasses.asdict(settings.TrainSettings())
    train |= {"rate": 0.0, "hidden": (64, 64), "limit": None}
    speed = dataclasses.asdict(settings.SpeedSettings())
    return ml_collections.ConfigDict({"seed": 0, "train": train, "speed": speed})
"""

FILES = {
    "sample.py": BINARY,
    "c.py": CONFIG,
    "choice.py": CONFIG.replace("get_config()", "get_config(size)"),
    "empty.py": "",
    "none.py": "def get_config():\n    pass\n",
    "broken.py": "def get_config(:\n",
    "bug.py": "def get_config():\n    return 1 / 0\n",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("cli")
    for name, text in FILES.items():
        (path / name).write_text(text)
    return path


def _run(folder, arguments, program=("sample.py",)):
    return subprocess.run(
        [sys.executable, *program, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        capture_output=True,
        text=True,
        timeout=60,
    )


def _fails(folder, arguments):
    """The three lines of a user's error."""
    done = _run(folder, arguments)
    assert done.returncode == 2, done
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 3 and all(line.strip() for line in lines), done.stderr
    return lines


def test_overrides_arrive(folder):
    fields = ["num_models=64", "rate=1e-4", "hidden=(32,16)", "same_init", "optimizer="]
    arguments = [f"--config.train.{field}" for field in fields]
    done = _run(folder, ["--config=c.py", *arguments, "--workdir", "runs/r"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "64 0.0001 (32, 16)\nTrue  runs/r\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--config", "c.py", "-config.train.num_models", "64", "--workdir=r"],
        ["--workdir=r", "--config=c.py", "--config.train.hidden=64,64"],
        ["--config=c.py", "--config.train.rate=1", "--noconfig.train.same_init"],
        ["--config=c.py", "--config.train.same_init=false", "--workdir=help"],
    ],
)
def test_every_way_of_writing_a_flag(folder, arguments):
    if not any("workdir" in argument for argument in arguments):
        arguments = [*arguments, "--workdir=r"]
    done = _run(folder, arguments)
    assert (done.returncode, done.stderr) == (0, "")


def test_mistyped_field(folder):
    lines = _fails(folder, ["--config=c.py", "--config.train.num_model=3"])
    assert lines[0] == "--config.train.num_model=3: there is no such field"
    assert lines[1] == "did you mean --config.train.num_models=3 ?"
    assert lines[2].startswith("known: train.batch_size, train.ema_decay")


# What is typed -> what must stand in the first and in one of the other lines.
MISTAKES = {
    "wrong section": (["--config.num_models=3"], "field", "--config.train.num_models"),
    "section": (["--config.train=3"], "section", "train.num_models"),
    "float for int": (["--config.train.num_models=64.0"], "whole", "num_models=64"),
    "power for int": (["--config.train.num_models", "1e3"], "whole", "num_models=1000"),
    "word for int": (["--config.train.num_models=x"], "num_models=x", "num_models=512"),
    "no value": (["--config.train.num_models"], "whole", "num_models=512"),
    "yes for bool": (["--config.train.same_init=yes"], "true or false", "init=true"),
    "bool and space": (
        ["--config.train.same_init", "false"],
        "'false'",
        "--NAME=VALUE",
    ),
    "comma for float": (["--config.train.rate=0,1"], "number", "rate=0.1"),
    "word in tuple": (["--config.train.hidden=64,a"], "hidden=64,a", "hidden=64,64"),
    "half a tuple": (["--config.train.hidden=(64,"], "hidden=(64,", "hidden=64,64"),
    "None default": (["--config.train.limit=3"], "None", "copy"),
    "no... on int": (["--noconfig.seed"], "--noconfig.seed", "--config.seed=VALUE"),
    "unknown flag": (["--workdri=r"], "--workdri", "did you mean --workdir ?"),
    "flag is a field": (
        ["--num_models=4"],
        "--num_models",
        "--config.train.num_models",
    ),
    "strange flag": (["--qwxyz"], "--qwxyz", "known: --config, --dry_run"),
    "wrong flag value": (["--fail_if_proven=x"], "--fail_if_proven=x", "--help"),
    "flag at the end": (["--workdir"], "--workdir", "--help"),
    "no flag": (["num_models=3"], "'num_models=3'", "--NAME=VALUE"),
    "no workdir": ([], "--workdir is missing", "--workdir=runs/NAME"),
    "two files": (["--config=choice.py"], "given 2 times", "keep one"),
    "flag file": (["--flagfile=absent"], "absent", "--help"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_gets_three_lines(folder, name):
    arguments, first, later = MISTAKES[name]
    # All but one case have a workdir, so that the mistake is the only one.
    workdir = ["--workdir=r"] if arguments and arguments != ["--workdir"] else []
    lines = _fails(folder, ["--config=c.py", *workdir, *arguments])
    assert first in lines[0]
    assert later in lines[1] + "\n" + lines[2]


@pytest.mark.parametrize(
    ("arguments", "first", "remedy"),
    [
        ([], "--config is missing", "--config="),
        (["--config="], "--config is missing", "--config="),
        (["--config.train.num_models=3"], "--config is missing", "--config="),
        (["--help_config"], "--config is missing", "--config="),
        (["--config=d.py"], "--config=d.py: no such file", ""),
        (["--config=."], "--config=.: no such file", ""),
        (["--config=c.py:small"], "--config=c.py:small", "write --config=c.py"),
        (["--config=choice.py"], "size", "--config=choice.py:ARGUMENT"),
        (["--config=empty.py"], "no function get_config", "copy"),
        (["--config=none.py"], "returns NoneType", "return config"),
        (["--config=broken.py"], "broken.py, line 1", "correct the file"),
        (
            ["--config.train.num_models=3", "--config=c.py"],
            "--config.train.num_models=3 stands before --config",
            "write --config=c.py --config.train.num_models=3",
        ),
    ],
)
def test_config_file_mistakes(folder, arguments, first, remedy):
    lines = _fails(folder, [*arguments, "--workdir=r"])
    assert first in lines[0]
    assert remedy in lines[2]


def test_input_error_of_the_run_itself(folder):
    done = _run(folder, ["--config=c.py", "--workdir=r", "--config.seed=2"])
    assert done.returncode == 2
    assert done.stderr == "train.num_models=3\nmust be even\nuse 4\n"


@pytest.mark.parametrize("arguments", [["--config=bug.py"], ["--config=c.py"]])
def test_bug_keeps_its_traceback(folder, arguments):
    if arguments == ["--config=c.py"]:
        arguments = [*arguments, "--config.seed=1"]
    done = _run(folder, [*arguments, "--workdir=r"])
    assert done.returncode == 1
    assert done.stderr.startswith("Traceback")
    assert "ZeroDivisionError" in done.stderr or "a bug" in done.stderr


@pytest.mark.parametrize(("seed", "code"), [(0, 0), (3, 3), (130, 130)])
def test_exit_codes(folder, seed, code):
    done = _run(folder, ["--config=c.py", "--workdir=r", f"--config.seed={seed}"])
    assert done.returncode == code
    interrupted = "interrupted: finished groups are kept, the same command continues\n"
    assert done.stderr == (interrupted if code == 130 else "")


def test_interrupt_key(folder):
    """A real SIGINT in the middle of the work: one line, no traceback."""
    (folder / "slow.py").write_text(SLOW)
    with subprocess.Popen(
        [sys.executable, "slow.py", "--config=c.py", "--workdir=r"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": f"{ROOT}"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout.readline() == "working\n"
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate()
    assert process.returncode == 130
    assert stderr.startswith("interrupted: finished groups are kept")
    assert stderr.count("\n") == 1


def test_help_config_prints_every_field(folder):
    done = _run(folder, ["--config=c.py", "--config.train.num_models=64"])
    assert done.returncode == 2  # without --help_config, the workdir is needed
    arguments = ["--config=c.py", "--config.train.num_models=64", "--help_config"]
    done = _run(folder, arguments)
    assert (done.returncode, done.stderr) == (0, "")
    lines = {line.split()[0]: line for line in done.stdout.splitlines()[2:]}
    assert set(lines) == set(overrides.fields(config_file.load(f"{folder}/c.py")))
    columns = lines["train.num_models"].split(maxsplit=2)
    assert columns[1] == "64" and columns[2].startswith("shadow models")
    assert lines["train.hidden"].split()[1] == "64,64"
    assert lines["train.same_init"].split()[1] == "false"


def test_help(folder):
    for arguments in (["--help"], ["--config.nothing=3", "--help"]):
        done = _run(folder, arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert "A sample binary." in done.stdout
        for flag in ("--config", "--workdir", "dry_run", "help_config", "--fail_if"):
            assert flag in done.stdout


def test_messages_name_the_module_that_was_started(folder):
    arguments = ["--config=c.py", "--workdir"]
    done = _run(folder, arguments, program=("-m", "sample"))
    assert "python -m sample --help" in done.stderr
