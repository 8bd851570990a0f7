import re
import stat
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from securerec.cli.pictures import draw
from securerec.errors import ConfigError
from securerec.report import drawing, embedding, views
from securerec.report import moves as moves_module
from securerec.report.embedding import draw_by_user, main_genres, neighbours, planes
from securerec.report.explanation import own_rows
from securerec.report.finished import FinishedRun
from securerec.report.moves import auc, move_figures, moves
from securerec.report.views import as_json, view_figures

NAMES = ("figures-by-view", "items-by-genre", "items-by-user", "own-view-against-server")
NAMESPACES = {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}


def check_png(data: bytes) -> None:
    """Signature, every chunk's checksum, and the end."""
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    place, kinds = 8, []
    while place < len(data):
        (length,), kind = struct.unpack(">I", data[place : place + 4]), data[place + 4 : place + 8]
        body = data[place + 4 : place + 8 + length]
        assert zlib.crc32(body) == struct.unpack(">I", data[place + 8 + length : place + 12 + length])[0]
        kinds.append(kind)
        place += 12 + length
    assert kinds[0] == b"IHDR" and kinds[-1] == b"IEND" and b"IDAT" in kinds


def check_svg(data: bytes) -> str:
    """Well-formed, drawn, and nothing outside it is referred to; its title."""
    assert b"<!DOCTYPE" not in data and b"<script" not in data and b"@import" not in data
    assert set(re.findall(r"https?://[^\s\"'<)]+", data.decode())) <= NAMESPACES
    root = ElementTree.fromstring(data)
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    for element in root.iter():
        for name, value in element.attrib.items():
            if name.endswith("href") or "url(" in value:
                assert value.startswith("#") or re.search(r"url\(#[^)]+\)", value)
    title = root.find("{http://www.w3.org/2000/svg}title")
    assert title is not None and title.text
    assert root.find(".//{http://www.w3.org/2000/svg}path") is not None
    return title.text


