import json
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from securerec.cli.device import PASSPHRASE, app
from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.data.splits import leave_one_out
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import Layout, read_identity
from securerec.deploy.roles import make_party
from securerec.device.policy import Policy
from securerec.device.records import read_interactions
from securerec.device.store import KeyFile, Store, StoreError
from securerec.errors import ConfigError, DataError, RunError

sys.path.insert(0, str(Path(__file__).parents[1] / "federation" / "parties"))
from small_federation import SmallFederation  # noqa: E402


@pytest.fixture
def layout(tmp_path: Path, toy: Dataset) -> Layout:
    """A federation of the toy data set on two nodes."""
    values: dict[str, Any] = {
        "seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 2, "dim": 2},
        "protocol": {"protocol": "plain"}, "evaluation": {"keep": "last"}, "start": {"segments": (1,)},
    }  # fmt: skip
    config = make_config(values).resolved(24)
    return enrol(tmp_path / "federation", toy, Wanted(config, devices=2, decryptors=0, address="127.0.0.1:9"))


def played(layout: Layout, toy: Dataset, *, rounds: int) -> None:
    """The warm start and some rounds, with both nodes from their folders."""
    public = layout.open_public()
    server = read_identity(layout.server / "identity.key")
    federation = public.federation()
    small = SmallFederation(federation, toy, layout.path, server, {}, {}, {}, None)  # type: ignore[arg-type]
    for folder in layout.nodes():
        small.nodes[folder.name] = make_party(folder, public, Policy.read(folder / "policy.toml"))  # type: ignore[assignment]
    start = small.warm_start()
    table = start.table
    for number in range(1, rounds + 1):
        small.play("round", table, start.basis, round_number=number)
        table = table + 1e-5


def run(*words: str) -> str:
    result = CliRunner().invoke(app, list(words), catch_exceptions=False, standalone_mode=False)
    if result.exception is not None:
        raise result.exception
    return result.stdout


def as_json(*words: str) -> dict[str, Any]:
    text = run(*words, "--json", "-")
    found: dict[str, Any] = json.loads(text[text.index("{\n") :])
    return found


def test_the_ledger_tells_what_left_and_under_which_promise(layout: Layout, toy: Dataset) -> None:
    folder = str(layout.nodes()[0])
    assert "Nothing has left" in run("ledger", folder)
    assert as_json("ledger", folder)["central_epsilon"] == 0
    played(layout, toy, rounds=2)
    figures = as_json("ledger", folder)
    assert [line["release"] for line in figures["letters"]] == ["popularity", "segments", "round", "round"]
    assert figures["bytes"] == sum(line["size"] for line in figures["letters"]) > 0
    assert figures["central_epsilon"] == figures["central_epsilon_24_hours"] == pytest.approx(8.0, rel=1e-6)
    assert figures["central_epsilon"] <= figures["max_epsilon"]
    assert "4 letters" in run("ledger", folder)


def test_the_policy_is_shown(layout: Layout) -> None:
    figures = as_json("policy", str(layout.nodes()[0]))
    assert figures["min_cohort"] == 22 and figures["protocols"] == ["plain"] and figures["reproducible_noise"]
    assert "simulation only" in run("policy", str(layout.nodes()[0]))


def test_a_device_recommends_offline_what_it_has_not_seen(layout: Layout, toy: Dataset) -> None:
    folder = str(layout.nodes()[1])
    with pytest.raises(RunError, match="nothing has been released yet"):
        run("recommend", folder, "--client", "20")
    played(layout, toy, rounds=1)
    figures = as_json("recommend", folder, "--client", "20", "--count", "50")
    seen = {toy.item_ids[item] for item in leave_one_out(toy.interactions).train.of(20)}
    found = [each["item"] for each in figures["recommendations"]]
    assert figures["round"] == 1 and len(found) == 50 - len(seen) and not seen & set(found)
    scores = [each["score"] for each in figures["recommendations"]]
    assert scores == sorted(scores, reverse=True) and len(set(scores)) > 5
    with pytest.raises(ConfigError, match="say which with --client"):
        run("recommend", folder)
    with pytest.raises(ConfigError, match="does not live here"):
        run("recommend", folder, "--client", "0")


def test_own_interactions_are_imported_and_lie_encrypted(layout: Layout, tmp_path: Path) -> None:
    folder, file = layout.nodes()[0], tmp_path / "mine.csv"
    file.write_text("item,timestamp\ni7,30\nFilm [3],10\n")
    assert "2 items of client 5" in run("import", str(folder), str(file), "--client", "5")
    own = read_interactions(Store.open(folder / "store", KeyFile(folder / "store.key")))
    assert own.lists.of(5).tolist() == [3, 7] and own.lists.of(4).size > 0
    file.write_text("item\nno such film\n")
    with pytest.raises(DataError, match="line 2"):
        run("import", str(folder), str(file), "--client", "5")


def test_a_store_can_be_made_with_a_passphrase(layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, file = layout.nodes()[0], tmp_path / "mine.csv"
    for path in (folder / "store").iterdir():
        path.unlink()
    file.write_text("item\ni7\n")
    monkeypatch.setenv(PASSPHRASE, "correct horse")
    run("import", str(folder), str(file), "--client", "5")
    monkeypatch.setenv(PASSPHRASE, "battery staple")
    with pytest.raises(StoreError, match="does not open"):
        run("import", str(folder), str(file), "--client", "5")


def test_a_folder_without_identities_is_no_device(layout: Layout, tmp_path: Path) -> None:
    folder = tmp_path / "decryptor-0"
    folder.mkdir()
    Policy.read(layout.nodes()[0] / "policy.toml").write(folder / "policy.toml", decryptor=True)
    for command in ("ledger", "policy"):
        with pytest.raises(ConfigError, match="is no device"):
            run(command, str(folder))
