"""Writes what a person reads into the folder of a finished run."""

import os
import pathlib

from mia_jax import _files
from mia_jax.report import contents, figures, html, pseudonyms

REPORT = "report.html"
FIGURES = "figures"


def write(
    folder: pathlib.Path, key_file: str | os.PathLike[str] | None = None
) -> pathlib.Path:
    """Writes `figures/fig_<name>.{svg,pdf,png,csv}` and the confidential report.

    Every file is written whole or not at all, the report last. The same run and key
    give the same bytes; figures of an older run that no longer apply are removed.

    Args:
      folder: of a finished run: summary.json, patients.pkl, groups.pkl, curves.pkl.
      key_file: of the pseudonyms, outside `folder`; None = $MIA_JAX_PSEUDONYM_KEY, else
        ~/.config/mia_jax/pseudonym.key. Made if absent.

    Returns:
      Path of report.html.

    Raises:
      InputError: a missing or damaged file, or a key that others may read.
    """
    folder = pathlib.Path(folder)
    key = pseudonyms.load_key(pseudonyms.key_path(key_file), folder)
    data = contents.confidential(folder, key)
    page = html.render(data)
    drawn = figures.for_print(data)
    for name, content in drawn.items():
        _files.write(folder / FIGURES / name, content)
    for name in figures.FILES:
        if name not in drawn:
            (folder / FIGURES / name).unlink(missing_ok=True)
    _files.write(folder / REPORT, page.encode("utf-8"))
    return folder / REPORT
