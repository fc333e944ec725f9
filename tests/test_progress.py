"""Progress: time left, and log lines that stay whole in a terminal and in a pipe.

The bar and absl's handler are tested in a process of its own, with a pseudo-terminal or
a pipe as its stderr.
"""

import os
import pathlib
import pty
import re
import subprocess
import sys

import pytest

from mia_jax import progress

ROOT = pathlib.Path(__file__).parent.parent


def test_clock():
    clocks = {158: "2:38", 4: "0:04", 3758: "1:02:38", 59.7: "1:00"}
    assert {value: progress.clock_text(value) for value in clocks} == clocks


def test_time_left_leaves_out_what_was_done_before():
    """40 of 100 from an earlier run, 20 in 10 s: the last 40 take 20 s."""
    stage = progress.Stage("train", "models", 100, 60, 40, started=0.0, updated=10.0)
    assert stage.seconds_left(10.0) == pytest.approx(20.0)
    assert stage.seconds_left(15.0) == pytest.approx(15.0)
    assert stage.seconds_left(99.0) == 0.0
    fresh = progress.Stage("train", "models", 100, 40, 40, started=0.0, updated=0.0)
    assert fresh.seconds_left(5.0) is None


CHILD = """
import sys, threading, time
from absl import app, logging
from mia_jax import progress

def main(argv):
    del argv
    handler = logging.get_absl_handler().python_handler
    born = handler.stream
    with progress.Progress() as stages:
        if "unfixed" in sys.argv:
            handler.stream = born
        with stages.stage("train", "models", total=12, done=2) as advance:
            def work(first):
                for i in range(first, first + 5):
                    time.sleep(0.06)
                    advance(1)
                    logging.info("message %d of a run %s", i, "x" * (9 * i) + ".")
            threads = [threading.Thread(target=work, args=(f,)) for f in (0, 5)]
            [thread.start() for thread in threads]
            [thread.join() for thread in threads]
        with stages.stage("risk", "12 patients"):
            print("a result", flush=True)
    assert handler.stream is born
    logging.info("after the bar")
    try:
        with progress.Progress() as stages, stages.stage("attack", "x", total=3):
            raise KeyError
    except KeyError:
        assert handler.stream is born and sys.stderr is born

app.run(main, argv=sys.argv[:1])
"""
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": f"{ROOT}",
    "TERM": "xterm-256color",
    "COLUMNS": "80",
    "LINES": "40",
    "FORCE_COLOR": "1",  # must not make a terminal of a pipe
}


def _screen(raw):
    """The lines that a terminal shows: carriage return, cursor up, erase line."""
    lines, row, column = [""], 0, 0
    for token in re.findall(r"\x1b\[[?\d;]*[A-Za-z]|\r|\n|[^\x1b\r\n]+", raw):
        if token == "\r":
            column = 0
        elif token == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif token.startswith("\x1b["):
            if token.endswith("A"):
                row = max(row - int(token[2:-1] or 1), 0)
            elif token.endswith("K"):
                lines[row] = ""
        else:
            line = lines[row].ljust(column)
            lines[row] = line[:column] + token + line[column + len(token) :]
            column += len(token)
    return [line.rstrip() for line in lines]


def _in_terminal(*arguments):
    """Runs the child with stderr in a pseudo-terminal; its screen and its stdout."""
    parent, child = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", CHILD, *arguments],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=child,
    )
    os.close(child)
    raw = b""
    while True:
        try:
            part = os.read(parent, 65536)
        except OSError:  # Linux says EIO where the other end is closed
            break
        if not part:
            break
        raw += part
    os.close(parent)
    stdout = process.communicate(timeout=60)[0].decode()
    text = raw.decode()
    assert process.returncode == 0, text
    assert "\x1b[" in text, "not a live bar: nothing is tested"
    return _screen(text), text, stdout


def _num_whole(lines):
    """How often each of the ten messages stands alone and whole on a line."""
    counts = []
    for i in range(10):
        message = re.escape(f"message {i} of a run {'x' * (9 * i)}.")
        pattern = re.compile(rf"I\d+ [\d:.]+ +\d+ [^ ]+:\d+\] {message}")
        counts.append(sum(bool(pattern.fullmatch(line)) for line in lines))
    return counts


def test_bar_and_log_lines_stay_whole_in_a_terminal():
    lines, raw, stdout = _in_terminal()
    assert _num_whole(lines) == [1] * 10
    assert raw.count("message 9 of") == 1
    assert stdout == "a result\n"
    stages = [line for line in lines if line.startswith(("train", "risk", "attack"))]
    assert re.fullmatch(r"train     12/12 models {26}0:0\d", stages[0])
    assert re.fullmatch(r"risk      12 patients {27}0:0\d", stages[1])
    assert len(stages) == 2, "a finished bar or a failed stage leaves no line"
    assert "left" in raw, "the bar shows the time left"
    assert not any("━" in line for line in lines)
    assert lines[-2].endswith("after the bar") or lines[-1].endswith("after the bar")


def test_without_the_handler_fix_messages_are_damaged():
    """The wrong variant is told apart: absl keeps the stream it was born with."""
    lines, _, _ = _in_terminal("unfixed")
    assert _num_whole(lines) != [1] * 10


def test_pipe_gets_plain_lines():
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f]", done.stderr + done.stdout)
    lines = done.stderr.splitlines()
    assert _num_whole(lines) == [1] * 10
    assert sum("models (" in line for line in lines) == 8  # 30 %, 40 %, ... 90 %
    assert any(re.search(r"train: 12/12 models in 0:0\d$", line) for line in lines)
    assert any(re.search(r"risk: 12 patients in 0:00$", line) for line in lines)


def test_log_lines_come_per_tenth_or_per_minute(monkeypatch):
    """1,000 models: ten lines if fast, one a minute if slow."""
    for seconds, expected in ((0.001, 9), (6.0, 99)):
        logged, now = [], [0.0]
        monkeypatch.setattr(
            progress.logging, "info", lambda text, *rest, log=logged: log.append(rest)
        )
        monkeypatch.setattr(progress, "_is_terminal", lambda: False)
        with (
            progress.Progress(clock=lambda now=now: now[0]) as stages,
            stages.stage("train", "models", total=1000) as advance,
        ):
            for _ in range(1000):
                now[0] += seconds
                advance()
        assert len(logged) == expected + 1  # the last line is the end of the stage
