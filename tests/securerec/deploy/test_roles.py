"""What a party refuses to start with."""

from dataclasses import replace
from pathlib import Path

import pytest

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.deploy.certificates import key_to_pem, new_node_key
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import Layout, read_secret, write_secret
from securerec.deploy.roles import make_party
from securerec.deploy.rotate import rotate
from securerec.device.policy import Policy, PolicyRefused
from securerec.errors import ConfigError, RunError
from securerec.federation.parties.exchange import Party


@pytest.fixture
def layout(tmp_path: Path, toy: Dataset) -> Layout:
    config = make_config({"training": {"rounds": 1}}).resolved(toy.interactions.n_users, toy.interactions.n_items)
    return enrol(tmp_path / "f", toy, Wanted(config, devices=2, decryptors=3, address="127.0.0.1:9392"))


def started(layout: Layout, folder: Path) -> Party:
    return make_party(folder, layout.open_public(), Policy.read(folder / "policy.toml"))


@pytest.mark.parametrize("name", ["noise.key", "training.key", "identities/3.key"])
def test_a_secret_that_others_may_read_is_not_used(layout: Layout, name: str) -> None:
    path = layout.node(0) / name
    path.chmod(0o640)
    with pytest.raises(RunError, match=f"{name} can be read by others: chmod 600"):
        started(layout, layout.node(0))
    path.chmod(0o600)
    assert started(layout, layout.node(0))


@pytest.mark.parametrize("name", ["noise.key", "training.key"])
def test_an_empty_or_missing_key_is_named(layout: Layout, name: str) -> None:
    path = layout.node(0) / name
    path.write_bytes(b"")
    with pytest.raises(RunError, match=f"{name} has 0 bytes"):
        started(layout, layout.node(0))
    path.unlink()
    with pytest.raises(RunError, match=f"{name} cannot be read"):
        started(layout, layout.node(0))


def test_keys_of_every_kind_are_looked_at(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "node.key"
    write_secret(path, key_to_pem(new_node_key()))
    assert read_secret(path)
    for mode in (0o604, 0o620, 0o601):
        path.chmod(mode)
        with pytest.raises(RunError, match="can be read by others"):
            read_secret(path)


def test_a_decryptors_policy_has_what_it_enforces_and_nothing_else(layout: Layout) -> None:
    path = layout.decryptor(0) / "policy.toml"
    assert Policy.read(path, decryptor=True).min_cohort == 22
    Policy.read(path).write(path)
    with pytest.raises(ConfigError, match="unknown setting 'delta'; a decryptor's policy has"):
        Policy.read(path, decryptor=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"servers": ("ab" * 32,)}, "not one that this decryptor answers"), ({"protocols": ("plain",)}, "this one is by")],
)
def test_a_decryptor_does_not_start_for_what_its_policy_does_not_name(
    layout: Layout, changes: dict[str, tuple[str, ...]], says: str
) -> None:
    path = layout.decryptor(0) / "policy.toml"
    replace(Policy.read(path), **changes).write(path, decryptor=True)  # type: ignore[arg-type]
    with pytest.raises(PolicyRefused, match=says):
        started(layout, layout.decryptor(0))


def test_a_decryptor_that_lost_its_record_takes_part_again_with_a_new_identity_alone(layout: Layout) -> None:
    folder = layout.decryptor(1)
    for path in (folder / "answered").iterdir():
        path.unlink()
    (folder / "answered").rmdir()
    with pytest.raises(RunError, match="cannot know what it has answered"):
        started(layout, folder)
    rotate(layout, ["decryptor-0"])
    with pytest.raises(RunError, match="cannot know what it has answered"):
        started(layout, folder)
    rotate(layout, ["decryptor-1"])
    assert started(layout, folder)
