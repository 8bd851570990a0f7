"""Comparisons of learners: which cells there are, and that each says what a run of its own says."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import ConfigError
from securerec.experiments.quality.learners import LEARNERS
from securerec.experiments.quality.plan import Plan, protocols_of
from securerec.experiments.quality.summary import rows
from securerec.experiments.sweeps.references import REFERENCES
from securerec.experiments.sweeps.sweep import sweep
from securerec.federation import results
from securerec.federation.run import Run

SMALL: dict[str, Any] = {"training": {"rounds": 3, "item_lr_factor": 0.5}, "data": {"sampled_negatives": 15}}


@pytest.fixture
def repeating(toy: Dataset) -> Dataset:
    """The small data set, where everybody comes back to the first item in the end."""
    lists = [[*toy.interactions.of(user).tolist(), int(toy.interactions.of(user)[0])] for user in range(24)]
    return replace(toy, interactions=Interactions.from_lists(lists, toy.interactions.n_items))


def test_a_comparison_has_every_learner_and_seed_and_references_once(toy: Dataset) -> None:
    cells = Plan(seeds=2, settings=SMALL).cells(toy)
    seeds: dict[str, list[int | None]] = {}
    for cell in cells:
        seeds.setdefault(cell.label, []).append(cell.seed)
    assert seeds == {name: [0, 1] for name in LEARNERS} | {
        name: [0, 1] if each.random else [None] for name, each in REFERENCES.items()
    }
    assert len({cell.digest() for cell in cells}) == len(cells)
    assert not any(cell.config.privacy.privacy for cell in cells if cell.kind != "reference")


@pytest.mark.parametrize("learner", LEARNERS)
def test_a_row_says_what_a_run_says_under_every_protocol(tmp_path: Path, toy: Dataset, learner: str) -> None:
    plan = Plan(learners=(learner,), references=(), seeds=1, settings={"data": SMALL["data"]})
    if learner != "auto":
        plan = replace(plan, settings=SMALL)
    cells = plan.cells(toy)
    (row,) = rows(cells, sweep(tmp_path / "sweep", cells, {"toy": toy}, workers=1).measured)
    figures = results.execute(Run.create(tmp_path / "run", cells[0].config, toy), 1, lambda progress: None)
    for protocol in ("published", "clean", "full"):
        for name, value in figures["metrics"][protocol].items():
            assert row.figures[f"{protocol}.{name}"].mean == pytest.approx(value, abs=1e-12)
            assert row.by_seed[f"{protocol}.{name}"] == (pytest.approx(value, abs=1e-12),)
    assert row.claim is None, "no paper has figures for a made-up data set"


def test_a_device_alone_does_well_only_where_the_protocol_leaks(tmp_path: Path, toy: Dataset) -> None:
    plan = Plan(learners=(), references=("local-only", "popularity"), seeds=1, settings=SMALL)
    cells = plan.cells(toy)
    alone, popular = rows(cells, sweep(tmp_path / "sweep", cells, {"toy": toy}, workers=1).measured)
    published, clean = (alone.figures[f"{protocol}.ndcg@10"].mean for protocol in ("published", "clean"))
    assert published > clean + 0.2
    same = [popular.figures[f"{protocol}.ndcg@10"].mean for protocol in ("published", "clean")]
    assert same[0] == same[1]


def test_where_pairs_repeat_only_the_published_protocol_is_evaluated(tmp_path: Path, repeating: Dataset) -> None:
    assert protocols_of(repeating) == ("published",)
    plan = Plan(learners=("fedmf",), references=("popularity", "local-only"), seeds=1, settings=SMALL)
    cells = plan.cells(repeating)
    found = sweep(tmp_path / "sweep", cells, {"toy": repeating}, workers=1)
    assert not found.failed
    for row in rows(cells, found.measured):
        assert {name.partition(".")[0] for name in row.figures} == {"published"}
        assert np.isfinite(row.figures["published.hr@10"].mean)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"learners": ("magic",)}, "there is no learner 'magic': choose among auto, pfedrec"),
        ({"references": ("magic",)}, "there is no reference 'magic'"),
        ({"learners": (), "references": ()}, "at least one learner or reference"),
        ({"seeds": 0}, "at least one seed"),
        ({"settings": {"seed": 3}}, "sets seed by itself"),
        ({"settings": {"privacy": {"privacy": True}}}, "sets privacy.privacy by itself"),
    ],
)
def test_what_cannot_be_compared_is_named(toy: Dataset, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(Plan(), **changed).cells(toy)
