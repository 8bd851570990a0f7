"""People who arrive, by command: somebody the run has never seen, new items, what came later; and the measurement."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from securerec.cli.arrivals import _bench_config
from securerec.data import cache
from securerec.data.dataset import BY_TIMESTAMP, Dataset
from securerec.errors import ConfigError
from securerec.federation.folder import RunFolder

TOY = ("--dataset", "toy", "--sampled-negatives", "15", "--rounds", "2", "--workers", "1", "--protocol", "plain")
Securerec = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def featured(toy: Dataset) -> Dataset:
    genres = np.stack([np.arange(50) < 25, np.arange(50) >= 25], axis=1)
    years = (1980 + np.arange(50) % 20).astype(np.int16)
    times = np.random.default_rng(0).permutation(toy.interactions.n_interactions).astype(np.float64)
    for user in range(24):
        span = slice(*toy.interactions.offsets[user : user + 2])
        times[span] = np.sort(times[span])
    dataset = replace(
        toy, genres=genres, genre_names=("Drama", "Comedy"), years=years, timestamps=times, tie_rule=BY_TIMESTAMP
    )
    cache.save_dataset(dataset)
    return dataset


@pytest.fixture
def run(tmp_path: Path, featured: Dataset, securerec: Securerec) -> Path:
    securerec("run", *TOY, "--no-published", "--seed", "1", "--out", tmp_path / "run")
    return tmp_path / "run"


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_somebody_the_run_has_never_seen_gets_a_list(tmp_path: Path, run: Path, securerec: Securerec) -> None:
    history = written(tmp_path / "history.csv", 'item\ni3\nFilm [7]\n"film [9] (1989)"\n')
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    done = securerec("recommend", run, "--history", history, "--count", "4", "--json", "-")
    figures: dict[str, Any] = json.loads(done.stdout)
    assert [item["item"] for item in figures["known"]] == ["i9", "i7", "i3"]
    assert len(figures["recommendations"]) == 4 and figures["uploaded_bytes"] == 0
    assert not {"i3", "i7", "i9"} & {item["item"] for item in figures["recommendations"]}
    assert figures == json.loads(
        securerec("recommend", run, "--history", history, "--count", "4", "--json", "-").stdout
    )
    assert before == {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    assert "no part of the run" in " ".join(done.stderr.split())


def test_new_items_appear_and_are_marked(tmp_path: Path, run: Path, securerec: Securerec) -> None:
    history = written(tmp_path / "history.csv", "item\ni3\ni7\n")
    file = written(tmp_path / "new.csv", "item,title,year,genres\nn1,Fresh,1985,Drama\n")
    for whom in (("--history", history), ("--user", "u4")):
        done = securerec("recommend", run, *whom, "--new-items", file, "--count", "60", "--json", "-")
        found = {item["item"]: item["new"] for item in json.loads(done.stdout)["recommendations"]}
        assert found.pop("n1") is True and not any(found.values())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ((), 4, "give --user"),
        (("--user", "u1", "--history", "x.csv"), 4, "give --user"),
        (("--history", "missing.csv"), 3, "missing.csv cannot be read"),
    ],
)
def test_bad_requests_are_one_line(
    run: Path, securerec: Securerec, arguments: tuple[str, ...], code: int, message: str
) -> None:
    refused = securerec("recommend", run, *arguments, code=code)
    assert message in refused.stderr and len(refused.stderr.strip().splitlines()) == 1


def test_unknown_items_are_named_with_the_nearest(tmp_path: Path, run: Path, securerec: Securerec) -> None:
    history = written(tmp_path / "history.csv", "item\ni3\nFilm [77]\n")
    refused = securerec("recommend", run, "--history", history, code=3).stderr
    assert "history.csv, line 3" in refused and "i7 (Film [7])" in refused


def test_where_nothing_tells_items_apart_a_new_one_is_refused(
    tmp_path: Path, toy: Dataset, securerec: Securerec
) -> None:
    securerec("run", *TOY, "--no-published", "--seed", "1", "--out", tmp_path / "run")
    file = written(tmp_path / "new.csv", "item\nn1\n")
    refused = securerec("recommend", tmp_path / "run", "--user", "u1", "--new-items", file, code=5)
    assert "neither genres nor years" in refused.stderr


def test_without_a_head_too_somebody_new_gets_a_list_but_a_new_item_no_score(
    tmp_path: Path, featured: Dataset, securerec: Securerec
) -> None:
    securerec("run", *TOY, "--no-published", "--no-head", "--no-privacy", "--out", tmp_path / "run")
    history = written(tmp_path / "history.csv", "item\ni3\ni7\n")
    found = json.loads(securerec("recommend", tmp_path / "run", "--history", history, "--json", "-").stdout)
    assert len(found["recommendations"]) == 10
    file = written(tmp_path / "new.csv", "item,year\nn1,1985\n")
    refused = securerec("recommend", tmp_path / "run", "--history", history, "--new-items", file, code=5)
    assert "without a head an item is nothing but its row" in refused.stderr


def test_a_run_goes_on_with_what_came_since(tmp_path: Path, run: Path, featured: Dataset, securerec: Securerec) -> None:
    later = written(
        tmp_path / "later.csv",
        "user,item,timestamp\nnew,i3,900\nnew,i7,901\nnew,i9,902\nnew,n1,903\nnew,i11,904\nu4,n1,905\n",
    )
    items = written(tmp_path / "new.csv", "item,title,year,genres\nn1,Fresh,1985,Drama\n")
    described = ("--interactions", later, "--new-items", items)
    refused = securerec("continue", run, *described, "--rounds", "1", "--out", tmp_path / "next", code=4)
    assert "say with --epsilon" in refused.stderr and not (tmp_path / "next").exists()
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    before = cache.stored_names()
    refused = securerec(
        "continue", run, *described, "--rounds", "1", "--epsilon", "2", "--out", tmp_path / "taken", code=5
    )
    assert "is not empty" in refused.stderr and cache.stored_names() == before
    arguments = (*described, "--rounds", "1", "--epsilon", "2", "--out", tmp_path / "next")
    done = securerec("continue", run, *arguments, "--json", "-")
    figures = json.loads(done.stdout)
    assert figures["cohort"] == 25 and figures["rounds"] == 1 and 1.9 < figures["continues"]["added_epsilon"] <= 2
    assert figures["privacy"]["central_epsilon"] > 8
    assert "6 interactions, 1 user and 1 item came to toy" in done.stderr
    assert "are not released again" in done.stderr and "no published twin" in done.stderr
    assert "private head alone" in done.stderr
    assert "of which this run added" in done.stderr
    recounted = json.loads(securerec("privacy", "account", tmp_path / "next", "--json", "-").stdout)["totals"]
    assert recounted["central"]["epsilon"]["gdp"] == figures["privacy"]["central_epsilon"]
    known = json.loads(securerec("recommend", tmp_path / "next", "--user", "new", "--json", "-").stdout)["known"]
    assert [item["item"] for item in known] == ["i9", "i7", "i3"], "the two newest are held out"
    resumed = json.loads(securerec("resume", tmp_path / "next", "--json", "-").stdout)
    assert resumed["continues"] == figures["continues"]
    # the data set it was stored as is one to go on from too
    name = figures["dataset"]
    again = securerec("continue", tmp_path / "next", "--dataset", name, "--out", tmp_path / "last", "--json", "-")
    assert json.loads(again.stdout)["privacy"]["central_epsilon"] == figures["privacy"]["central_epsilon"]


def test_bench_arrivals_measures_new_users_new_items_and_drift(featured: Dataset, securerec: Securerec) -> None:
    arguments = ("bench", "arrivals", "--dataset", "toy", "--sampled-negatives", "15", "--rounds", "1", "--json", "-")
    figures = json.loads(securerec(*arguments).stdout)
    histories = [f"{number} items" for number in (0, 1, 3, 5, 10, 20)]
    assert list(figures["users"]) == [
        "popularity", *histories, "whole list", "whole list, in a run that had them"
    ]  # fmt: skip
    assert set(figures["items"]) == {"any item", "new items"} and set(figures["drift"]) == {"by list", "by date"}
    assert list(figures["drift"]["by list"]["window 2"]) == [
        "popularity",
        "frozen",
        "going on",
        "new rounds",
        "new run",
    ]
    for mean, low, high in figures["users"]["whole list"].values():
        assert 0 <= low <= mean <= high <= 1


def test_bench_arrivals_says_what_it_leaves_out(toy: Dataset, securerec: Securerec) -> None:
    arguments = ("bench", "arrivals", "--dataset", "toy", "--sampled-negatives", "15", "--rounds", "2", "--no-head")
    figures = json.loads(securerec(*arguments, "--epsilon", "8", "--json", "-").stdout)
    assert "items" not in figures and "without a head" in figures["notes"][0]
    assert figures["epsilon"] == 8 and set(figures["drift"]) == {"by list"}


def test_the_bench_has_no_noise_unless_an_epsilon_asks_for_it() -> None:
    assert not _bench_config({"privacy": {"delta": 1e-6}}).privacy.privacy
    noised = _bench_config({"privacy": {"epsilon": 2.0}}).privacy
    assert noised.privacy and noised.epsilon == 2.0
    for given in ({"local_epsilon": 2.0}, {"noise_multiplier": 1.0}, {"unit": "interaction", "epsilon": 2.0}):
        with pytest.raises(ConfigError):
            _bench_config({"privacy": given})


def test_a_refused_continuation_leaves_a_data_set_that_was_there(
    tmp_path: Path, run: Path, securerec: Securerec
) -> None:
    later = written(tmp_path / "later.csv", "user,item,timestamp\nnew,i3,900\nnew,i7,901\nnew,i9,902\n")
    securerec("continue", run, "--interactions", later, "--out", tmp_path / "next")
    before = cache.stored_names()
    assert "is not empty" in securerec(
        "continue", run, "--interactions", later, "--out", tmp_path / "next", code=5
    ).stderr  # fmt: skip
    assert len(before) == 2 and cache.stored_names() == before


def test_devices_of_a_continuation_may_be_played_by_other_processes(
    tmp_path: Path, run: Path, securerec: Securerec
) -> None:
    later = written(tmp_path / "later.csv", "user,item,timestamp\nnew,i3,900\nnew,i7,901\nnew,i9,902\n")
    for workers, name in (((), "as-before"), (("--workers", "2"), "two")):
        securerec("continue", run, "--interactions", later, *workers, "--out", tmp_path / name)
    found = [RunFolder.open(tmp_path / name).config().protocol.workers for name in ("as-before", "two")]
    assert found == [1, 2]


def test_views_of_new_rounds_are_recorded_and_audited(tmp_path: Path, run: Path, securerec: Securerec) -> None:
    later = written(tmp_path / "later.csv", "user,item,timestamp\nnew,i3,900\nnew,i7,901\nnew,i9,902\n")
    going = ("continue", run, "--interactions", later, "--record-views", "--out", tmp_path / "next")
    assert "nothing to record" in securerec(*going, code=4).stderr
    securerec(*going, "--rounds", "2", "--epsilon", "2")
    names = {path.name for path in (tmp_path / "next" / "views").glob("round-*")}
    assert {name[:12] for name in names} == {"round-000001", "round-000002"} and len(names) == 6
    figures = json.loads(securerec("audit", tmp_path / "next", "--json", "-").stdout)
    assert figures["broken"] == [] and figures["findings"] and figures["epsilon_bounds"]
    assert any("the run that this one continues" in each for each in figures["left_out"])


@pytest.mark.parametrize(
    ("arguments", "file", "text"),
    [
        (("recommend", "--history"), "history.csv", "thing\ni1\n"),
        (("recommend", "--history"), "history.csv", "item\ni1,2\n"),
        (("recommend", "--user", "u1", "--new-items"), "new.csv", "item,year\nn1,soon\n"),
        (("continue", "--interactions"), "later.csv", "user,item\nu1,n9\n"),
        (("continue", "--interactions"), "later.csv", "person,item\nu1,i1\n"),
        (("continue", "--interactions"), "later.csv", ""),
    ],
)
def test_errors_of_a_file_name_it_and_no_option_that_the_command_lacks(
    tmp_path: Path, run: Path, securerec: Securerec, arguments: tuple[str, ...], file: str, text: str
) -> None:
    path = written(tmp_path / file, text)
    refused = securerec(arguments[0], run, *arguments[1:], path, code=3).stderr
    assert f"{file}, " in refused and ("line " in refused or "header" in refused)
    assert "--delimiter" not in refused and len(refused.strip().splitlines()) == 1


def test_a_list_where_nothing_is_marked_has_no_column_for_it(tmp_path: Path, run: Path, securerec: Securerec) -> None:
    history = written(tmp_path / "history.csv", "item\ni3\n")
    shown = securerec("recommend", run, "--history", history, "--count", "3").stdout
    assert (
        "┃ score ┃" in " ".join(shown.split()) and "┃ note" not in shown and "1 item, newest" in " ".join(shown.split())
    )
    file = written(tmp_path / "new.csv", "item,year\nn1,1985\n")
    marked = securerec("recommend", run, "--history", history, "--new-items", file, "--count", "60").stdout
    assert "┃ note" in marked


@pytest.mark.parametrize(
    "command",
    [
        ("recommend", "--user", "u1"), ("explain", "--user", "u1", "--item", "i1"), ("pictures",),
        ("continue", "--dataset", "toy"),
    ],
)  # fmt: skip
def test_a_finished_run_is_read_by_programs_of_its_version(
    tmp_path: Path, run: Path, securerec: Securerec, command: tuple[str, ...]
) -> None:
    ours = version("securerec")
    major, minor, _ = ours.split(".", 2)
    identity = json.loads((run / "identity.json").read_text())
    for other in (f"{major}.{int(minor) + 1}.0", f"{int(major) + 1}.{minor}.0"):
        (run / "identity.json").write_text(json.dumps(identity | {"version": other}))
        refused = securerec(command[0], run, *command[1:], code=5).stderr
        assert f"was made with securerec {other}, and this is {ours}" in refused
        assert len(refused.strip().splitlines()) == 1
    (run / "identity.json").write_text(json.dumps(identity | {"version": f"{major}.{minor}.99"}))
    out = ("--out", tmp_path / "out") if command[0] == "continue" else ()
    securerec(command[0], run, *command[1:], *out)
