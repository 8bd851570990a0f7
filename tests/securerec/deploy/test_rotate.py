"""New keys for parties of a federation that stands."""

import sys
from pathlib import Path

import pytest

from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.deploy.certificates import key_from_pem, public_to_hex
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import Layout, node_identities
from securerec.deploy.metrics import Metrics
from securerec.deploy.rotate import rotate
from securerec.deploy.watching import METRICS
from securerec.errors import ConfigError

sys.path.insert(0, str(Path(__file__).parent))
from local_run import run_of  # noqa: E402


@pytest.fixture
def layout(tmp_path: Path, toy: Dataset) -> Layout:
    config = make_config({"training": {"rounds": 1}}).resolved(toy.interactions.n_users, toy.interactions.n_items)
    return enrol(tmp_path / "f", toy, Wanted(config, devices=3, decryptors=3, address="127.0.0.1:9392"))


def test_a_federation_goes_on_with_new_keys_of_everybody_and_the_old_ones_are_gone(layout: Layout) -> None:
    before = {path: path.read_bytes() for path in layout.path.rglob("*.key")}
    run_id = layout.open_public().run_id
    names = ["server", "tls", "operator", "node-00", "node-01", "node-02", "decryptor-0", "decryptor-1", "decryptor-2"]
    rotate(layout, names)
    kept = {path.name for path, secret in before.items() if path.read_bytes() == secret}
    assert kept == {"enrolment.key", "ca.key", "noise.key", "training.key", "store.key"}
    public = layout.open_public()
    assert public.run_id == run_id
    for folder in (*layout.nodes(), *layout.decryptors()):
        key = key_from_pem((folder / "node.key").read_bytes(), what="node.key")
        assert public.nodes()[folder.name].key == public_to_hex(key)
    metrics = Metrics(METRICS)
    run_of(layout, metrics).play()
    assert "securerec_round 1\n" in metrics.text()


def test_one_nodes_rotation_leaves_the_others_as_they_are(layout: Layout) -> None:
    before, other = node_identities(layout.node(0)), node_identities(layout.node(1))
    rotate(layout, ["node-00"])
    assert node_identities(layout.node(1)) == other
    after = node_identities(layout.node(0))
    assert after.keys() == before.keys() and all(after[number] != before[number] for number in after)


def test_a_name_that_nobody_has_changes_nothing(layout: Layout) -> None:
    before = {path: path.read_bytes() for path in layout.path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match="node-99"):
        rotate(layout, ["tls", "node-99"])
    assert before == {path: path.read_bytes() for path in layout.path.rglob("*") if path.is_file()}
