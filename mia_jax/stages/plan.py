"""The plan of a training run, for the terminal: what, how long, how precise."""

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import mia_jax
from mia_jax import config, planner, provenance, terminal
from mia_jax.risk import goals, groups, precision
from mia_jax.stages import train


def of(job: train.Job, attacks: Sequence[config.Plugin] = ()) -> terminal.Plan:
    """Measures a few steps of the run's own program and describes the run.

    Args:
      job: from `train.prepare`.
      attacks: what will attack the models; none = the attack of the settings.
    """
    dataset, settings = job.dataset, job.settings
    estimate = planner.estimate(job.engine, job.todo)
    sizes = tuple(block["num_models"] for block in job.blocks)
    counts = np.bincount(dataset.patient_of_record)
    audited = int((~dataset.is_test).sum())
    limit = precision.detection_limit(sizes, audited)
    return terminal.Plan(
        program=program(),
        title=dataset.title,
        num_records=dataset.num_records,
        num_patients=dataset.num_patients,
        num_audited=audited,
        records_per_patient=(int(counts.min()), int(counts.max())),
        num_classes=len(dataset.class_names),
        task=dataset.task,
        blocks=sizes,
        model=describe_plugin(settings.model.name, settings.model.options),
        epochs=settings.train.epochs,
        design=settings.masks.design,
        unit=dataset.unit,
        defence=_defence(settings.defence.name, job.engine.defence.guarantee),
        attacks=tuple(one.label for one in attacks or (settings.attack,)),
        statistic="logit-scaled confidence",
        seconds=estimate.seconds,
        timing=f"training; measured on {planner.TIMED_STEPS} steps of one group",
        gigabytes=estimate.gigabytes,
        total_gigabytes=planner.total_memory_gigabytes(),
        half_width=precision.half_width(sizes),
        detection_limit=limit if np.isfinite(limit) else None,
        models_needed=precision.models_needed(audited, settings.risk.fdr),
        models_for_exposed=_models_for_exposed(limit, audited),
        workdir=str(job.folder),
        note=_note(job),
    )


def _models_for_exposed(limit: float, num_patients: int) -> int | None:
    """Models that find a patient just at the headline's threshold."""
    if limit <= groups.EXPOSED_AUC:
        return None
    return goals.models_for(num_patients, find=groups.EXPOSED_AUC)


def program() -> str:
    """Versions and devices in one line."""
    code = provenance.code()
    version = mia_jax.__version__
    known = version if code == version else f"{version} ({code[:7]})"
    return f"mia_jax {known}, JAX {jax.__version__}, {provenance.device()}"


def describe_plugin(name: str, options: dict) -> str:
    """A plug-in with its options: "mlp (widths 128 x 128, activation relu)"."""
    words = []
    for option, value in options.items():
        text = " x ".join(map(str, value)) if isinstance(value, tuple | list) else value
        words.append(f"{option} {text}")
    return f"{name} ({', '.join(words)})" if words else name


def _defence(name: str, guarantee: dict[str, Any] | None) -> str:
    if guarantee is None:
        return f"{name} (no differential privacy)"
    return (
        f"{name}: epsilon {guarantee['epsilon']:.3g}, delta {guarantee['delta']:g} "
        f"for every {guarantee['unit']}; noise {guarantee['noise_multiplier']:.3g}, "
        f"{guarantee['num_steps']:,} steps"
    )


def _note(job: train.Job) -> str:
    done = job.num_mine - len(job.todo)
    if not done:
        return "new folder" if not job.folder.exists() else "nothing trained there yet"
    if not job.todo:
        return f"all {done} groups are on disk: nothing to train"
    return f"continues: {done} of {job.num_mine} groups are on disk"
