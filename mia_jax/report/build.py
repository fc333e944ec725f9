"""Writes what a person reads into the folder of a finished run."""

import os
import pathlib

from absl import logging

from mia_jax import _files
from mia_jax.report import cells, contents, figures, html, pseudonyms

REPORT = "report.html"
PUBLIC = "report_public.html"
FIGURES = "figures"


def write(
    folder: pathlib.Path, key_file: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Writes `figures/fig_<name>.{svg,pdf,png,csv}` and the two reports.

    Every file is written whole or not at all, the confidential report last. The same
    run and key give the same bytes; files of an older run that no longer apply are
    removed. Figures are as confidential as the report that holds them.

    Args:
      folder: of a finished run: summary.json, patients.pkl, groups.pkl, curves.pkl.
      key_file: of the pseudonyms, outside `folder`; None = $MIA_JAX_PSEUDONYM_KEY, else
        ~/.config/mia_jax/pseudonym.key. Made if absent.

    Returns:
      Path of the confidential report; the public one lies beside it under `PUBLIC`,
      unless the cohort has fewer than ten patients.

    Raises:
      InputError: a missing or damaged file, or a key that others may read.
    """
    folder = pathlib.Path(folder)
    key = pseudonyms.load_key(pseudonyms.key_path(key_file), folder)
    data = contents.confidential(folder, key)
    page, public = html.render(data), _public(folder, data.num_patients)
    drawn = figures.for_print(data)
    for name, content in drawn.items():
        _files.write(folder / FIGURES / name, content)
    for name in figures.FILES:
        if name not in drawn:
            (folder / FIGURES / name).unlink(missing_ok=True)
    if public is None:
        (folder / PUBLIC).unlink(missing_ok=True)
    else:
        _files.write(folder / PUBLIC, public.encode("utf-8"))
    _files.write(folder / REPORT, page.encode("utf-8"))
    return folder / REPORT


def _public(folder: pathlib.Path, num_patients: int) -> str | None:
    """The public page; None for so few patients that nothing could be shown."""
    if num_patients < cells.FEWEST_IN_GROUP:
        logging.info("%s: too few patients for a public report", PUBLIC)
        return None
    return html.render(contents.public(folder))
