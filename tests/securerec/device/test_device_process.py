"""A device's process stays small: what it imports, and that it answers without torch."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from protocols import Address
from securerec.config import make_config
from securerec.data.dataset import Dataset
from securerec.deploy.enrol import Wanted, enrol
from securerec.deploy.layout import read_identity
from securerec.federation.guards import table_digest
from securerec.federation.parties import letters
from securerec.federation.parties.letters import Ask

sys.path.insert(0, str(Path(__file__).parents[1] / "federation" / "parties"))
from small_federation import SmallFederation  # noqa: E402

CHILD = """
import json, re, sys
from pathlib import Path
from securerec.deploy.layout import Public, node_identities
from securerec.device.ledger import DeviceLedger
from securerec.device.policy import Policy
from securerec.device.store import KeyFile, Store
from securerec.federation.parties.node import Node
from securerec.privacy.randomness import NoiseKey

folder, public, letter, answer = map(Path, sys.argv[1:])
policy = Policy.read(folder / "policy.toml")
node = Node(
    Public.open(public, pinned=policy.pinned).federation(), node_identities(folder),
    noise_key=NoiseKey.from_bytes((folder / "noise.key").read_bytes()),
    training_key=int.from_bytes((folder / "training.key").read_bytes(), "little"),
    store=Store.open(folder / "store", KeyFile(folder / "store.key")), policy=policy,
    ledger=DeviceLedger(folder / "ledger.jsonl"),
)
answer.write_bytes(node.answer(letter.read_bytes()))
# of this program alone: getrusage counts what the parent had before it became this one
peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]) / 1024
print(json.dumps({"modules": sorted({name.split(".")[0] for name in sys.modules}), "megabytes": peak}))
"""

ABSENT = {"torch", "opacus", "sklearn", "matplotlib", "dp_accounting", "tenseal", "pyarrow", "flwr", "typer", "rich"}
HEAVY = {"numba", "scipy", "pydantic"}
"""What is left: compiled loops of training and sums, the head's fit, and the configuration."""


def test_a_node_answers_without_torch_in_a_small_process(tmp_path: Path, toy: Dataset) -> None:
    values = {
        "seed": 7, "data": {"dataset": "toy", "sampled_negatives": 15}, "training": {"rounds": 2, "dim": 2},
        "evaluation": {"keep": "last"}, "start": {"segments": (1,)},
    }  # fmt: skip
    config = make_config(values).resolved(24)
    layout = enrol(tmp_path / "federation", toy, Wanted(config, devices=24, decryptors=7, address="127.0.0.1:9"))
    public, server = layout.open_public(), read_identity(layout.server / "identity.key")
    small = SmallFederation(public.federation(), toy, tmp_path, server, {}, {}, {}, None)  # type: ignore[arg-type]
    table = np.zeros((small.federation.n_items, 1), np.float32)
    server_round = small.server("popularity").open_round(
        1, context=table_digest(table, small.federation.run_id), min_survivors=22
    )
    message = server_round.outbox()[Address("client", 4)]
    (tmp_path / "letter").write_bytes(letters.to_bytes(Ask("popularity", 1, 1, messages={4: message})))
    paths = (layout.node(4), layout.public, tmp_path / "letter", tmp_path / "out")
    done = subprocess.run([sys.executable, "-c", CHILD, *map(str, paths)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    reply = letters.read_reply((tmp_path / "out").read_bytes(), numbers=[4])
    server_round.receive(reply.answers[4])
    told = json.loads(done.stdout)
    assert not ABSENT & set(told["modules"])
    assert set(told["modules"]) >= HEAVY
    assert told["megabytes"] < 400
