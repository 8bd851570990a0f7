import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from securerec.cli.data import app
from securerec.cli.output import emit
from securerec.data import cache, sources
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.data.local_files import Files
from securerec.data.sources import Known, Origin
from securerec.errors import ConfigError, DataError

CSV = "who,what,when\n" + "".join(f"u{u},i{(u * 3 + k) % 11},{k}\n" for u in range(5) for k in range(6))
IMPORT = ["--user-column", "who", "--item-column", "what", "--timestamp-column", "when"]


def run(*arguments: str):
    result = CliRunner().invoke(app, list(arguments))
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture
def events(tmp_path: Path) -> Path:
    path = tmp_path / "My Events.csv"
    path.write_text(CSV)
    return path


def test_an_imported_file_is_listed_described_and_loaded_by_name(events: Path) -> None:
    shown = run("import", str(events), *IMPORT).stdout
    assert "use it with --dataset my-events" in " ".join(shown.split())
    listed = json.loads(run("list", "--json", "-").stdout)["datasets"]
    assert [(row["name"], row["state"]) for row in listed] == [
        ("amazon-video", "can be fetched"),
        ("lastfm-2k", "can be fetched"),
        ("lastfm-2k-tags", "can be fetched"),
        ("ml-100k", "can be fetched"),
        ("ml-1m", "can be fetched"),
        ("my-events", "imported"),
    ]
    assert [row["name"] for row in listed if row["has_repeats"]] == ["lastfm-2k-tags"]
    figures = json.loads(run("describe", "MY-EVENTS", "--json", "-").stdout)
    assert (figures["users"], figures["items"], figures["interactions"]) == (5, 11, 30)
    assert sources.load("my-events").interactions.n_interactions == 30


def test_import_reports_what_became_of_the_rows(events: Path) -> None:
    events.write_text(CSV + "u0,i0,9\nlone,i1,1\n")
    result = run("import", str(events), *IMPORT, "--name", "e", "--json", "-")
    figures = json.loads(result.stdout)
    assert (figures["rows"], figures["duplicates"], figures["users_without_held_out_item"]) == (32, 1, 1)
    assert "1 rows repeated a user and item" in result.stderr and "training only" in result.stderr


def test_import_says_that_row_order_is_the_order_without_timestamps(events: Path) -> None:
    shown = run("import", str(events), *IMPORT[:4]).stdout
    assert "the source's row order, which has no timestamps" in " ".join(shown.split())


def test_import_never_replaces_silently_nor_takes_a_known_name(events: Path) -> None:
    run("import", str(events), *IMPORT, "--name", "e")
    with pytest.raises(DataError, match="stored already: choose another with --name, or add --replace"):
        run("import", str(events), *IMPORT, "--name", "E")
    run("import", str(events), *IMPORT, "--name", "E", "--replace")
    with pytest.raises(DataError, match="ml-100k is the name of a data set that is fetched"):
        run("import", str(events), *IMPORT, "--name", "ML-100K")


def test_a_bad_row_stores_nothing(events: Path) -> None:
    events.write_text(CSV + "u0,,9\n")
    with pytest.raises(DataError, match="line 32: what is empty"):
        run("import", str(events), *IMPORT)
    assert cache.stored_names() == []


def test_import_takes_what_is_known_of_items_and_users_from_files_beside(events: Path) -> None:
    (events.parent / "films.csv").write_text("item,title,year,genres\ni0,One,1999,Drama|War\ni1,Two,,War\ngone,x,1,x\n")
    (events.parent / "people.csv").write_text("user,gender\nu1,F\nu2,M\n")
    extra = ["--items", str(events.parent / "films.csv"), "--users", str(events.parent / "people.csv")]
    result = run("import", str(events), *IMPORT, *extra, "--name", "e", "--json", "-")
    figures = json.loads(result.stdout)
    assert (figures["items_not_described"], figures["users_not_described"]) == (9, 3)
    shown = " ".join(result.stderr.split())
    assert "films.csv describes 2 items. 9 items of the data set stand in no row of it. 1 of its rows" in shown
    described = json.loads(run("describe", "e", "--json", "-").stdout)
    assert described["genres"] == {"Drama": 1, "War": 2}
    assert described["user_attributes"]["gender"]["distinct"] == 3
    (events.parent / "people.csv").write_text("user,gender\nu1\n")
    with pytest.raises(DataError, match="people.csv, line 2: 1 fields"):
        run("import", str(events), *IMPORT, *extra, "--name", "e", "--replace")
    assert sources.load("e").genre_names == ("Drama", "War")


WORLD = ["--users", "40", "--items", "60", "--interactions", "400"]


def test_a_synthesized_world_has_the_size_asked_for_and_the_same_seed_gives_the_same() -> None:
    figures = json.loads(run("synthesize", *WORLD, "--seed", "7", "--name", "W", "--json", "-").stdout)
    assert (figures["name"], figures["users"], figures["items"], figures["interactions"]) == ("w", 40, 60, 400)
    assert Path(figures["file"]).stat().st_size == figures["bytes"] and not figures["has_repeats"]
    run("synthesize", *WORLD, "--seed", "7", "--name", "again")
    run("synthesize", *WORLD, "--seed", "8", "--name", "other")
    again, other = sources.load("again").digest(), sources.load("other").digest()
    assert sources.load("w").digest() == again != other
    listed = json.loads(run("list", "--json", "-").stdout)["datasets"]
    assert next(row["state"] for row in listed if row["name"] == "w") == "synthesized"
    assert sources.load("w").source.endswith("400 interactions, seed 7")


