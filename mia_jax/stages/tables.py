"""What the attack stage leaves behind: pickles with provenance, CSV, summary.json."""

import pathlib
from typing import Any

import pandas as pd

from mia_jax import results
from mia_jax.stages import curves, measure


def write(
    folder: pathlib.Path,
    found: measure.Found,
    content: dict[str, Any],
    facts: dict[str, Any],
) -> None:
    """Writes all result files but the scores; the summary last.

    Args:
      folder: of the run.
      found: what was measured.
      content: of summary.json.
      facts: `provenance.collect()`.
    """
    origin = {key: content[key] for key in ("seed", "data_fingerprint", "date")}
    origin["attacks"] = [
        {key: one[key] for key in ("name", "options")} for one in content["attacks"]
    ]
    origin |= {**facts, "settings": found.given.about.get("settings", {})}
    patients = _patients(found)
    tables = {
        "records": _records(found),
        "patients": patients,
        "groups": found.groups,
    }
    for name, table in tables.items():
        named = {"schema": results.schema(name), "table": table, "provenance": origin}
        results.save(folder / f"{name}.pkl", named)
        results.write_csv(folder / "tables" / f"{name}.csv", table)
    drawn = {"tables": curves.all_of(found, patients, content), "provenance": origin}
    results.save(folder / "curves.pkl", {"schema": results.schema("curves"), **drawn})
    results.write_json(folder / "summary.json", content)


def _patients(found: measure.Found) -> pd.DataFrame:
    """One row per patient: risk under the first attack, then the groups."""
    columns = {"patient_id": found.given.patient_ids}
    columns |= found.primary.risk._asdict()
    columns |= found.extremes._asdict()
    return pd.concat([pd.DataFrame(columns), found.given.groups], axis=1)


def _records(found: measure.Found) -> pd.DataFrame:
    given = found.given
    labels = given.labels
    columns = {
        "record": given.record_ids,
        "patient_id": given.patient_ids[given.patient_of_record],
        # Several labels as one text of zeros and ones, "0110".
        "label": labels
        if labels.ndim == 1
        else ["".join(map(str, row)) for row in labels.tolist()],
        "auc": found.records.auc,
        "auc_se": found.records.auc_se,
    }
    return pd.DataFrame(columns)
