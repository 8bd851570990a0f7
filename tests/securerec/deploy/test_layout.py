"""What `securerec deploy init` writes: who can read what, and what is refused."""

import json
import shutil
import stat
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from protocols.identity import EnrolmentKey, Identity
from protocols.roster import Roster
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.splits import leave_one_out
from securerec.deploy.certificates import key_from_pem, public_from_hex, public_to_hex
from securerec.deploy.enrol import Wanted, committee, enrol
from securerec.deploy.layout import LABEL, Layout, Public, catalogue_bytes, catalogue_from, node_identities
from securerec.deploy.processes import names_of
from securerec.deploy.roles import make_party
from securerec.deploy.samples import write_samples
from securerec.device.policy import Policy
from securerec.device.records import read_interactions
from securerec.device.store import KeyFile, Store
from securerec.errors import ConfigError, RunError
from securerec.federation.run import Run


def settings(dataset: Dataset, **more: object) -> Config:
    values = {"seed": 7, "training": {"rounds": 2}} | more
    return make_config(values).resolved(dataset.interactions.n_users, dataset.interactions.n_items)


def wanted(dataset: Dataset, **more: object) -> Wanted:
    return Wanted(settings(dataset, **more), devices=3, decryptors=3, address="127.0.0.1:9392")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, module_toy: Dataset) -> Layout:
    return enrol(tmp_path_factory.mktemp("made") / "federation", module_toy, wanted(module_toy))


@pytest.fixture
def layout(made: Layout, tmp_path: Path) -> Layout:
    """A copy to tamper with."""
    shutil.copytree(made.path, tmp_path / "copy")
    return Layout(tmp_path / "copy")


def secrets_of(layout: Layout) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in layout.path.rglob("*.key")}


def test_every_secret_is_the_owners_alone(made: Layout) -> None:
    found = secrets_of(made)
    assert len(found) == 24 + 3 * 4 + 3 * 2 + 2 + 2 + 2
    for path in found:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700, path.parent
    assert stat.S_IMODE(made.path.stat().st_mode) == 0o700


def test_no_secret_lies_in_public_or_in_another_partys_folder(made: Layout) -> None:
    """The operator's secret is the one that two have; with a seed, for simulation, nodes share keys of noise."""
    shared = {"operator.key", "noise.key", "training.key"}
    for path, secret in secrets_of(made).items():
        for other in made.path.rglob("*"):
            if other.is_file() and other != path and path.name not in shared:
                assert secret not in other.read_bytes(), (path, other)
        for public in made.public.rglob("*"):
            assert public.is_dir() or secret not in public.read_bytes(), (path, public)


def test_without_a_seed_every_node_has_keys_of_its_own(tmp_path: Path, toy: Dataset) -> None:
    layout = enrol(tmp_path / "f", toy, wanted(toy, seed=None))
    for name in ("noise.key", "training.key"):
        assert len({(node / name).read_bytes() for node in layout.nodes()}) == 3
    assert not layout.open_public().start.test_mode


def test_a_seed_makes_the_run_that_one_process_makes(made: Layout, tmp_path: Path, toy: Dataset) -> None:
    public, run = made.open_public(), Run.create(tmp_path / "run", settings(toy), toy)
    assert public.run_id == run.run_id
    assert public.start.initial_values == run.folder.identity("initial_values")
    assert public.config == run.config
    assert (made.node(0) / "noise.key").read_bytes() == (run.folder.devices / "noise.key").read_bytes()


def test_nodes_share_out_the_users_and_hold_their_training_items(made: Layout, toy: Dataset) -> None:
    train, seen = leave_one_out(toy.interactions).train, []
    for folder in made.nodes():
        own = read_interactions(Store.open(folder / "store", KeyFile(folder / "store.key")))
        assert list(node_identities(folder)) == own.numbers.tolist()
        for place, client in enumerate(own.numbers):
            assert own.lists.of(place).tolist() == train.of(int(client)).tolist()
        seen += own.numbers.tolist()
    assert seen == list(range(24))


def test_nobodys_interactions_are_in_public(made: Layout, toy: Dataset) -> None:
    public = made.open_public()
    assert public.catalogue.interactions.n_users == 0
    assert public.catalogue.titles == toy.titles
    assert np.array_equal(public.catalogue.genres, toy.genres)
    assert not any(user.encode() in public.read("catalogue.json") for user in toy.user_ids)


def test_a_catalogue_comes_back_as_it_was(toy: Dataset) -> None:
    assert catalogue_bytes(catalogue_from(catalogue_bytes(toy))) == catalogue_bytes(toy)


@pytest.mark.parametrize("place", ["config.toml", "catalogue.json", "nodes.json", "ca.crt", "setups/round.setup"])
def test_a_changed_public_file_is_refused_by_name(layout: Layout, place: str) -> None:
    path = layout.public / place
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(RunError, match=place):
        Public.open(layout.public)


def test_a_start_that_the_enrolment_key_did_not_sign_is_refused(layout: Layout) -> None:
    path = layout.public / "start.json"
    start = json.loads(path.read_bytes()) | {"cohort": 1}
    path.write_bytes(json.dumps(start).encode())
    with pytest.raises(RunError, match="not signed"):
        Public.open(layout.public)


