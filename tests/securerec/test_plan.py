import tomllib
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.config import Config, make_config
from securerec.errors import ConfigError
from securerec.federation.promise import planned
from securerec.models.fedncf import FedNCF
from securerec.models.pfedrec import PFedRec
from securerec.plan import FEW, ITEMS, MANY, ROUNDS_SHARE, signal_of
from securerec.scorer_plan import Model

N_ITEMS = 500


def resolved(users: int, items: int = ITEMS, **sections: dict[str, Any]) -> Config:
    return make_config(dict(sections)).resolved(users, items)


def test_more_users_and_a_larger_epsilon_buy_more_releases() -> None:
    widths = {
        (users, epsilon): resolved(users, items, privacy={"epsilon": epsilon}).start.segments
        for users, items in ((100, 500), (943, 1682), (6040, 3706))
        for epsilon in (1.0, 2.0, 8.0)
    }
    assert widths[100, 8.0] == widths[943, 1.0] == widths[943, 2.0] == ()
    assert widths[6040, 1.0] == ()
    assert widths[943, 8.0] == widths[6040, 2.0] == (16,)
    assert widths[6040, 8.0] == (16, 32)


def test_the_signal_of_a_local_epsilon_is_that_of_everybodys_noise_together() -> None:
    def signal(users: int, **given: float) -> float:
        settings: dict[str, Any] = {"epsilon": None, "local_epsilon": None, "noise_multiplier": None, "rounds": None}
        return signal_of(users, delta=1e-5, **(settings | given))

    assert signal(943, epsilon=8.0) == pytest.approx(943 / 0.6002, rel=1e-3)
    assert signal(943, local_epsilon=8.0) == pytest.approx(943**0.5 / 0.6002 / 2**0.5, rel=1e-3)
    assert signal(943) == float("inf")
    # a round's multiplier in the plan of an epsilon leads back to that epsilon's signal
    assert signal(943, noise_multiplier=0.6002 * (2 / ROUNDS_SHARE) ** 0.5) == pytest.approx(
        signal(943, epsilon=8.0), rel=1e-3
    )
    assert FEW < signal(943, epsilon=8.0) < MANY


@given(
    users=st.integers(2, 10_000),
    epsilon=st.floats(0.1, 50),
    popularity=st.none() | st.floats(0.1, 0.5),
    segments=st.none() | st.lists(st.integers(0, 9), max_size=3),
    rounds=st.none() | st.integers(0, 9),
)
def test_shares_add_up_to_the_whole_budget(
    users: int, epsilon: float, popularity: float | None, segments: list[int] | None, rounds: int | None
) -> None:
    start = {"popularity_share": popularity, "segments": None if segments is None else tuple(segments)}
    if popularity is not None and rounds == 0 and not (segments is None or any(segments)):
        return
    try:
        config = resolved(users, privacy={"epsilon": epsilon}, start=start, training={"rounds": rounds})
    except ConfigError as error:
        assert "add up to 1" in str(error)
        return
    releases = planned(config, N_ITEMS)
    assert sum(release.share for release in releases) == pytest.approx(1)
    assert all(release.share > 0 for release in releases)
    assert releases[0].name == "popularity" and releases[0].nonnegative
    again = make_config(tomllib.loads(config.to_toml().decode()))
    assert again == again.resolved(users) == config


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"start": {"head": False, "segments": (3,)}}, "start.segments has no meaning without start.head"),
        ({"start": {"head": False}, "training": {"rounds": 0}}, "nothing would be learnt"),
        ({"start": {"segments": (3, 4)}, "training": {"dim": 4}}, "training.dim must be 9"),
        ({"start": {"segments": (), "segment_share": 0.2}}, "no meaning without start.segments"),
        ({"start": {"pairs": 8}}, "start.pairs goes only with --no-privacy"),
        ({"start": {"head": False, "pairs": 8}}, "start.pairs has no meaning without start.head"),
        ({"training": {"model": "fedmf"}, "start": {"segments": (3,)}}, "leave it out, as a head does not go with"),
        ({"start": {"popularity_share": 1.0}}, "must leave something for every release"),
        ({"start": {"popularity_share": 0.5}, "training": {"rounds": 0}, "privacy": {"epsilon": 0.5}}, "add up to 1"),
        ({"training": {"model": "fedncf"}, "start": {"head": True}}, "head does not go with training.model fedncf"),
        ({"training": {"model": "fedmf"}, "privacy": {"unit": "interaction"}}, "privacy.unit interaction does not go"),
        ({"training": {"dual": False}, "privacy": {"unit": "interaction"}}, "training.dual has no meaning"),
        ({"training": {"model": "fedncf", "dual": False}, "views": {"record_views": True}}, "no attack here reads"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(943, **sections)


def test_the_paper_s_learner_is_to_be_had_by_name_and_the_best_without_one() -> None:
    paper = resolved(943, privacy={"privacy": False}, training={"model": "pfedrec"})
    assert not paper.start.head and paper.training.rounds == 100
    assert paper.training.learner() == PFedRec()
    assert resolved(943, privacy={"privacy": False}, start={"head": False}).training.learner() == PFedRec()
    warm = resolved(943, privacy={"privacy": False})
    assert warm.training.model == "auto" and warm.training.item_lr_factor == 0.3
    assert warm.start.segments == (16, 32) and warm.training.dim == 50


@pytest.mark.parametrize("private", [True, False])
@pytest.mark.parametrize("dual", [True, False])
@pytest.mark.parametrize("model", get_args(Model))
def test_every_learner_has_a_plan_that_a_run_s_folder_keeps(model: Model, dual: bool, private: bool) -> None:
    config = resolved(943, training={"model": model, "dual": dual}, privacy={"privacy": private})
    learner = config.training.learner()
    assert learner.dual == dual
    assert config.start.head == (model == "auto")
    again = make_config(tomllib.loads(config.to_toml().decode()))
    assert again == again.resolved(943) == config
    # a network that starts at zero has no gradient
    start = learner.initial_table(5, np.random.default_rng(0)), learner.initial_functions(2, np.random.default_rng(0))
    assert start[0].any() and (start[1].weights.any() or not isinstance(learner, FedNCF))


def test_what_is_set_goes_before_a_learner_s_plan() -> None:
    config = resolved(943, training={"model": "fedncf", "score_lr": 7.0, "dim": 3}, privacy={"privacy": False})
    assert config.training.score_lr == 7.0 and config.training.learner().dim == 3


def test_pairs_are_asked_for_without_privacy_alone_and_where_so_many_can_travel() -> None:
    def pairs(users: int, items: int, **sections: dict[str, Any]) -> int | None:
        return resolved(users, items, **({"privacy": {"privacy": False}} | sections)).start.pairs

    assert pairs(943, 1682) == 256 and pairs(943, 1682, privacy={}) == 0
    assert pairs(6040, 3706) == 0 and pairs(6040, 3706, protocol={"protocol": "plain"}) == 256
    assert pairs(943, 1682, views={"record_views": True}) == 0
    assert pairs(10, 4096) == 256 and pairs(10, 4097) == 64
    # three sums of 64 values an item
    assert pairs(836, 12_454) == pairs(837, 12_454, protocol={"protocol": "plain"}) == 64
    assert pairs(837, 12_454) == 0 and pairs(837, 12_454, start={"pairs": 8}) == 8
    assert pairs(10, 4097, views={"record_views": True}) == 0 and pairs(10, 4097, privacy={}) == 0
