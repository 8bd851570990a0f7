import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.config import Config, make_config
from securerec.errors import ConfigError
from securerec.federation.promise import planned
from securerec.plan import FEW, ITEMS, MANY, ROUNDS_SHARE, signal_of

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
        ({"start": {"popularity_share": 1.0}}, "must leave something for every release"),
        ({"start": {"popularity_share": 0.5}, "training": {"rounds": 0}, "privacy": {"epsilon": 0.5}}, "add up to 1"),
    ],
)
def test_what_does_not_go_together_is_refused(sections: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        resolved(943, **sections)


def test_without_privacy_the_paper_s_learner_is_left_alone_unless_a_head_is_asked_for() -> None:
    paper = resolved(943, privacy={"privacy": False})
    assert not paper.start.head and paper.training.dim == 32 and paper.training.rounds == 100
    warm = resolved(943, privacy={"privacy": False}, start={"head": True})
    assert warm.training.item_lr_factor == 0.3
    assert warm.start.segments == (16, 32) and warm.training.dim == 50
