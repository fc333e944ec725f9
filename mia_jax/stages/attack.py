"""Stage 3: attacks predictions; measures risk of records, patients and groups."""

import contextlib
import pathlib
import re
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import threadpoolctl

from mia_jax import (
    _npy,
    config,
    contracts,
    leave_one_out,
    predictions,
    provenance,
    scores,
)
from mia_jax.stages import measure, pooled, protection, summary, tables


def run(
    source: pathlib.Path,
    folder: pathlib.Path,
    attacks: tuple[config.Plugin, ...],
    risk: config.RiskSettings | None = None,
    seed: int = 0,
) -> dict[str, Any]:
    """Audits a folder of predictions.

    Args:
      source: folder in a layout of `mia_jax/layouts`.
      folder: made if absent; gets scores.npy, summary.json, the pickles and tables.
      attacks: at least one; headline, groups and figures are of the first.
      risk: how patients are measured; None = defaults.
      seed: of permuted masks and of resampling.

    Returns:
      The summary, as in summary.json.

    Raises:
      InputError: predictions that do not fit, or an attack that cannot use them.
    """
    risk = risk or config.RiskSettings()
    seconds: dict[str, float] = {}
    with _timed(seconds, "attack"):
        given = _with_published_statistic(predictions.read(source), risk)
        folder.mkdir(parents=True, exist_ok=True)
        scored = [_attack(given, folder, plugin, k) for k, plugin in enumerate(attacks)]
    # Small matrix products gain nothing from BLAS threads, and on a busy machine their
    # spinning makes them ten times slower.
    with _timed(seconds, "risk"), threadpoolctl.threadpool_limits(1, "blas"):
        first = np.load(folder / _scores_file(attacks[0], 0), mmap_mode="r")
        shield = protection.measure(given, first)
        found = measure.everything(given, attacks, scored, risk, seed, shield)
        facts = provenance.collect()
        content = summary.build(found, facts)
    # Training counts the wall time of every worker.
    names = {"train": "train_seconds", "score": "score_seconds"}
    before = {k: given.about[v] for k, v in names.items() if v in given.about}
    content["wall_seconds"] = {**before, **seconds}
    tables.write(folder, found, content, facts)
    return content


def _with_published_statistic(
    given: predictions.Predictions, risk: config.RiskSettings
) -> predictions.Predictions:
    """One number per record in place of one per label, as the study scores them."""
    if given.channel_kind != "labels" or risk.labels == "each":
        return given
    statistic = np.empty_like(given.statistic)
    for row, per_label in zip(statistic, given.channels, strict=True):
        logits = scores.per_label(np.asarray(per_label), given.labels)
        row[:] = scores.softmax_multi_hot(logits, given.labels)
    return given._replace(statistic=statistic, channels=None, channel_kind=None)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    begin = time.perf_counter()
    yield
    seconds[name] = round(time.perf_counter() - begin, 2)


def _attack(
    given: predictions.Predictions,
    folder: pathlib.Path,
    plugin: config.Plugin,
    place: int,
) -> pooled.Scored:
    """Scores every model and record; keeps them in a file of the attack's own."""
    path = folder / _scores_file(plugin, place)
    with _npy.writing(path, given.statistic.shape, np.float32) as out:
        found = leave_one_out.scores(
            config.find("attacks", plugin.name),
            _values(given, plugin),
            given.member_mask,
            given.patient_of_record,
            out=out,
            context=contracts.Context(
                given.labels, given.patient_of_record, given.features
            ),
            **plugin.options,
        )
        return pooled.scored(given, found)


def _scores_file(plugin: config.Plugin, place: int) -> str:
    name = re.sub(r"\W+", "_", plugin.label).strip("_") if place else ""
    return f"scores_{name}.npy" if name else "scores.npy"


def _values(given: predictions.Predictions, plugin: config.Plugin) -> np.ndarray:
    """The statistic, or its channels where the attack asks for them."""
    wants_channels = plugin.options.get("channels", "mean") != "mean"
    if wants_channels and given.channels is not None:
        return given.channels
    return given.statistic
