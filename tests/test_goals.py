"""How many models a goal needs."""

import pytest

from mia_jax import validate
from mia_jax.risk import goals, precision


@pytest.mark.parametrize("find", [0.7, 0.8])
def test_as_many_as_find_such_a_patient_and_two_fewer_do_not(find):
    num_models = goals.models_for(5000, find=find)
    assert num_models % 2 == 0
    assert precision.detection_limit(num_models, 5000) <= find
    assert precision.detection_limit(num_models - 2, 5000) > find


def test_half_width():
    num_models = goals.models_for(5000, width=0.05)
    # 1.96 sqrt((M + 1) / 3) / M = .05 at M = 513.2.
    assert num_models == 514
    assert goals.models_for(10, width=0.1) == 130


def test_without_a_goal_as_many_as_prove_anything():
    for num_patients in (1, 5912, 10**6):
        needed = precision.models_needed(num_patients)
        assert goals.models_for(num_patients) == needed
    assert goals.models_for(5912, num_parts=2) == 22


def test_all_goals_are_reached():
    both = goals.models_for(5000, find=0.7, width=0.05)
    assert both == max(
        goals.models_for(5000, find=0.7), goals.models_for(5000, width=0.05)
    )
    assert (
        goals.models_for(5000, find=0.7, level="one_percent")
        < goals.models_for(5000, find=0.7)
        < goals.models_for(5000, find=0.7, power=0.9)
    )


def test_golden_table_backwards():
    """The table of the smallest AUCs found with power .9, read from right to left."""
    for num_models, num_patients, limit in (
        (64, 5000, 0.858),
        (128, 65000, 0.791),
        (256, 200000, 0.720),
    ):
        found = goals.models_for(num_patients, find=limit, power=0.9)
        assert abs(found - num_models) <= max(
            2, 0.02 * num_models
        )  # three printed digits


def test_many_models_are_reached_by_the_expansion():
    num_models = goals.models_for(200000, find=0.55)
    assert 4000 < num_models < 5000
    assert precision.detection_limit(num_models, 200000) <= 0.55


def test_bad_goals():
    with pytest.raises(validate.InputError, match=r"find=0\.5"):
        goals.models_for(100, find=0.5)
    with pytest.raises(validate.InputError, match="width=5"):
        goals.models_for(100, width=5)
    with pytest.raises(validate.InputError, match="need more than"):
        goals.models_for(10**6, find=0.501)
