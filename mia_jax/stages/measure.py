"""All that is measured once the attacks have scored: patients, records, groups."""

import hashlib
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from absl import logging

from mia_jax import config, leave_one_out, predictions
from mia_jax.risk import (
    agreement,
    ash,
    design,
    distribution,
    gaussian_check,
    group_survival,
    groups,
    leave_pair_out,
    null_check,
    patients,
    records,
    thresholds,
)
from mia_jax.stages import curves, pooled, protection


class Attacked(NamedTuple):
    """What one attack found.

    Attributes:
      plugin: the attack.
      pooled: against all records together.
      risk: of every patient, tested on the attack's mask-free signal. Attacks with one
        signal share it: one object.
      true_risk: denoised distribution of the true AUC.
    """

    plugin: config.Plugin
    pooled: pooled.Pooled
    risk: patients.PatientRisk
    true_risk: distribution.Distribution


class Extremes(NamedTuple):
    """Columns of the patient table beside the joint risk; [patients] float64.

    Attributes:
      auc_max_record: the largest record AUC, as published audits report it; biased.
      auc_worst_record: AUC of the record that is selected without the compared models;
        of several labels, the record's joint statistic counts.
      tpr_at_10, tpr_at_1: true-positive rate at 10 and 1 % false positives.
    """

    auc_max_record: np.ndarray
    auc_worst_record: np.ndarray
    tpr_at_10: np.ndarray
    tpr_at_1: np.ndarray


class Found(NamedTuple):
    """Everything the attack stage measured.

    Attributes:
      given: the predictions.
      settings: how patients were measured.
      seed: of permuted masks and resampling.
      attacked: one entry per attack; headline, groups and figures are of the first.
      records: risk of every record.
      extremes: columns of the patient table.
      groups: table of groups.
      survival_by_group: share of each group's patients above every AUC.
      is_denoised: whether enough patients and models stand behind distributions, and
        about as many models behind every patient.
      ash: a second model of the distribution of true risk.
      rates: what the attacker's thresholds realise.
      agreement: between attacks.
      stability: between halves of the models.
      gaussian: shares of records that are not normal.
      null: the patient test on permuted masks.
      shield: what the models' defence promised, and whether it held.
    """

    given: predictions.Predictions
    settings: config.RiskSettings
    seed: int
    attacked: tuple[Attacked, ...]
    records: records.RecordRisk
    extremes: Extremes
    groups: pd.DataFrame
    survival_by_group: pd.DataFrame
    is_denoised: bool
    ash: distribution.Distribution
    rates: list[thresholds.Rate]
    agreement: list[dict[str, Any]]
    stability: dict[str, Any]
    gaussian: dict[str, Any]
    null: null_check.Null
    shield: protection.Protection

    @property
    def primary(self) -> Attacked:
        return self.attacked[0]


class _Columns(NamedTuple):
    """What patients are tested on.

    Attributes:
      values: [models, columns] float32: records, or records x labels.
      patient: [columns] int.
    """

    values: np.ndarray
    patient: np.ndarray


def everything(
    given: predictions.Predictions,
    attacks: tuple[config.Plugin, ...],
    scored: list[pooled.Scored],
    settings: config.RiskSettings,
    seed: int,
    shield: protection.Protection,
) -> Found:
    """Measures patients, records and groups.

    Args:
      given: the predictions.
      attacks: the attacks that scored.
      scored: what each of them reached over all records and thresholds.
      settings: how patients are measured.
      seed: of permuted masks and resampling.
      shield: what the models' defence promised.
    """
    given = _with_pairs(given)
    drawn = given.member_mask, given.block_of_model
    counts = design.typical_counts(*drawn)
    attacked = _attacked(given, attacks, scored, settings, seed)
    risk = attacked[0].risk
    is_denoised = distribution.is_reportable(len(risk.auc), *counts)
    is_denoised &= design.are_counts_alike(*drawn)
    columns = _columns(given, attacks[0])
    one = records.audit(
        given.statistic,
        given.member_mask,
        given.patient_of_record,
        given.block_of_model,
    )
    null = _null(given, columns, settings, seed)
    return Found(
        given=given,
        settings=settings,
        seed=seed,
        attacked=attacked,
        records=one,
        extremes=_extremes(given, columns, one, settings),
        groups=_groups(given, risk, counts, settings, seed, is_denoised),
        survival_by_group=group_survival.table(
            given.groups,
            risk.auc,
            null.auc,
            curves.SURVIVAL_GRID,
            risk.num_records,
            settings.min_cell,
        ),
        is_denoised=is_denoised,
        ash=ash.fit(risk.auc_mask_free, *counts, seed=seed),
        rates=scored[0].rates,
        agreement=_agreement(attacked),
        stability=agreement.stability(
            columns.values,
            given.member_mask,
            columns.patient,
            given.block_of_model,
            given.unit_of_patient,
            settings.model_mean,
            seed,
            settings.joint,
        ),
        gaussian=gaussian_check.check(
            given.statistic, given.member_mask, given.patient_of_record
        ),
        null=null,
        shield=shield,
    )


