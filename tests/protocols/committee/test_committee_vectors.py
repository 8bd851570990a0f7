"""Known answers: what parties of different versions must agree on to the bit."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols.broadcast import nonce_of
from protocols.committee.boxes import box_key, close_box, extracted, open_box
from protocols.committee.expansion import common_polynomials, projection_weights, share_from_seed
from protocols.committee.gaussian import invert
from protocols.committee.parameters import SIGMA, choose
from protocols.committee.wire import Batch, entries, read_complaints, round_digest, write_complaints
from protocols.errors import ProtocolError, WrongLengthError
from protocols.spec import SumSpec
from protocols.transcript import digest

VECTORS = json.loads((Path(__file__).parent / "vectors.json").read_text())
DIGEST = bytes(range(32))


def test_words_become_the_samples_of_the_vectors() -> None:
    words = np.array([int(v["word"], 16) for v in VECTORS["gaussian"]], np.uint64).view(np.int64)
    assert invert(words, SIGMA).tolist() == [v["sample"] for v in VECTORS["gaussian"]]


@pytest.mark.parametrize("vector", VECTORS["share_from_seed"], ids=lambda v: str(v["prime"]))
def test_seeds_become_the_residues_of_the_vectors(vector: dict[str, Any]) -> None:
    found = share_from_seed(bytes.fromhex(vector["seed"]), (vector["prime"],), len(vector["residues"]))
    assert found[0].tolist() == vector["residues"]


@pytest.mark.parametrize("vector", VECTORS["common_polynomials"], ids=lambda v: str(v["prime"]))
def test_digests_become_the_polynomials_of_the_vectors(vector: dict[str, Any]) -> None:
    residues = vector["residues"]
    found = common_polynomials(bytes.fromhex(vector["digest"]), (vector["prime"],), 1, len(residues))
    assert found[0, 0].tolist() == residues


@pytest.mark.parametrize("vector", VECTORS["boxes"], ids=lambda v: f"client {v['client']}")
def test_boxes_are_those_of_the_vectors(vector: dict[str, Any]) -> None:
    key = box_key(
        extracted(bytes.fromhex(vector["shared"])),
        round_digest=bytes.fromhex(vector["round_digest"]),
        client=vector["client"],
        member=vector["member"],
        salt=bytes.fromhex(vector["salt"]),
    )
    share, box = bytes.fromhex(vector["share"]), bytes.fromhex(vector["box"])
    assert close_box(key, share) == box
    assert open_box(key, box) == share


@pytest.mark.parametrize("vector", VECTORS["projection_weights"], ids=lambda v: str(v["prime"]))
def test_secrets_become_the_nonces_and_weights_of_the_vectors(vector: dict[str, Any]) -> None:
    secret = bytes.fromhex(vector["secret"])
    assert nonce_of(secret).hex() == vector["nonce"]
    challenge = digest("committee challenge", bytes.fromhex(vector["round_digest"]), secret)
    assert challenge.hex() == vector["challenge"]
    degree = len(vector["weights"][0])
    assert projection_weights(challenge, (vector["prime"],), vector["checks"], degree)[0].tolist() == vector["weights"]


@pytest.mark.parametrize("vector", VECTORS["batches"]["good"], ids=lambda v: f"place {v['earlier']}")
def test_good_batches_are_read_and_written(vector: dict[str, Any]) -> None:
    broadcast, secret = bytes.fromhex(vector["broadcast"]), bytes.fromhex(vector["secret"])
    batch, body = Batch(broadcast, secret, vector["count"], vector["earlier"]), bytes.fromhex(vector["body"])
    clients = [(client, bytes.fromhex(salt), bytes.fromhex(box)) for client, salt, box in vector["entries"]]
    assert batch.write(clients) == body
    read, material = Batch.read(memoryview(body), what="It")
    assert read == batch
    found = entries(material, box_bytes=VECTORS["batches"]["box_bytes"], what="It")
    assert [(client, salt, bytes(box)) for client, salt, box in found] == clients


@pytest.mark.parametrize("vector", VECTORS["batches"]["bad"], ids=lambda v: v["why"])
def test_bad_batches_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(WrongLengthError):
        _, material = Batch.read(memoryview(bytes.fromhex(vector["body"])), what="It")
        entries(material, box_bytes=VECTORS["batches"]["box_bytes"], what="It")


@pytest.mark.parametrize("vector", VECTORS["complaints"]["good"], ids=lambda v: v["body"])
def test_good_complaints_are_read_and_written(vector: dict[str, Any]) -> None:
    body = bytes.fromhex(vector["body"])
    assert write_complaints(vector["clients"], vector["bad"]) == body
    assert read_complaints(memoryview(body), vector["clients"], what="It") == set(vector["bad"])


@pytest.mark.parametrize("vector", VECTORS["complaints"]["bad"], ids=lambda v: v["why"])
def test_bad_complaints_are_refused(vector: dict[str, Any]) -> None:
    with pytest.raises(ProtocolError):
        read_complaints(memoryview(bytes.fromhex(vector["body"])), vector["clients"], what="It")


@pytest.mark.parametrize("vector", VECTORS["parameters"], ids=lambda v: v["name"])
def test_specifications_lead_to_the_sets_of_the_vectors(vector: dict[str, Any]) -> None:
    chosen = choose(SumSpec(*vector["spec"]), members=vector["members"], threshold=vector["threshold"])
    for name in ("name", "degree", "fields", "scale", "dropped"):
        assert getattr(chosen, name) == vector[name]
    assert list(chosen.primes) == vector["primes"]
    assert chosen.digest().hex() == vector["digest"]
    assert round_digest(chosen, DIGEST).hex() == vector["round_digest"]