def test_synthesize_never_replaces_silently_nor_takes_a_known_name() -> None:
    run("synthesize", *WORLD)
    with pytest.raises(DataError, match="a data set synthetic is stored already"):
        run("synthesize", *WORLD)
    run("synthesize", *WORLD, "--replace")
    with pytest.raises(DataError, match="ml-1m is the name of a data set that is fetched"):
        run("synthesize", *WORLD, "--name", "ML-1M")
    with pytest.raises(DataError, match="--interactions must be at most"):
        run("synthesize", *WORLD[:4], "--interactions", str(10**12), "--name", "huge")


def test_repeats_are_named_wherever_a_data_set_is_shown(small, monkeypatch: pytest.MonkeyPatch) -> None:
    again = replace(small, interactions=Interactions.from_lists([[0, 1, 3, 0], [3, 2], [1, 0, 3]], n_items=5))
    entry = Known("small", "Small", "free", 3, 5, 9, again.content_digest(), (Origin("here", lambda: again),))
    monkeypatch.setitem(sources.REGISTRY, "small", replace(entry, has_repeats=True))
    assert "can be fetched, with repeats" in " ".join(
        CliRunner().invoke(app, ["list"], env={"COLUMNS": "200"}).stdout.split()
    )
    for command in ("fetch", "describe"):
        shown = " ".join(run(command, "small").stdout.replace("│", " ").split())
        assert "9 interactions are 8 distinct pairs of user and item" in shown
        assert "the held-out pair of 1 of 2 users is in training too" in shown
    assert "fetched, with repeats" in " ".join(CliRunner().invoke(app, ["list"], env={"COLUMNS": "200"}).stdout.split())


def test_tabs_can_be_named(events: Path) -> None:
    events.write_text(CSV.replace(",", "\t"))
    assert run("import", str(events), *IMPORT, "--delimiter", "tab").exit_code == 0


def test_fetch_keeps_a_whole_copy_and_replaces_a_damaged_one(small, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = Known("small", "Small", "free", 3, 5, 9, small.content_digest(), (Origin("here", lambda: small),))
    monkeypatch.setitem(sources.REGISTRY, "small", entry)
    first = run("fetch", "small", "--json", "-")
    assert "licence: free" in first.stderr
    assert json.loads(first.stdout)["stored_before"] is False
    assert json.loads(run("fetch", "SMALL", "--json", "-").stdout)["stored_before"] is True
    cache.path_of("small").write_bytes(b"damaged")
    listed = json.loads(run("list", "--json", "-").stdout)["datasets"]
    assert next(row["state"] for row in listed if row["name"] == "small") == "damaged"
    again = run("fetch", "small", "--json", "-")
    assert json.loads(again.stdout)["stored_before"] is False and "damaged" in again.stderr
    assert sources.load("small").digest() == small.digest()


def test_fetch_from_a_folder_verifies_and_replaces(small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def read(files: Files) -> Dataset:
        return small if files["good.txt"]() == b"good" else replace(small, titles=("x", *small.titles[1:]))

    entry = Known("small", "Small", "free", 3, 5, 9, small.content_digest(), (), read)
    monkeypatch.setitem(sources.REGISTRY, "small", entry)
    (tmp_path / "good.txt").write_bytes(b"good")
    cache.save_dataset(replace(small, titles=("x", *small.titles[1:])))
    figures = json.loads(run("fetch", "small", "--from", str(tmp_path), "--json", "-").stdout)
    assert figures["stored_before"] is False and figures["order"] == small.tie_rule
    (tmp_path / "good.txt").write_bytes(b"bad")
    with pytest.raises(DataError, match="not what was published"):
        run("fetch", "small", "--from", str(tmp_path))
    assert sources.load("small").content_digest() == small.content_digest()


def test_describe_shows_hostile_titles_as_plain_text(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("u,i,t\n" + "".join(f"a,{k},[red]title {k}[/red]\n" for k in range(3)))
    run("import", str(path), "--user-column", "u", "--item-column", "i", "--title-column", "t")
    assert "[red]title 1[/red]" in run("describe", "t").stdout


@pytest.mark.parametrize("command", ["list", "fetch", "describe", "import", "synthesize"])
def test_every_command_has_help(command: str) -> None:
    shown = run(command, "--help").stdout
    assert "--json" in shown and "Usage" in shown


def test_json_on_standard_output_is_the_only_thing_there(capsys: pytest.CaptureFixture[str]) -> None:
    emit({"titles": "Été", "absent": None}, "-", "a table")
    out, err = capsys.readouterr()
    assert json.loads(out) == {"titles": "Été", "absent": None}
    assert err.strip() == "a table"


def test_json_in_a_file_leaves_the_table_on_standard_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    emit({"a": 1}, str(tmp_path / "new" / "figures.json"), "a table")
    assert capsys.readouterr() == ("a table\n", "")
    assert json.loads((tmp_path / "new" / "figures.json").read_text()) == {"a": 1}
    with pytest.raises(ConfigError, match="cannot be written"):
        emit({"a": 1}, str(tmp_path))


def test_figures_that_are_not_finite_are_never_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        emit({"a": float("nan")}, str(tmp_path / "figures.json"))
    assert not (tmp_path / "figures.json").exists()
