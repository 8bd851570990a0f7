from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.models.head import Head, Heads, fit_tastes
from securerec.report.explanation import column_names, explained, is_linear, own_rows
from securerec.report.finished import FinishedRun
from securerec.report.own_items import by_gradient, left_out


def score(run: FinishedRun, user: int, item: int, share: float) -> float:
    return float(run.devices.scores(np.array([user]), np.array([share], np.float32))[0, item])


@pytest.mark.parametrize("kind", ["with_head", "without_head"])
@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_parts_add_up_to_the_score_and_terms_to_their_part(
    kind: str, share: float, request: pytest.FixtureRequest
) -> None:
    run: FinishedRun = request.getfixturevalue(kind)
    for user in range(0, 24, 5):
        for item in range(0, 50, 7):
            why = explained(run.dataset, run.devices, share, user, item)
            assert why.adds_up
            assert why.score == pytest.approx(score(run, user, item, share), abs=1e-6)
            assert sum(part.value for part in why.parts) == pytest.approx(why.score, abs=1e-4)
            for part in why.parts:
                assert not part.terms or sum(term.value for term in part.terms) == pytest.approx(part.value, abs=1e-6)
            names = [part.name for part in why.parts]
            assert ("popularity of the item" in names) == (kind == "with_head")
            assert ("own view of the item, against the server's" in names) == (share > 0)


@pytest.mark.parametrize(
    ("model", "dual", "linear"),
    [
        ("fedmf", True, True), ("fedmf", False, True), ("fedrecon", False, True), ("fedncf", True, False),
        ("fedncf", False, False),
    ],
)  # fmt: skip
def test_every_learner_is_explained(
    films: Dataset, tmp_path: Path, run_of: Callable[..., FinishedRun], model: str, dual: bool, linear: bool
) -> None:
    run = run_of(films, tmp_path / "run", model=model, dual=dual)
    why = explained(run.dataset, run.devices, 0.5, 2, 8)
    assert why.adds_up == linear == is_linear(run.devices)
    assert why.score == pytest.approx(score(run, 2, 8, 0.5), abs=1e-6)
    total = sum(part.value for part in why.parts)
    assert not linear or total == pytest.approx(why.score, abs=1e-4)
    assert any(abs(part.value) > 1e-6 for part in why.parts)


def test_parts_follow_what_they_are_made_of(with_head: FinishedRun) -> None:
    devices, user, item = with_head.devices, 4, 9
    table = devices.table.copy()
    table[item] *= 2
    before, after = (
        {part.name: part.value for part in explained(with_head.dataset, each, 0.0, user, item).parts}
        for each in (devices, replace(devices, table=table))
    )
    assert after.pop("server's item table") == pytest.approx(2 * before.pop("server's item table"), abs=1e-5)
    assert after == pytest.approx(before)


def test_a_score_that_is_no_sum_is_explained_by_what_is_missing_without_each_part(network: FinishedRun) -> None:
    devices, user, item, share = network.devices, 3, 11, 1.0
    assert not is_linear(devices)
    why = explained(network.dataset, devices, share, user, item)
    assert not why.adds_up
    values = {part.name: part.value for part in why.parts}
    with_view, by_server = score(network, user, item, 1.0), score(network, user, item, 0.0)
    assert values["own view, against the server's table"] == pytest.approx(with_view - by_server, abs=1e-5)
    n_items = network.split.train.n_items
    view = own_rows(devices, user)
    view[item] = devices.table[:n_items].mean(axis=0)
    plain = devices.learner.logits(view, devices.functions.of(np.array([user])))[0, item]
    assert values["the item's row, against the mean item's"] == pytest.approx(with_view - float(plain), abs=1e-4)
    assert "shared network" in values


def test_an_item_left_out_is_a_head_fitted_without_it(with_head: FinishedRun) -> None:
    devices, user, item, recency = with_head.devices, 5, 17, 0.8
    own = with_head.split.train.of(user)
    found = left_out(devices, own, user, item, recency=recency)
    assert found.shape == own.shape and np.abs(found).max() > 1e-4
    weights, directions = devices.functions.weights[[user]], devices.heads.head.directions[item]

    def taste(items: np.ndarray) -> np.ndarray:
        one = Interactions.from_lists([items.tolist()], 50)
        return fit_tastes(devices.heads.head, one, recency=recency, weights=weights, table=devices.table)[0]

    for place in range(len(own)):
        expected = directions @ (taste(own) - taste(np.delete(own, place)))
        assert found[place] == pytest.approx(float(expected), abs=1e-5)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_gradient_is_what_one_step_of_training_does(without_head: FinishedRun, share: float) -> None:
    devices, user, item, step = without_head.devices, 2, 20, 1e-3
    own = without_head.split.train.of(user)
    found = by_gradient(devices, own, user, item, share, score_lr=step)
    view = own_rows(devices, user) if share else devices.table
    for place, positive in enumerate(own):
        # d/dw of -log sigmoid(score of the positive), by differences
        def loss(weights: np.ndarray, positive: int = int(positive)) -> float:
            return float(np.logaddexp(0, -(view[positive] @ weights + devices.functions.biases[user])))

        weights = devices.functions.weights[user].astype(np.float64)
        gradient = np.array([(loss(weights + d) - loss(weights - d)) / 2e-5 for d in 1e-5 * np.eye(len(weights))])
        assert found[place] == pytest.approx(float(view[item] @ (-step * gradient)), abs=1e-6, rel=1e-3)


def test_the_item_item_model_is_a_part_of_its_own(
    films: Dataset, tmp_path: Path, run_of: Callable[..., FinishedRun]
) -> None:
    run = run_of(films, tmp_path / "run", start={"pairs": 4, "segments": (2,)}, rounds=1)
    head, tastes = run.devices.heads.head, run.devices.heads.tastes
    assert head.inputs.shape[1] == 4 and head.fitted < head.directions.shape[1]
    for user, item in ((1, 3), (4, 20), (9, 44)):
        why = explained(run.dataset, run.devices, 0.5, user, item, segments=run.config.start.segments)
        values = {part.name: part.value for part in why.parts}
        near = float(head.directions[item, -4:].astype(np.float64) @ tastes[user, -4:])
        assert values["items that stand near its own in people's lists"] == pytest.approx(near, abs=1e-6)
        assert why.adds_up and sum(values.values()) == pytest.approx(
            why.score, abs=1e-3 * max(map(abs, values.values()))
        )
        # what is said of features is what is said without the model
        fitted = Heads(Head(head.base, head.directions[:, : head.fitted]), tastes[:, : head.fitted])
        without = explained(run.dataset, replace(run.devices, heads=fitted), 0.5, user, item)
        for part in without.parts:
            assert values[part.name] == pytest.approx(part.value, abs=1e-5)


def test_columns_of_a_table_that_segments_began_have_names(with_head: FinishedRun) -> None:
    segments = with_head.config.start.segments
    assert segments
    why = explained(with_head.dataset, with_head.devices, 0.0, 1, 3, segments=segments)
    (table,) = (part for part in why.parts if part.name == "server's item table")
    names = [term.name for term in table.terms]
    assert names[:2] == ["segments, everybody alike", "segments, direction 1"]
    assert len(names) == len(set(names)) == with_head.devices.learner.dim
    assert column_names(None, 2) == ("column 1", "column 2")
