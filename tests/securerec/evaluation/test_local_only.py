import numpy as np

from securerec.data.interactions import Interactions
from securerec.evaluation.local_only import local_only_scorer, local_only_scores
from securerec.models.pfedrec import PFedRec


def test_scores_of_some_users_at_a_time_are_those_of_all_and_learn_each_ones_items() -> None:
    rng, model = np.random.default_rng(0), PFedRec(dim=4)
    train = Interactions.from_lists([rng.permutation(30)[:size] for size in (5, 1, 8, 0, 6, 3, 4)], 30)
    whole = local_only_scorer(train, train, model, rounds=20, rng=np.random.default_rng(1))(np.arange(7))
    for cells in (1, 60, 90, 1000):
        parts = list(local_only_scores(train, train, model, rounds=20, rng=np.random.default_rng(1), cells=cells))
        assert max(scores.size for _, scores in parts) <= max(cells, 30)
        np.testing.assert_array_equal(np.concatenate([users for users, _ in parts]), np.arange(7))
        np.testing.assert_array_equal(np.concatenate([scores for _, scores in parts]), whole)
    own = [whole[user, train.of(user)].mean() - whole[user].mean() for user in (0, 2, 4, 5, 6)]
    assert min(own) > 0
