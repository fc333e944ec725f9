"""What is kept of a model's usefulness, and how it is summarised over models."""

import numpy as np
import pytest

from mia_jax import metrics, usefulness


def _findings(num_labels=3, num_records=60, seed=0):
    generator = np.random.default_rng(seed)
    labels = generator.integers(0, 2, (num_records, num_labels))
    logits = 2.0 * labels - 1 + 1.5 * generator.standard_normal(labels.shape)
    return logits, labels


def test_sets_are_measured_on_their_own_records():
    logits, labels = _findings()
    members = np.arange(60) < 30
    sets = {"members": members, "left_out": ~members, "test": np.zeros(60, bool)}
    found = usefulness.of_model(logits, labels, "multilabel", sets)
    assert set(found) == {"members", "left_out"}
    for name, chosen in (("members", members), ("left_out", ~members)):
        given = logits[chosen], labels[chosen], "multilabel"
        assert found[name] == {
            "accuracy": metrics.accuracy(*given),
            "auroc": metrics.auroc(*given),
            "nll": metrics.log_loss(*given),
            "exact_match": metrics.exact_match(*given),
        }


def test_tasks_of_one_label_have_no_exact_match():
    logits, labels = _findings(1)
    everything = {"all": np.ones(60, bool)}
    found = usefulness.of_model(logits, labels[:, 0], "binary", everything)
    assert set(found["all"]) == {"accuracy", "auroc", "nll"}


def test_undefined_values_are_none():
    logits, labels = _findings()
    everything = {"all": np.ones(60, bool)}
    found = usefulness.of_model(logits, labels * 0, "multilabel", everything)["all"]
    assert found["auroc"] is None and found["nll"] > 0


def test_summary_is_mean_and_sd_of_the_models_that_have_a_value():
    def model(value, auroc):
        return {"test": {"accuracy": value, "auroc": auroc, "nll": 1.0}}

    found = usefulness.summarise([model(0.5, None), model(0.7, 0.9), model(0.9, None)])
    assert found["mean"]["test"]["accuracy"] == pytest.approx(0.7)
    assert found["sd"]["test"]["accuracy"] == pytest.approx(0.2)
    assert (
        found["mean"]["test"]["auroc"] == 0.9 and found["sd"]["test"]["auroc"] is None
    )
    nothing = usefulness.summarise([model(0.5, None)])
    assert nothing["mean"]["test"]["auroc"] is None


def test_summary_keeps_what_a_multilabel_model_has_more():
    logits, labels = _findings()
    everything = {"all": np.ones(60, bool)}
    models = [
        usefulness.of_model(logits + shift, labels, "multilabel", everything)
        for shift in (0.0, 0.3)
    ]
    found = usefulness.summarise(models)
    values = [m["all"]["exact_match"] for m in models]
    assert found["mean"]["all"]["exact_match"] == pytest.approx(np.mean(values))
    assert list(found["mean"]["all"]) == ["accuracy", "auroc", "nll", "exact_match"]
