"""What a report may show: tables already selected, before any figure or page sees them.

A report with patient rows and one without differ here and nowhere else: curves and the
numbers inside figures are data too, so nothing is ever hidden by a style sheet.
"""

import json
import pathlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from mia_jax import results, validate
from mia_jax.report import pseudonyms, suppression, suppression_groups, words

MAX_DOTS = 300  # proven patients drawn one by one; above, bars
MAX_RECORD_DOTS = 150  # per number of records
MAX_ROWS = 100  # most exposed patients
_SCHEMAS = ("mia_jax.summary/1", "mia_jax.summary/2")  # the first has fewer numbers
_CURVES = ("roc", "survival", "denoised", "histogram", "by_num_records", "max_record")
# Pages say so, or leave it out, where a run has none of these.
_OPTIONAL_CURVES = (
    *("roc_by_attack", "denoised_ash", "precision", "survival_by_group"),
    *("proven", "chance"),  # in bins of their own, in a public report
)


class ReportData(NamedTuple):
    """All that figures and pages see.

    Attributes:
      summary: of summary.json.
      curves: name -> table: roc, survival, denoised, histogram, by_num_records,
        max_record; where measured roc_by_attack, denoised_ash, precision,
        survival_by_group.
      groups: one row per attribute and value; may be empty.
      proven_auc: joint AUCs of the proven patients, sorted; None where they are more
        than `MAX_DOTS` and drawn as bars, or not to be shown one by one.
      record_dots: columns num_records (text, as in the curve) and auc: proven patients,
        at most `MAX_RECORD_DOTS` for each number of records.
      highest: the highest mask-free AUC of all patients; None = not to be shown.
      most_exposed: rows with pseudonyms, None in a report without patient rows.
      attributes: the group columns of `most_exposed`.
      top_quantile: (q, AUC), in place of the highest patient where that is not shown.
    """

    summary: dict[str, Any]
    curves: dict[str, pd.DataFrame]
    groups: pd.DataFrame
    proven_auc: np.ndarray | None
    record_dots: pd.DataFrame
    highest: float | None
    most_exposed: pd.DataFrame | None
    attributes: tuple[str, ...]
    top_quantile: tuple[float, float] | None = None

    @property
    def num_patients(self) -> int:
        return self.summary["num_patients"]

    @property
    def num_proven(self) -> int | str:
        """Proven patients; "<5" in a public report."""
        return self.summary["num_proven"]

    @property
    def is_public(self) -> bool:
        return self.most_exposed is None

    def share_above(self, level: float) -> float | str | None:
        """Share of patients whose joint AUC is above a level of the survival curve.

        In a public report "<5" where the curve has ended, None where it has no step.
        """
        curve = self.curves["survival"]
        known = curve[curve["share"].notna()]
        row = known[np.isclose(known["auc"], level)]
        if len(row):
            return float(row["share"].iloc[0])
        has_ended = known.empty or level > known["auc"].max()
        return words.FEW if has_ended else None


def confidential(folder: pathlib.Path, key: bytes) -> ReportData:
    """Everything, with at most `MAX_ROWS` patients under pseudonyms.

    Args:
      folder: of a finished run.
      key: of the pseudonyms.

    Raises:
      InputError: a file of the run is missing, damaged or of another schema.
    """
    found = _read(folder)
    patients, curves = found["patients"], found["curves"]
    is_proven = patients["is_proven"].to_numpy(bool)
    auc = patients["auc"].to_numpy(float)
    compared = found["groups"]["attribute"].unique()
    few = int(is_proven.sum()) <= MAX_DOTS
    return ReportData(
        summary=found["summary"],
        curves=curves,
        groups=found["groups"],
        proven_auc=np.sort(auc[is_proven]) if few else None,
        record_dots=_record_dots(patients[is_proven], curves["by_num_records"]),
        highest=float(patients["auc_mask_free"].max()),
        most_exposed=_most_exposed(patients, key),
        attributes=tuple(name for name in compared if name in patients),
    )


