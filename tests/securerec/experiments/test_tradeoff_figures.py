"""What a sweep says: points, attacks, records and pictures."""

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.data.dataset import Dataset
from securerec.evaluation.seeds import interval_of
from securerec.experiments.sweeps import sweep
from securerec.experiments.sweeps.references import REFERENCES
from securerec.experiments.sweeps.sweep import Swept
from securerec.experiments.tradeoff import pictures
from securerec.experiments.tradeoff.plan import ATTACKS, Plan
from securerec.experiments.tradeoff.records import COLUMNS, write_records
from securerec.experiments.tradeoff.summary import points, returned_users

SMALL: dict[str, Any] = {"training": {"rounds": 2}, "data": {"sampled_negatives": 15}}
PLAN = Plan(methods=("pfedrec",), epsilons=(8.0, 1.0), seeds=2, settings=SMALL)


_whole: list[Swept] = []


@pytest.fixture
def whole(tmp_path_factory: pytest.TempPathFactory, dated: Dataset) -> Swept:
    """The whole of PLAN, measured once for all tests that only look at it."""
    if not _whole:
        folder = tmp_path_factory.mktemp("whole") / "sweep"
        _whole.append(sweep.sweep(folder, PLAN.cells(dated), {"toy": dated}, workers=1))
    return _whole[0]


def test_attacks_see_what_the_adversary_of_the_kind_sees(dated: Dataset, whole: Swept) -> None:
    cells, found = PLAN.cells(dated), whole
    views = {cell.kind: {each["view"] for each in found.measured[cell.digest()].findings} for cell in cells}
    assert views == {
        "central": {"opened_sum"}, "local": {"noised_upload"}, "none": {"unprotected_upload"}, "reference": set(),
    }  # fmt: skip
    by_kind = {point.kind: point for point in points(dated, cells, found.measured) if point.kind != "reference"}
    bare, summed = by_kind["none"].leak, by_kind["central"].leak
    assert bare and summed and bare.auc > 0.99 > summed.auc
    assert bare.attack in ATTACKS


def test_records_have_a_row_for_each_cell_metric_and_group(tmp_path: Path, dated: Dataset, whole: Swept) -> None:
    cells, found = PLAN.cells(dated), whole
    count = write_records(tmp_path / "records.csv", cells, found.measured, {"toy": dated})
    with open(tmp_path / "records.csv", newline="") as file:
        reader = csv.DictReader(file)
        rows = list(reader)
    assert tuple(reader.fieldnames or ()) == COLUMNS and len(rows) == count
    late = returned_users(dated)
    assert len(late) == dated.interactions.n_users // 2
    for cell in cells:
        own = [row for row in rows if row["cell"] == cell.digest()]
        measured = found.measured[cell.digest()]
        for name, values in measured.values.items():
            groups = {row["users"]: row for row in own if row["metric"] == name}
            assert float(groups["all"]["value"]) == values.mean()
            assert int(groups["all"]["n"]) == len(measured.users)
            assert float(groups["returned after a day"]["value"]) == values[np.isin(measured.users, late)].mean()
            assert int(groups["returned after a day"]["n"]) == len(late)
        assert len([row for row in own if row["metric"].startswith("attack.")]) == 2 * len(measured.findings)
        assert {row["method"] for row in own} == {cell.label}
        assert all("no epsilon here is charged" in row["note"] for row in own)
    central = [row for row in rows if row["kind"] == "central" and row["epsilon"] == "8.0"]
    assert central and all(7.9 < float(row["central_epsilon"]) <= 8 < float(row["local_epsilon"]) for row in central)
    assert {row["central_epsilon"] for row in rows if row["kind"] in ("none", "reference")} == {""}
    assert {row["unit"] for row in central} == {"user"}


