import numpy as np
import pytest

from securerec.data.interactions import Interactions
from securerec.data.splits import draw_candidates, leave_one_out
from securerec.evaluation.baselines import ials_scorer
from securerec.evaluation.ease import ease_scorer, ease_weights
from securerec.evaluation.protocols import sampled_ranks
from securerec.evaluation.tuning import best_on_validation, ease_on_validation, ials_on_validation


@pytest.fixture(scope="module")
def drifting():
    """Each user moves through the catalogue, so the newest items tell what comes next."""
    rng = np.random.default_rng(0)
    lists = [(start + np.cumsum(rng.integers(1, 4, 12))) % 60 for start in rng.integers(0, 60, 80)]
    interactions = Interactions.from_lists([list(dict.fromkeys(items)) for items in lists], 60)
    split = leave_one_out(interactions)
    return split, draw_candidates(interactions, split, np.random.default_rng(1), negatives=20)


def constant(rows):
    return lambda users: np.asarray(rows, np.float32)[users]


def test_the_best_on_validation_is_chosen_whatever_it_does_on_test(drifting):
    split, candidates = drifting
    knows = {}
    for held_out in ("validation", "test"):
        rows = np.zeros((80, 60))
        rows[np.arange(80), getattr(split, held_out)] = 1
        knows[held_out] = constant(rows)
    chosen = best_on_validation(iter([({"a": 1.0}, knows["test"]), ({"a": 2.0}, knows["validation"])]), candidates)
    assert chosen.settings == {"a": 2.0} and chosen.tried == 2
    assert chosen.validation == {"hr@10": 1.0, "ndcg@10": 1.0}
    assert chosen.scorer is knows["validation"]


def test_the_first_of_equals_is_kept_and_nothing_to_choose_from_is_an_error(drifting):
    _, candidates = drifting
    same = constant(np.zeros((80, 60)))
    assert best_on_validation([({"a": 1.0}, same), ({"a": 2.0}, same)], candidates).settings == {"a": 1.0}
    with pytest.raises(ValueError, match="at least one setting"):
        best_on_validation([], candidates)


def test_ease_on_validation_is_no_worse_than_any_setting_of_its_grid(drifting):
    split, candidates = drifting
    regs, exponents = (1.0, 10.0), (0.0, 0.5, 2.0)
    chosen = ease_on_validation(split.train, candidates, recency=True, regs=regs, exponents=exponents)
    goals = {}
    for reg in regs:
        weights = ease_weights(split.train, reg=reg)
        for exponent in exponents:
            scorer = ease_scorer(weights, split.train, exponent=exponent)
            figures = sampled_ranks(scorer, candidates.validation).metrics([10])
            goals[reg, exponent] = figures["hr@10"] + figures["ndcg@10"] / 2
    best = max(goals, key=goals.__getitem__)
    assert (chosen.settings["reg"], chosen.settings["exponent"]) == best and chosen.tried == 6
    assert chosen.settings["exponent"] > 0
    scorer = ease_scorer(ease_weights(split.train, reg=best[0]), split.train, exponent=best[1])
    assert np.array_equal(chosen.scorer(np.arange(80)), scorer(np.arange(80)))


def test_ease_without_recency_never_tries_an_exponent(drifting):
    split, candidates = drifting
    chosen = ease_on_validation(split.train, candidates, recency=False, regs=(1.0, 10.0))
    assert chosen.settings["exponent"] == 0 and chosen.tried == 2


def test_ials_settings_are_compared_from_one_start(drifting):
    split, candidates = drifting
    chosen = ials_on_validation(
        split.train,
        candidates,
        rng=np.random.default_rng(3),
        dims=(2, 4),
        alphas=(2.0,),
        regs=(1.0, 5.0),
        iterations=2,
    )
    assert chosen.tried == 4 and set(chosen.settings) == {"dim", "alpha", "reg"}
    seed = int(np.random.default_rng(3).integers(2**63))
    again = ials_scorer(
        split.train, **{**chosen.settings, "dim": int(chosen.settings["dim"])}, iterations=2,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    assert np.array_equal(chosen.scorer(np.arange(80)), again(np.arange(80)))