def public(folder: pathlib.Path) -> ReportData:
    """What anybody may read: no row of a patient, no number that points to a few.

    Args:
      folder: of a finished run.

    Raises:
      InputError: a file of the run is missing, damaged or of another schema, or the
        cohort has fewer than ten patients.
    """
    found = _read(folder)
    parts = (found[name] for name in ("summary", "curves", "groups", "patients"))
    shown = suppression.apply(*parts)
    return ReportData(
        summary=shown.summary,
        curves=shown.curves,
        groups=shown.groups,
        proven_auc=None,
        record_dots=pd.DataFrame({"num_records": [], "auc": []}),
        highest=None,
        most_exposed=None,
        attributes=(),
        top_quantile=shown.top_quantile,
    )


def _read(folder: pathlib.Path) -> dict[str, Any]:
    found = results.load(folder)
    for name in ("summary", "patients", "groups", "curves"):
        validate.require(
            name in found,
            f"{folder} has no {name}",
            "a report needs summary.json, patients.pkl, groups.pkl and curves.pkl",
            "run the attack stage again, it writes all of them",
        )
    missing = [name for name in _CURVES if name not in found["curves"]]
    validate.require(
        not missing,
        f"{folder / 'curves.pkl'} has no table {validate.listing(missing)}",
        f"a report needs the curves {', '.join(_CURVES)}",
        "run the attack stage again",
    )
    _require_schema(folder, found["summary"])
    return found


def _require_schema(folder: pathlib.Path, summary: dict[str, Any]) -> None:
    validate.require(
        summary.get("schema") in _SCHEMAS,
        f"{folder / 'summary.json'}: schema {summary.get('schema')!r}",
        f"must be {validate.listing(_SCHEMAS)}",
        "read it with the version of mia_jax that wrote it, or write it again",
    )


def _record_dots(proven: pd.DataFrame, by_num_records: pd.DataFrame) -> pd.DataFrame:
    """Proven patients of each number of records, evenly thinned by rank."""
    parts = []
    for label in by_num_records["num_records"].astype(str):
        chosen = proven["num_records"].between(*suppression_groups.between(label))
        auc = np.sort(proven.loc[chosen, "auc"].to_numpy(float))
        size = min(len(auc), MAX_RECORD_DOTS)
        kept = np.linspace(0, len(auc) - 1, size).round().astype(int)
        parts.append(pd.DataFrame({"num_records": label, "auc": auc[kept]}))
    if not parts:
        return pd.DataFrame({"num_records": [], "auc": []})
    return pd.concat(parts, ignore_index=True)


def _most_exposed(patients: pd.DataFrame, key: bytes) -> pd.DataFrame:
    """The patients of highest joint AUC, under pseudonyms, without their ids."""
    names = pseudonyms.names(patients["patient_id"].astype(str).tolist(), key)
    # Ties are broken by pseudonym: the order of the ids must not show.
    named = patients.assign(pseudonym=patients["patient_id"].astype(str).map(names))
    order = ["auc", "pseudonym"]
    rows = named.sort_values(order, ascending=[False, True]).head(MAX_ROWS)
    rows = rows.drop(columns="patient_id").reset_index(drop=True)
    return rows[["pseudonym", *[c for c in rows.columns if c != "pseudonym"]]]


def to_json(data: ReportData) -> str:
    """Summary, curves and groups for the page's own script; no patient rows.

    "<" is escaped, so that no text can end the script element.
    """
    names = [n for n in (*_CURVES, *_OPTIONAL_CURVES) if n in data.curves]
    tables = {n: _records(data.curves[n]) for n in names if n != "survival_by_group"}
    content = {
        "schema": "mia_jax.report/2",
        "summary": data.summary,
        "curves": tables,
        "survival_by_group": group_curves(data),
        "groups": _records(data.groups),
    }
    text = json.dumps(content, ensure_ascii=False, allow_nan=False)
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028")


def group_curves(data: ReportData) -> list[dict[str, Any]]:
    """The survival curve of every group: its names once, then columns as lists."""
    table = data.curves.get("survival_by_group")
    if table is None or table.empty:
        return []
    names = ["attribute", "value", "num_patients"]
    return [
        {
            **dict(zip(names, map(_plain, key), strict=True)),
            **_records(part[["auc", "share", "null_low", "null_high"]]),
        }
        for key, part in table.groupby(names, sort=False)
    ]


def _records(table: pd.DataFrame) -> dict[str, list]:
    """Columns as lists; no value is null; six digits are enough to read off a curve."""
    return {name: [_plain(v) for v in table[name].tolist()] for name in table.columns}


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else None
    return value