def test_points_take_seeds_together_and_charge_for_tuning_only_when_asked(dated: Dataset, whole: Swept) -> None:
    cells, found = PLAN.cells(dated), whole
    plain = points(dated, cells, found.measured)
    charged = points(dated, cells, found.measured, mean_trials=10)
    assert len(plain) == 5 + len(REFERENCES)
    for before, after in zip(plain, charged, strict=True):
        assert before.tuned is None and before.figures == after.figures
        if before.kind in ("central", "local"):
            assert before.seeds == (0, 1) and before.spent and after.tuned
            own = before.spent[f"{before.kind}_epsilon"]
            assert own <= before.epsilon and after.tuned["epsilon"] > own
        else:
            assert after.tuned is None
        first = next(cell for cell in cells if (cell.label, cell.kind) == (before.label, before.kind))
        if before.epsilon is None and before.seeds == (None,):
            assert before.figures["clean.hr@10"].mean == found.measured[first.digest()].values["clean.hr@10"].mean()
    popularity = next(point for point in plain if point.label == "popularity")
    central = plain[0]
    assert central.beyond_popularity and popularity.beyond_popularity is None
    difference = central.figures["clean.hr@10"].mean - popularity.figures["clean.hr@10"].mean
    assert central.beyond_popularity.mean == pytest.approx(difference)
    assert json.loads(json.dumps(central.to_json(), allow_nan=False)) == central.to_json()


def test_with_nothing_uploaded_nothing_is_spent(tmp_path: Path, dated: Dataset) -> None:
    plan = replace(PLAN, methods=("auto", "pfedrec"), kinds=("nothing",), seeds=2)
    (cell,) = [cell for cell in plan.cells(dated) if cell.kind == "nothing"]
    found = sweep.sweep(tmp_path / "sweep", [cell], {"toy": dated}, workers=1)
    (point,) = points(dated, [cell], found.measured)
    assert point.label == "auto" and point.leak is None and point.spent
    assert point.spent["central_epsilon"] == point.spent["local_epsilon"] == 0


@pytest.mark.parametrize("seeds", [1, 3])
def test_intervals_of_differences_lie_around_their_mean(seeds: int) -> None:
    values = np.random.default_rng(seeds).choice([-1.0, 0.0, 1.0], (seeds, 80), p=[0.1, 0.5, 0.4])
    found = interval_of(values, low=-1.0, high=1.0)
    assert found.mean == pytest.approx(values.mean())
    assert -1 <= found.low < found.mean < found.high <= 1
    unit = interval_of((values + 1) / 2)
    assert found == pytest.approx([2 * bound - 1 for bound in unit])


def test_pictures_are_drawn_and_say_what_they_show(tmp_path: Path, dated: Dataset, whole: Swept) -> None:
    cells, found = PLAN.cells(dated), whole
    shown = points(dated, cells, found.measured)
    files = pictures.write_pictures(tmp_path, shown)
    assert sorted(path.name for path in files) == sorted(
        f"toy-{name}.{kind}" for name in ("utility", "attacks", "utility-against-attacks") for kind in ("png", "svg")
    )
    for path in files:
        content = path.read_bytes()
        assert len(content) > 5000
        if path.suffix == ".png":
            assert content.startswith(b"\x89PNG\r\n")
        else:
            ElementTree.fromstring(content)
            # Each text is kept as a comment beside its outlines.
            assert b"secure sum" in content and b"charged" in content
    utility = (tmp_path / "toy-utility.svg").read_text()
    for text in ("no secure sum, local noise", "no privacy", "popularity", "HR@10", "NDCG@10", "epsilon of one user"):
        assert text in utility, text
    before = {path: path.read_bytes() for path in files}
    pictures.write_pictures(tmp_path, shown)
    assert {path: path.read_bytes() for path in files} == before


@given(st.lists(st.floats(0, 1), max_size=12), st.floats(0.01, 0.2))
def test_labels_do_not_overlap_and_keep_their_order(heights: list[float], gap: float) -> None:
    placed = pictures._spread(heights, gap)
    order = sorted(range(len(heights)), key=lambda place: heights[place])
    moved = [placed[place] for place in order]
    assert all(after - before >= gap - 1e-9 for before, after in zip(moved, moved[1:], strict=False))


def test_a_lonely_label_stays_where_it_belongs() -> None:
    assert pictures._spread([0.1, 0.5, 0.9], 0.05) == [0.1, 0.5, 0.9]