@pytest.mark.parametrize("kind", ["with_head", "without_head", "network"])
def test_every_picture_is_whole_and_refers_to_nothing_outside(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: FinishedRun = request.getfixturevalue(kind)
    steps: list[str] = []
    figures = draw(run, 3, tmp_path / "out", steps.append)
    assert len(steps) == 4 and not figures["left_out"]
    written = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert written == sorted(f"{name}.{end}" for name in NAMES for end in ("png", "svg"))
    assert sorted(Path(name).name for name in figures["files"]) == written
    for path in (tmp_path / "out").iterdir():
        if path.suffix == ".png":
            check_png(path.read_bytes())
        else:
            assert f"toy, run {run.name}" in check_svg(path.read_bytes())
        readable_by_others = bool(path.stat().st_mode & (stat.S_IRGRP | stat.S_IROTH))
        assert readable_by_others == path.name.startswith("figures-by-view")
    assert "nothing stands before that" in figures["notes"][0]
    assert (embedding.ROWS_ONLY in figures["notes"]) == (kind == "with_head")


def test_the_same_run_gives_the_same_bytes(without_head: FinishedRun, tmp_path: Path) -> None:
    first, second = tmp_path / "1", tmp_path / "2"
    for folder in (first, second):
        plane = planes(without_head, own_rows(without_head.devices, 3), 3)
        draw_by_user(without_head, plane, 3, folder)
    assert len(list(first.iterdir())) == 2
    for path in first.iterdir():
        assert path.read_bytes() == (second / path.name).read_bytes()


def test_own_and_server_figures_are_those_of_the_runs_results(with_head: FinishedRun) -> None:
    found = as_json(view_figures(with_head))
    assert set(found) == {"published", "clean", "full"}
    for protocol, by_view in found.items():
        assert ("stranger" in by_view) == (protocol != "published")
        for view in ("own", "server", "head"):
            assert by_view[view] == with_head.results["scorings"][protocol][view]


def test_what_stands_before_the_leak_is_said_as_it_was_in_the_run(without_head: FinishedRun) -> None:
    for protocol, private, words in (
        ("ckks", True, "The secure sum and the noise stand before that."),
        ("ckks", False, "The secure sum alone stands before that."),
        ("plain", True, "The noise of its own upload alone stands"),
    ):
        config = without_head.config.model_copy(
            update={
                "protocol": without_head.config.protocol.model_copy(update={"protocol": protocol}),
                "privacy": without_head.config.privacy.model_copy(update={"privacy": private}),
            }
        )
        assert words in embedding.leak_words(replace(without_head, config=config))


def test_without_genres_that_picture_is_left_out_and_said(
    without_head: FinishedRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = replace(without_head.dataset, genres=np.zeros_like(without_head.dataset.genres))
    for drawn in ("draw_views", "draw_moves", "draw_by_user"):
        module = next(each for each in (views, moves_module, embedding) if hasattr(each, drawn))
        monkeypatch.setattr(module, drawn, lambda *given: [])
    figures = draw(replace(without_head, dataset=dataset), 0, tmp_path / "out", lambda what: None)
    assert figures["left_out"] == ["items-by-genre: no item of this data set has a genre"]
    assert not (tmp_path / "out").exists() and figures["files"] == []


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    made, _ = drawing.figure(1)
    (tmp_path / "file").write_text("here")
    with pytest.raises(ConfigError, match=r"file/x.png cannot be written .*: give --out another folder"):
        drawing.save(made, tmp_path / "file", "x", "title", private=True)


def test_neighbours_are_those_found_one_by_one() -> None:
    rng = np.random.default_rng(5)
    rows = rng.normal(size=(30, 4)).astype(np.float32)
    train, held_out = np.array([3, 8, 8, 21], np.int32), np.array([5], np.int32)
    found = neighbours(rows, train, held_out)

    def share(item: int) -> float:
        distances = [(np.linalg.norm(rows[item] - rows[other]), other) for other in range(30) if other != item]
        return sum(other in train for _, other in sorted(distances)[:10]) / 10

    assert found["train"] == pytest.approx(np.mean([share(item) for item in (3, 8, 21)]))
    assert found["held_out"] == pytest.approx(share(5))
    assert found["expected"] == pytest.approx(2 / 29)
    assert neighbours(rows, train, np.array([], np.int32))["held_out"] is None


def test_moves_are_what_the_device_changed_and_what_it_adds_to_scores(without_head: FinishedRun) -> None:
    run, user = without_head, 6
    moved = moves(run, own_rows(run.devices, user), user)
    rows, change = run.devices.changes.of(user)
    item = int(run.split.train.of(user)[0])
    expected = run.devices.broadcast[item] + change[rows == item][0] - run.devices.table[item]
    assert moved.distances[item] == pytest.approx(np.linalg.norm(expected), rel=1e-5)
    assert moved.added[item] == pytest.approx(float(expected @ run.devices.functions.weights[user]), abs=1e-4)
    positive = np.isin(np.arange(50), run.split.train.of(user))
    assert (moved.groups == "positives").tolist() == positive.tolist()
    assert (moved.groups != "not_trained").tolist() == (positive | np.isin(np.arange(50), rows)).tolist()
    pairs = [
        (a > b) + (a == b) / 2 for a in moved.distances[positive] for b in moved.distances[~positive]
    ]  # fmt: skip
    assert move_figures(moved)["auc"]["distance"] == pytest.approx(np.mean(pairs))
    assert auc(np.ones(4), np.array([True, False, True, False])) == 0.5
    assert auc(np.ones(2), np.array([True, True])) is None


def test_an_item_of_several_genres_is_coloured_by_the_rarest(without_head: FinishedRun) -> None:
    dataset = without_head.dataset
    found = main_genres(dataset)
    assert found is not None
    names, of_item = found
    counts = dict(zip(dataset.genre_names, dataset.genres.sum(axis=0).tolist(), strict=True))
    for item, number in enumerate(of_item):
        own = [name for name, has in zip(dataset.genre_names, dataset.genres[item], strict=True) if has]
        assert (number < 0) == (not own)
        assert not own or counts[names[number]] == min(counts[name] for name in own)


def test_of_a_large_catalogue_the_users_items_and_the_most_popular_ones_are_drawn(
    without_head: FinishedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "MOST_ITEMS", 20)
    items = planes(without_head, own_rows(without_head.devices, 3), 3).items
    own = {*without_head.split.train.of(3).tolist(), int(without_head.split.test[3])}
    assert len(items) == 20 and own <= set(items.tolist())
    popularity = without_head.split.train.popularity()
    others = [item for item in items.tolist() if item not in own | {int(without_head.split.validation[3])}]
    left = sorted(set(range(50)) - set(items.tolist()))
    assert popularity[others].min() >= popularity[left].max()
