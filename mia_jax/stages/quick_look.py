"""A quick look at one model that is already public, by one reference model or a few.

No shadow models are trained: what is needed are the predictions of the model asked
about, of a reference model trained on other patients, and who was in which. Two attacks
made for that case are run on the records that a reference never saw, and answer one
question: are members, as a whole, told from others? They answer none about a patient.
"""

import pathlib
from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
import pandas as pd
import scipy.special

from mia_jax import contracts, predictions, provenance, results, validate
from mia_jax.attacks import rmia
from mia_jax.risk import bootstrap

SCHEMA = "mia_jax.quick_look/1"
NOTE = (
    "One model cannot prove that a single patient is recognisable: a patient's score "
    "is one number, and nothing tells memory from chance. The AUC says how well "
    "members as a whole are told from others. To test patients, audit with shadow "
    "models."
)
FPRS = (0.1, 0.01)
# Fewer patients on a side, and an AUC's interval spans most of what is possible.
FEWEST_PATIENTS = 10
# Fewer false alarms than this say nothing about a rate.
_FEWEST_FALSE_ALARMS = 10
# What a record of a non-member scores on average: shares are even in 0..1, and minus
# the log of a tail is exponential. Sums over records are taken from there, so patients
# with many records do not score high for their number.
_EXPECTED = {"rmia": 0.5, "lira": 1.0}
_MAD_TO_SD = 1.4826022185056018  # of a normal law
_TINY = 1e-5  # smallest standard deviation, in units of the statistic


def run(
    source: pathlib.Path,
    folder: pathlib.Path,
    target: int = 0,
    references: Sequence[int] = (),
    a: float = 0.3,
    seed: int = 0,
) -> dict[str, Any]:
    """Attacks one model with the help of a few others.

    Args:
      source: folder of predictions of at least two models.
      folder: made if absent; gets quick_look.json and quick_look.pkl.
      target: the model asked about, from 0.
      references: the models that help; empty = all others.
      a: RMIA's coefficient, in (0, 1]; .3 is its authors' for CIFAR-10. There are no
        other models to choose it by, and the target's own members must not.
      seed: of the bootstrap.

    Returns:
      What quick_look.json holds.

    Raises:
      InputError: no such model, a reference that saw every record, too few patients.
    """
    validate.require(
        0.0 < a <= 1.0,
        f"a={a}",
        "must be above 0 and at most 1",
        "leave it at .3, or use 1 for a model that remembers little",
    )
    given = predictions.read(source, fewest=0)
    references = _checked(given, target, references)
    models = [target, *references]
    seen = given.member_mask[references].all(0)  # by every reference
    _check_sizes(given.member_mask[target], seen)
    records = _record_table(given, models, ~seen[given.patient_of_record], a)
    patients = _patient_table(records)
    content = {
        "schema": SCHEMA,
        "target": target,
        "references": references,
        "a": a,
        "seed": seed,
        "num_records": len(records),
        "num_patients": len(patients),
        "num_members": int(patients["is_member"].sum()),
        "num_non_members": int((~patients["is_member"]).sum()),
        "attacks": [_measured(name, patients, seed) for name in _EXPECTED],
        "note": NOTE,
        "data_fingerprint": predictions.fingerprint(given),
        **provenance.collect(),
    }
    results.write_json(folder / "quick_look.json", content)
    tables = {"records": records, "patients": patients}
    results.save(
        folder / "quick_look.pkl",
        {"schema": SCHEMA, "tables": tables, "provenance": content},
    )
    return content


def _checked(given, target: int, references: Sequence[int]) -> list[int]:
    """The reference models; raises unless all models are there and differ."""
    num_models = len(given.statistic)
    references = [int(model) for model in references] or [
        model for model in range(num_models) if model != target
    ]
    unknown = [m for m in (target, *references) if not 0 <= m < num_models]
    validate.require(
        not unknown,
        f"model {validate.listing(unknown)} of {num_models}",
        f"models are numbered from 0 to {num_models - 1}, as in the predictions",
        "give --target and --references by these numbers",
    )
    repeated = sorted({m for m in references if references.count(m) > 1 or m == target})
    validate.require(
        bool(references) and not repeated,
        f"target {target}, references {references}",
        "must be different models, at least one of them a reference",
        "export a second model, trained without the patients asked about",
    )
    return references


