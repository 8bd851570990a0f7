import math

import numpy as np
import pytest

from securerec.data.dataset import BY_ROW, Dataset
from securerec.data.interactions import Interactions
from securerec.training.interaction.plans import PLANS, InteractionPlan, plan_for
from securerec.training.interaction.study import study_interactions


def two_tastes(n_users: int = 60, n_items: int = 80) -> Dataset:
    """Half of the users mostly take items of the first half of the catalogue, the others of the second."""
    rng = np.random.default_rng(0)
    lists = []
    for user in range(n_users):
        share = np.where((np.arange(n_items) < n_items // 2) == (user % 2 == 0), 12.0, 1.0)
        lists.append(rng.choice(n_items, 25, replace=False, p=share / share.sum()))
    nothing = tuple("" for _ in range(n_items))
    return Dataset(
        name="two-tastes", interactions=Interactions.from_lists(lists, n_items),
        user_ids=tuple(f"u{user}" for user in range(n_users)), item_ids=tuple(f"i{item}" for item in range(n_items)),
        titles=nothing, years=np.zeros(n_items, np.int16), genres=np.zeros((n_items, 0), np.bool_), genre_names=(),
        user_attributes={}, licence="made up", source="made up", tie_rule=BY_ROW,
    )  # fmt: skip


PLAN = InteractionPlan(
    rounds=12, score_lr=0.1, item_lr=6.0, clip_norm=1.0, dim=4, negatives=2, table_scale=0.3, function_scale=0.5
)


def test_it_learns_what_the_noise_lets_through() -> None:
    popularity, loud, quiet = study_interactions(
        two_tastes(), epsilons=(0.5, 1000.0), seeds=(0, 1), plan=PLAN, without_privacy_rounds=0,
        held_out="validation",
    )  # fmt: skip
    assert loud.interaction_epsilon <= 0.5 and 900 < quiet.interaction_epsilon <= 1000
    assert quiet.hit_rate > popularity.hit_rate + 0.05
    assert loud.hit_rate < quiet.hit_rate - 0.05


def test_figures_repeat_and_name_what_they_are() -> None:
    first, again = (
        list(study_interactions(two_tastes(), epsilons=(4.0,), seeds=(0,), plan=PLAN, without_privacy_rounds=2))
        for _ in range(2)
    )
    assert first == again
    assert [figure.method for figure in first] == ["popularity", "PFedRec without privacy", "DP-SGD on the device"]
    assert math.isinf(first[1].interaction_epsilon)
    assert first[2].rounds == PLAN.rounds and first[2].noise_multiplier > 1


@pytest.mark.parametrize(("epsilon", "nearest"), [(0.1, 1.0), (1.3, 1.0), (1.5, 2.0), (5.0, 4.0), (6.0, 8.0)])
def test_a_plan_is_the_nearest_by_ratio(epsilon: float, nearest: float) -> None:
    assert plan_for(epsilon) is PLANS[nearest]