def _with_pairs(given: predictions.Predictions) -> predictions.Predictions:
    """Takes complementary pairs of models as blocks of two: the exact test needs it."""
    pair = design.detect_pairs(given.member_mask, given.block_of_model)
    if pair is None or np.array_equal(pair, given.block_of_model):
        return given
    logging.info("models come in pairs with opposite masks: each pair is a block")
    about = {**given.about, "design": "complementary pairs"}
    return given._replace(block_of_model=pair.astype(np.int32), about=about)


def _columns(given: predictions.Predictions, plugin: config.Plugin) -> _Columns:
    """The attack's mask-free signal; of several labels each is a column."""
    attack = config.find("attacks", plugin.name)
    patient = given.patient_of_record
    if given.channel_kind == "labels" and not hasattr(attack, "patient_signal"):
        values = given.channels.reshape(len(given.channels), -1)
        return _Columns(values, np.repeat(patient, given.channels.shape[2]))
    signal = leave_one_out.patient_signal(attack, given.statistic, **plugin.options)
    return _Columns(signal, patient)


def _attacked(given, attacks, scored, settings, seed: int) -> tuple[Attacked, ...]:
    """Tests every patient on the signal of each attack, once for each signal."""
    tested: dict[bytes, tuple] = {}
    found = []
    for plugin, one in zip(attacks, scored, strict=True):
        columns = _columns(given, plugin)
        key = hashlib.sha256(np.ascontiguousarray(columns.values)).digest()
        if key not in tested:
            tested[key] = _tested(given, columns, settings, seed)
        found.append(Attacked(plugin, one.pooled, *tested[key]))
    return tuple(found)


def _tested(given, columns: _Columns, settings, seed: int):
    """Risk of every patient, and its denoised distribution."""
    risk = patients.audit(
        columns.values,
        given.member_mask,
        columns.patient,
        given.block_of_model,
        settings.fdr,
        given.unit_of_patient,
        settings.model_mean,
        settings.joint,
    )
    risk = risk._replace(num_records=np.bincount(given.patient_of_record))
    counts = design.typical_counts(given.member_mask, given.block_of_model)
    return risk, distribution.fit(risk.auc_mask_free, *counts, seed=seed)


def _null(given, columns: _Columns, settings, seed: int) -> null_check.Null:
    """The same test where nothing can leak."""
    return null_check.run(
        columns.values,
        given.member_mask,
        columns.patient,
        given.block_of_model,
        given.unit_of_patient,
        settings.fdr,
        seed,
        settings.model_mean,
        settings.joint,
        (given.statistic, given.patient_of_record),
    )


def _extremes(given, columns: _Columns, one: records.RecordRisk, settings) -> Extremes:
    block, unit = given.block_of_model, given.unit_of_patient
    z_fn = lambda c: patients.scores(
        c.values, c.patient, block, unit, settings.model_mean
    )
    total = leave_pair_out.sums(z_fn(columns), columns.patient)
    if columns.values.shape[1] != len(given.patient_of_record):  # columns are labels
        columns = _Columns(given.statistic, given.patient_of_record)
    z = z_fn(columns)
    return Extremes(
        auc_max_record=records.largest(one.auc, given.patient_of_record),
        auc_worst_record=records.worst(z, given.member_mask, columns.patient, block),
        tpr_at_10=thresholds.patient_tpr(total, given.member_mask, 0.1),
        tpr_at_1=thresholds.patient_tpr(total, given.member_mask, 0.01),
    )


def _groups(given, risk, counts, settings, seed, is_denoised: bool) -> pd.DataFrame:
    table = groups.table(
        given.groups,
        risk.is_proven,
        risk.auc_mask_free,
        *counts,
        seed=seed,
        num_records=risk.num_records,
        label=_label_of_patient(given),
        unit_of_patient=given.unit_of_patient,
        intersections=settings.intersections,
        min_cell=settings.min_cell,
    )
    if not is_denoised:
        table[[name for name in table if name.startswith("exposed_")]] = np.nan
    return table


def _label_of_patient(given: predictions.Predictions) -> np.ndarray:
    """What groups are adjusted for: a mean over records, or the most frequent class.

    Returns:
      [patients] float64: share of records with label 1 ("binary"), mean number of
      positive labels ("multilabel"); for "multiclass" str, the class.
    """
    patient, labels = given.patient_of_record, given.labels
    num_records = np.bincount(patient)
    if given.about["task"] == "multiclass":
        table = np.zeros((len(num_records), int(labels.max()) + 1), int)
        np.add.at(table, (patient, labels), 1)
        return table.argmax(1).astype(str)
    positive = labels if labels.ndim == 1 else labels.sum(1)
    return np.bincount(patient, positive) / num_records


def _agreement(attacked: tuple[Attacked, ...]) -> list[dict[str, Any]]:
    """Between the signals; attacks that share one cannot disagree about patients."""
    labels: dict[int, list[str]] = {}
    for one in attacked:
        labels.setdefault(id(one.risk), []).append(one.plugin.label)
    named = {" / ".join(labels[id(one.risk)]): one.risk for one in attacked}
    return agreement.rows(
        {name: risk.auc for name, risk in named.items()},
        {name: risk.is_proven for name, risk in named.items()},
    )