def _check_sizes(member: np.ndarray, seen: np.ndarray) -> None:
    """Raises unless enough patients were seen by no reference."""
    members, others = int((member & ~seen).sum()), int((~member & ~seen).sum())
    validate.require(
        min(members, others) >= FEWEST_PATIENTS,
        f"{members} patients of the target and {others} others are unseen by a "
        "reference model",
        f"each must be at least {FEWEST_PATIENTS}: non-members show what chance does",
        "add records of patients that neither model was trained on, or another "
        "reference model",
    )


def _record_table(given, models: list[int], chosen: np.ndarray, a: float):
    """Both scores of every record that at least one reference did not see."""
    owner = given.patient_of_record[chosen]
    statistic = given.statistic[np.ix_(models, np.flatnonzero(chosen))]
    member = given.member_mask[np.ix_(models, owner)]
    context = contracts.Context(given.labels[chosen], owner, None)
    signals = rmia.scores(
        jnp.asarray(statistic), jnp.asarray(member), mode="offline", a=a
    )
    signals = contracts.Signals(np.asarray(signals.query[0]), None)
    columns = {
        "record": given.record_ids[chosen],
        "patient_id": given.patient_ids[owner],
        "is_member": member[0],
        "statistic": statistic[0],
        "num_references": (~member[1:]).sum(0),
        "rmia": rmia.compare(signals, member[0], context),
        "lira": lira_by_difference(statistic, ~member[1:]),
    }
    return pd.DataFrame(columns)


def lira_by_difference(statistic: np.ndarray, is_out: np.ndarray) -> np.ndarray:
    """Offline LiRA where a record has too few references for a variance of its own.

    The target less the mean of the references that did not see the record, standardised
    by what all records have in common (median, and median absolute deviation): no mask
    of the target enters. Then minus the log of the chance of being as confident.
    Carlini et al. 2022, section VI.B (arXiv:2112.03570) pool the variance likewise.

    Args:
      statistic: [1 + references, records] float32, the target's first.
      is_out: [references, records] bool, False = trained on the record; at least one
        reference is out of each record.

    Returns:
      [records] float64, higher = member.
    """
    own, others = np.split(np.asarray(statistic, np.float64), [1])
    count = is_out.sum(0)
    gap = own[0] - np.where(is_out, others, 0.0).sum(0) / count
    gap /= np.sqrt(1.0 + 1.0 / count)  # the spread of a mean of `count` models
    gap -= np.median(gap)
    sd = max(_MAD_TO_SD * np.median(np.abs(gap)), _TINY)
    return -scipy.special.log_ndtr(-gap / sd)


def _patient_table(records: pd.DataFrame) -> pd.DataFrame:
    """Sums over each patient's records, from what non-members score on average."""
    centred = records.assign(
        **{name: records[name] - mean for name, mean in _EXPECTED.items()}
    )
    by_patient = centred.groupby("patient_id", sort=False)
    sums = by_patient[list(_EXPECTED)].sum()
    sums.insert(0, "num_records", by_patient.size())
    sums.insert(0, "is_member", by_patient["is_member"].first())
    return sums.reset_index()


def _measured(name: str, patients: pd.DataFrame, seed: int) -> dict[str, Any]:
    """AUC and TPR over patients, or the reason why a rate is not given."""
    is_member = patients["is_member"].to_numpy()
    needed = {fpr: round(_FEWEST_FALSE_ALARMS / fpr) for fpr in FPRS}
    num_others = int((~is_member).sum())
    told = tuple(fpr for fpr in FPRS if num_others >= needed[fpr])
    values = patients[name].to_numpy(np.float64)
    auc, tpr = bootstrap.estimates(values, is_member, told, seed)
    refused = {
        str(fpr): f"needs {needed[fpr]:,} non-member patients, there are {num_others:,}"
        for fpr in FPRS
        if fpr not in told
    }
    return {
        "name": name,
        "auc": auc._asdict(),
        "tpr_at_fpr": {
            str(fpr): tpr[fpr]._asdict() if fpr in tpr else None for fpr in FPRS
        },
        "refused": refused,
    }
