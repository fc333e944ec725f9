"""What an audit hands to a notebook."""

import html
import pathlib
import shutil
import tempfile
import weakref
from typing import Any

import matplotlib.axes
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from mia_jax import results, terminal, validate
from mia_jax.report import build, style
from mia_jax.stages import report


class Result:
    """A finished audit.

    Its text and its picture in a notebook are the headline, never rows of patients: a
    notebook is shared more easily than a file.

    Attributes:
      folder: where its files lie; as the binaries write them.
      headline: the finding in one to three sentences.
      patients: a DataFrame, one row per patient.
      records: a DataFrame, one row per record.
      by_group: a DataFrame, one row per group.
      roc: a DataFrame, the pooled ROC curve of the first attack.
      plot: figures, e.g. `plot.survival(ax=ax)`.
    """

    def __init__(self, folder: pathlib.Path, is_temporary: bool = False):
        """Reads a finished run.

        Args:
          folder: of the run.
          is_temporary: the folder is removed with this object.
        """
        found = results.load(folder)
        validate.require(
            "patients" in found and "summary" in found,
            f"{folder} holds {', '.join(found)}",
            "a finished audit has summary.json and patients.pkl",
            "run the attack stage there first",
        )
        self.folder = pathlib.Path(folder)
        self._summary, self._is_drawn = found["summary"], False
        self.patients: pd.DataFrame = found["patients"]
        self.records: pd.DataFrame = found["records"]
        self.by_group: pd.DataFrame = found["groups"]
        self.roc: pd.DataFrame = found["curves"]["roc"]
        self.plot = Plot(found["curves"], self._summary["num_patients"])
        if is_temporary:
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)

    @property
    def headline(self) -> str:
        return self._summary["headline"]

    def summary(self) -> dict[str, Any]:
        """Every number of the first screen, as in summary.json."""
        return self._summary

    def to_html(self, path: str | pathlib.Path, public: bool = False) -> pathlib.Path:
        """Writes the report as one self-contained page.

        Args:
          path: of the page; its folder must be there.
          public: False: confidential, with rows of single patients under pseudonyms;
            True: without any, small counts suppressed.

        Returns:
          The path.
        """
        if not self._is_drawn:  # both pages are drawn together
            report.run(self.folder)
            self._is_drawn = True
        source = self.folder / (build.PUBLIC if public else build.REPORT)
        validate.require(
            source.exists(),
            f"public=True, {len(self.patients)} patients",
            "so few patients make no public report: every number would be theirs",
            "use the confidential report, public=False",
        )
        return pathlib.Path(shutil.copyfile(source, path))

    def save(self, path: str | pathlib.Path) -> pathlib.Path:
        """Copies all files into a new folder, which `mia_jax.load` reads back.

        Raises:
          InputError: if there is something already.
        """
        path = pathlib.Path(path)
        validate.require(
            not path.exists() or (path.is_dir() and not any(path.iterdir())),
            f"{path} is there already",
            "a result is saved into a new folder",
            "choose another name, or remove it",
        )
        shutil.copytree(self.folder, path, dirs_exist_ok=True)
        return path

    def __str__(self) -> str:
        output = terminal.Output(str(self.folder))
        return terminal.render_result(self._summary, output)

    def __repr__(self) -> str:
        return f"<mia_jax audit: {self.headline}>"

    def _repr_html_(self) -> str:
        headline, detail = (
            html.escape(self._summary[key]) for key in ("headline", "headline_detail")
        )
        return (
            f'<p style="font-size:1.2em;font-weight:600">{headline}</p><p>{detail}</p>'
        )


class Plot:
    """Figures of a result, drawn from its curves."""

    def __init__(self, curves: dict[str, pd.DataFrame], num_patients: int):
        self._curves, self._num_patients = curves, num_patients

    def survival(self, ax: matplotlib.axes.Axes | None = None) -> matplotlib.axes.Axes:
        """Share of patients recognised more often than a level, on a log axis.

        Args:
          ax: drawn into; None = a new figure.

        Returns:
          The axes.
        """
        ax = plt.subplots()[1] if ax is None else ax
        floor = 0.6 / self._num_patients
        curve = self._curves["survival"]
        level, share = 100 * curve["auc"], curve["share"].to_numpy()
        low, high = (np.maximum(curve[k], floor) for k in ("null_low", "null_high"))
        label = "99 % range if nothing leaked"
        ax.fill_between(level, low, high, color=style.NULL, label=label)
        share = np.where(share > 0, share, np.nan)
        ax.plot(level, share, color=style.MEASURED, label="measured")
        denoised = self._curves["denoised"]
        if denoised["share"].notna().any():
            x, y = 100 * denoised["auc"], denoised["share"]
            ax.plot(x, y, "--", color=style.DENOISED, label="noise removed")
        ax.axvline(style.COIN_FLIP, color=style.MUTED, linewidth=0.8)
        ax.set(yscale="log", ylim=(floor, 1.15), xlim=(40, 100))
        ax.set(xlabel=style.TIMES_LABEL_NARROW, ylabel="Share of patients above")
        ax.legend(frameon=False)
        return ax


def load(folder: str | pathlib.Path) -> Result:
    """A finished run, by a notebook or by the binaries.

    Raises:
      InputError: if the folder holds none.
    """
    return Result(pathlib.Path(folder))


def workdir(given: str | pathlib.Path | None) -> pathlib.Path:
    """The folder of an audit; a new temporary one if none is given."""
    if given is not None:
        return pathlib.Path(given)
    return pathlib.Path(tempfile.mkdtemp(prefix="mia_jax_"))