def test_a_public_folder_signed_by_another_key_is_refused_by_who_pins_the_right_one(layout: Layout) -> None:
    """All signatures fit the key that lies beside them; only the policy knows better."""
    pinned = Policy.read(layout.node(0) / "policy.toml").pinned
    stranger = EnrolmentKey.generate()
    (layout.public / "enrolment.pub").write_bytes(stranger.public)
    (layout.public / "start.sig").write_bytes(stranger.sign(LABEL, (layout.public / "start.json").read_bytes()))
    Public.open(layout.public)
    with pytest.raises(RunError, match="policy names"):
        Public.open(layout.public, pinned=pinned)


def test_every_party_starts_from_its_own_folder_and_public_alone(layout: Layout, tmp_path: Path) -> None:
    for folder in (*layout.nodes(), *layout.decryptors()):
        alone = tmp_path / "alone" / folder.name
        shutil.copytree(folder, alone / "own")
        shutil.copytree(layout.public, alone / "public")
        policy = Policy.read(alone / "own" / "policy.toml")
        party = make_party(alone / "own", Public.open(alone / "public", pinned=policy.pinned), policy)
        assert party.answer  # made, and so of this federation


def test_the_policy_allows_this_run_and_not_a_larger_epsilon(made: Layout) -> None:
    policy, config = Policy.read(made.node(1) / "policy.toml"), made.open_public().config
    assert config.privacy.epsilon == 8.0
    assert 7.9 < policy.max_epsilon < 8.0001
    assert policy.min_cohort == 22
    assert policy.reproducible_noise


def test_a_folder_that_is_not_empty_is_refused_and_stays_as_it_is(tmp_path: Path, toy: Dataset) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "letter.txt").write_text("dear")
    with pytest.raises(RunError, match="not empty"):
        enrol(folder, toy, wanted(toy))
    assert [path.name for path in folder.iterdir()] == ["letter.txt"]


def test_what_cannot_be_made_leaves_nothing_behind(tmp_path: Path, toy: Dataset) -> None:
    with pytest.raises(ConfigError, match="lives in one process"):
        enrol(tmp_path / "f", toy, wanted(toy, protocol={"protocol": "ckks"}))
    with pytest.raises(ConfigError, match="cannot be dealt"):
        enrol(tmp_path / "f", toy, Wanted(settings(toy), 25, 3, "127.0.0.1:1"))
    assert list(tmp_path.glob("*f*")) == []


@given(st.integers(1, 1000))
def test_a_committee_of_any_size_is_safe(members: int) -> None:
    threshold, tolerated = committee(members)
    assert 0 <= tolerated < threshold <= members
    assert 2 * threshold > members + tolerated


def test_a_roster_takes_the_committee() -> None:
    holders = tuple(Identity.generate("decryptor", number).public for number in range(7))
    client = (Identity.generate("client", 0).public,)
    assert committee(7) == (5, 2)
    Roster(Identity.generate("server", 0).public, client, holders, *committee(7))


def test_the_certificate_is_for_the_superlink_and_signed_by_the_federations_own_authority(made: Layout) -> None:
    authority = x509.load_pem_x509_certificate((made.public / "ca.crt").read_bytes())
    certificate = x509.load_pem_x509_certificate((made.superlink / "tls.crt").read_bytes())
    certificate.verify_directly_issued_by(authority)
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert "localhost" in names.get_values_for_type(x509.DNSName)
    assert "127.0.0.1" in map(str, names.get_values_for_type(x509.IPAddress))
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_node_keys_are_those_that_were_signed(made: Layout) -> None:
    nodes = made.open_public().nodes()
    for folder in (*made.nodes(), *made.decryptors()):
        key = key_from_pem((folder / "node.key").read_bytes(), what="node.key")
        assert public_to_hex(key) == nodes[folder.name].key
        assert public_from_hex(nodes[folder.name].key) == key.public_key()


def test_samples_start_each_process_with_its_own_folder_alone(layout: Layout) -> None:
    write_samples(layout)
    for name in names_of(layout):
        unit = (layout.path / "samples" / "systemd" / f"securerec-{name}.service").read_text()
        others = [other for other in names_of(layout) if other != name and f"/{other} " in unit]
        assert f"/{name} --public" in unit
        assert not others
    assert str(layout.path) not in (layout.path / "samples" / "start-commands.txt").read_text()


def test_samples_show_a_process_no_other_folder_and_open_the_superlinks_port(layout: Layout) -> None:
    write_samples(layout)
    port = layout.open_public().superlink().rpartition(":")[2]
    compose = (layout.path / "samples" / "compose.yaml").read_text()
    users = set()
    for name in names_of(layout):
        unit = (layout.path / "samples" / "systemd" / f"securerec-{name}.service").read_text()
        users |= {line for line in unit.splitlines() if line.startswith("User=")}
        shown = [line.partition("=")[2] for line in unit.splitlines() if line.startswith("Bind")]
        assert shown == [f"/var/lib/securerec/{name}", "/var/lib/securerec/public"]
    assert len(users) == len(names_of(layout))
    assert compose.count("ports:") == 1 and f'ports: ["{port}:{port}"]' in compose
    assert f"--address superlink:{port}" in compose
