"""Progress with time left: a bar in a terminal, a log line now and then elsewhere.

    with progress.Progress() as stages:
        with stages.stage("train", "models", total=256, done=40) as advance:
            advance(4)
        with stages.stage("risk", "4,730 patients, 22 groups"):
            ...

Everything goes to stderr. Log messages of absl stay whole beside the bar.
"""

import contextlib
import dataclasses
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator

import rich.console
import rich.progress
import rich.text
from absl import logging

LOG_SHARE = 0.1  # without a terminal: a line per tenth of a stage ...
LOG_SECONDS = 60.0  # ... or per minute, whichever comes first


@dataclasses.dataclass
class Stage:
    """One stage of a run.

    Attributes:
      name: e.g. "train".
      text: what is counted ("models"), or the whole description if `total` is None.
      total: how many there are; None = not counted.
      done: how many are done, those of an earlier run included.
      first: how many were done when the stage began.
      started, updated: seconds on the clock, at the start and the last advance.
    """

    name: str
    text: str
    total: int | None
    done: int
    first: int
    started: float
    updated: float

    def counted(self) -> str:
        """What is done: "128/256 models"."""
        if self.total is None:
            return self.text
        return f"{self.done:,}/{self.total:,} {self.text}"

    def seconds_left(self, now: float) -> float | None:
        """Seconds to the end at the mean pace of this run; None = not known yet.

        What an earlier run did cost no time in this one, so it is left out of the pace.
        """
        steps = self.done - self.first
        if self.total is None or steps <= 0:
            return None
        pace = (self.updated - self.started) / steps
        return max(pace * (self.total - self.done) - (now - self.updated), 0.0)


class Progress:
    """Shows the stages of a run, one after the other; a context manager."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._lock = threading.Lock()
        self._exit = contextlib.ExitStack()

    def __enter__(self) -> "Progress":
        display = _bar if _is_terminal() else _log
        self._display = self._exit.enter_context(display(self._clock))
        return self

    def __exit__(self, *error: object) -> None:
        self._exit.close()

    @contextlib.contextmanager
    def stage(
        self, name: str, text: str, total: int | None = None, done: int = 0
    ) -> Iterator[Callable[[int], None]]:
        """Shows one stage until the block ends.

        Args:
          name: one word, e.g. "train".
          text: what is counted ("models"); without `total`, the whole description.
          total: how many there are.
          done: how many an earlier run has done already.

        Yields:
          advance(count=1): says that `count` more are done; safe from any thread.
        """
        now = self._clock()
        stage = Stage(name, text, total, done, done, now, now)
        self._display.begin(stage)

        def advance(count: int = 1) -> None:
            with self._lock:
                stage.done += count
                stage.updated = self._clock()
                self._display.update(stage)

        try:
            yield advance
        except BaseException:
            self._display.end(stage, is_complete=False)
            raise
        self._display.end(stage, is_complete=True)


def clock_text(seconds: float) -> str:
    """Seconds as "2:38" or "1:02:38"."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"


def _is_terminal() -> bool:
    """Whether stderr can move its cursor; FORCE_COLOR and the like do not count."""
    return sys.stderr.isatty() and os.environ.get("TERM", "") not in ("", "dumb")


@contextlib.contextmanager
def _log(clock: Callable[[], float]) -> Iterator["_LogDisplay"]:
    yield _LogDisplay(clock)


class _LogDisplay:
    """Log lines for a file or a pipe: no control characters."""

    def __init__(self, clock: Callable[[], float]):
        self._clock = clock

    def begin(self, stage: Stage) -> None:
        self._share = stage.done / stage.total if stage.total else 0.0
        self._time = stage.started

    def update(self, stage: Stage) -> None:
        if not stage.total or stage.done >= stage.total:
            return  # the last line comes when the stage ends
        now, share = self._clock(), stage.done / stage.total
        # Tenths are counted from 0, so lines fall on 10 %, 20 %, ... also on a resume.
        tenths = int(share / LOG_SHARE + 1e-9) - int(self._share / LOG_SHARE + 1e-9)
        if not tenths and now - self._time < LOG_SECONDS:
            return
        self._share, self._time = share, now
        left = clock_text(stage.seconds_left(now) or 0.0)
        logging.info(
            "%s: %s (%.0f %%), %s left", stage.name, stage.counted(), 100 * share, left
        )

    def end(self, stage: Stage, is_complete: bool) -> None:
        if is_complete:
            spent = clock_text(self._clock() - stage.started)
            logging.info("%s: %s in %s", stage.name, stage.counted(), spent)


@contextlib.contextmanager
def _bar(clock: Callable[[], float]) -> Iterator["_BarDisplay"]:
    """A live bar below the log lines.

    rich puts its own object in place of sys.stderr, which prints above the bar; absl's
    handler keeps the stream it was born with and would write into the bar, so it gets
    rich's object for as long as the bar lives. Soft wrapping leaves long messages
    in one line. A handler that writes to a file keeps its file.
    """
    # force_terminal: what counts is `_is_terminal`, not environment variables.
    console = rich.console.Console(stderr=True, force_terminal=True, soft_wrap=True)
    bar = rich.progress.Progress(
        rich.progress.TextColumn("{task.description:<9}"),
        rich.progress.BarColumn(bar_width=20),
        _StageColumn(clock),
        console=console,
        transient=True,
        refresh_per_second=4,
        # Results on a piped stdout must not end up on stderr.
        redirect_stdout=sys.stdout.isatty(),
    )
    handler = logging.get_absl_handler().python_handler
    stderr, stream = sys.stderr, handler.stream
    with bar:
        if stream in (stderr, sys.__stderr__):
            handler.stream = sys.stderr
        try:
            yield _BarDisplay(bar, clock)
        finally:
            handler.stream = stream


class _BarDisplay:
    """A bar for the running stage, a line for each finished one."""

    def __init__(self, bar: rich.progress.Progress, clock: Callable[[], float]):
        self._bar, self._clock = bar, clock

    def begin(self, stage: Stage) -> None:
        self._task = self._bar.add_task(
            stage.name, total=stage.total, completed=stage.done, stage=stage
        )

    def update(self, stage: Stage) -> None:
        self._bar.update(self._task, completed=stage.done)

    def end(self, stage: Stage, is_complete: bool) -> None:
        self._bar.remove_task(self._task)
        if is_complete:
            spent = clock_text(self._clock() - stage.started)
            line = f"{stage.name:<10}{stage.counted():<34}{spent:>8}"
            self._bar.console.print(rich.text.Text(line))


class _StageColumn(rich.progress.ProgressColumn):
    """What is done, the time spent and the time left."""

    def __init__(self, clock: Callable[[], float]):
        super().__init__()
        self._clock = clock

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        stage, now = task.fields["stage"], self._clock()
        left = stage.seconds_left(now)
        text = f"{stage.counted()}  {clock_text(now - stage.started)}"
        return rich.text.Text(
            text if left is None else f"{text}, {clock_text(left)} left"
        )
