"""One test for each illegal message, for every protocol."""

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import protocols
from protocols import PROTOCOLS, Decryptor, SumSpec, errors
from protocols.codec import HEADER_BYTES

SPEC = SumSpec(length=5000, max_clients=4, min_clients=2, value_bound=100)


class World:
    """One decryptor, its clients and a server of round 7."""

    def __init__(self, name: str, spec: SumSpec = SPEC, run_id: bytes = b"run") -> None:
        self.key: Decryptor = protocols.decryptor(name, spec, run_id=run_id)
        self.bundle = self.key.bundle()
        self.client = protocols.client(self.bundle)
        self.server = self.new_server(7)
        self.values = np.arange(spec.length) % 201 - 100

    def new_server(self, round_number: int) -> protocols.Server:
        return protocols.server(self.bundle, round_number=round_number)

    def upload(self, client: int, round_number: int = 7) -> bytes:
        return self.client.protect(self.values, round_number=round_number, client_id=client)

    def aggregate(self, *clients: int, round_number: int = 7) -> bytes:
        server = self.new_server(round_number)
        for client in clients:
            server.add(self.upload(client, round_number))
        return server.aggregate()


@pytest.fixture(scope="module", params=list(PROTOCOLS))
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def world(name: str) -> World:
    return World(name)


@pytest.fixture(scope="module")
def shared(name: str) -> World:
    return World(name)


def refused_unchanged(world: World, error: type[errors.ProtocolError], message: str, upload: bytes) -> None:
    """The server refuses the upload and its sum stays as it was."""
    before = world.server.aggregate()
    with pytest.raises(error, match=message):
        world.server.add(upload)
    assert world.server.aggregate() == before


def test_server_refuses_an_upload_of_another_key(world: World, name: str) -> None:
    upload = World(name).upload(3)
    refused_unchanged(world, errors.WrongKeyError, "client 3 for round 7 was made under another key", upload)


def test_server_refuses_an_upload_of_another_run(world: World, name: str) -> None:
    other = World(name, run_id=b"another")
    refused_unchanged(world, errors.WrongRunError, "client 3 for round 7 belongs to another run", other.upload(3))


def test_server_refuses_an_upload_of_another_round(world: World) -> None:
    refused_unchanged(world, errors.WrongRoundError, "client 3 for round 6 arrived in round 7", world.upload(3, 6))


def test_server_refuses_an_upload_of_another_length(world: World, name: str) -> None:
    other = World(name, SumSpec(4000, 4, 2, 100))
    refused_unchanged(world, errors.WrongParametersError, "client 3 for round 7", other.upload(3))
    upload = world.upload(3)
    length = len(upload) - HEADER_BYTES - 8
    shorter = upload[: HEADER_BYTES - 8] + length.to_bytes(8, "little") + upload[HEADER_BYTES:-8]
    refused_unchanged(world, errors.WrongLengthError, "client 3 for round 7 has a body of", shorter)


def test_server_refuses_an_upload_of_another_protocol(world: World, name: str) -> None:
    other = next(p for p in PROTOCOLS if p != name)
    refused_unchanged(world, errors.WrongProtocolError, "client 3", World(other).upload(3))


def test_server_refuses_a_client_that_sends_twice(world: World) -> None:
    world.server.add(world.upload(3))
    refused_unchanged(world, errors.DuplicateError, "client 3 for round 7 arrived twice", world.upload(3))


def test_server_refuses_a_truncated_upload(world: World) -> None:
    upload = world.upload(3)
    for length in (0, 1, HEADER_BYTES - 1, HEADER_BYTES, len(upload) - 1):
        refused_unchanged(world, errors.TruncatedError, "[.]$", upload[:length])


def test_server_refuses_leftover_bytes(world: World) -> None:
    refused_unchanged(world, errors.LeftoverError, "followed by 1 bytes", world.upload(3) + b"\0")
    refused_unchanged(world, errors.LeftoverError, "client 3", world.upload(3) * 2)


def test_server_refuses_an_unknown_version(world: World) -> None:
    upload = bytearray(world.upload(3))
    upload[4] = 2
    refused_unchanged(world, errors.UnknownVersionError, "version 2", bytes(upload))


def test_server_refuses_a_residue_out_of_range(world: World) -> None:
    # All bits one make the largest number of each width, which no modulus reaches.
    upload = bytearray(world.upload(3))
    upload[HEADER_BYTES + 8 : HEADER_BYTES + 32] = b"\xff" * 24
    refused_unchanged(world, errors.ResidueError, "client 3 for round 7 holds", bytes(upload))


def test_server_refuses_every_flipped_bit_of_the_header_but_the_senders_name(world: World) -> None:
    # Who sent a frame is for the transport to prove: a changed name is another client's upload.
    upload = world.upload(3)
    client_at = HEADER_BYTES - 16
    for bit in range(8 * HEADER_BYTES):
        if client_at <= bit // 8 < client_at + 8:
            continue
        flipped = bytearray(upload)
        flipped[bit // 8] ^= 1 << bit % 8
        refused_unchanged(world, errors.ProtocolError, "[.]$", bytes(flipped))


def test_server_refuses_more_clients_than_the_sum_was_sized_for(world: World) -> None:
    for client in range(4):
        world.server.add(world.upload(client))
    refused_unchanged(world, errors.TooManyClientsError, "client 9 .* would make 5", world.upload(9))


def test_merge_refuses_a_client_in_both_sums(world: World) -> None:
    world.server.add(world.upload(1))
    other = world.new_server(7)
    other.add(world.upload(2))
    other.add(world.upload(1))
    before = world.server.aggregate()
    with pytest.raises(errors.DuplicateError, match="client 1 is in both"):
        world.server.merge(other.partial())
    assert world.server.aggregate() == before
    world.server.add(world.upload(2))


def test_merge_refuses_the_same_partial_twice_and_uploads_it_already_holds(world: World) -> None:
    other = world.new_server(7)
    other.add(world.upload(2))
    world.server.merge(other.partial())
    with pytest.raises(errors.DuplicateError, match="client 2"):
        world.server.merge(other.partial())
    refused_unchanged(world, errors.DuplicateError, "client 2", world.upload(2))


def test_merge_refuses_more_clients_than_the_sum_was_sized_for(world: World) -> None:
    other = world.new_server(7)
    for client in range(3):
        world.server.add(world.upload(client))
        other.add(world.upload(10 + client))
    with pytest.raises(errors.TooManyClientsError, match="6 contributors"):
        world.server.merge(other.partial())
    assert world.server.contributors == {0, 1, 2}


def test_merge_refuses_a_partial_of_another_round_and_an_upload(world: World) -> None:
    other = world.new_server(8)
    with pytest.raises(errors.WrongRoundError, match="partial of round 8 arrived in round 7"):
        world.server.merge(other.partial())
    with pytest.raises(errors.FrameError, match="Expected a frame of kind partial, got upload"):
        world.server.merge(world.upload(1))
    with pytest.raises(errors.FrameError, match="Expected a frame of kind upload, got partial"):
        world.server.add(other.partial())


def test_decryptor_refuses_to_open_a_round_twice(world: World) -> None:
    aggregate = world.aggregate(1, 2)
    assert (world.key.open(aggregate) == 2 * world.values).all()
    for again in (aggregate, world.aggregate(1, 2, 3)):
        with pytest.raises(errors.SpentRoundError, match="round 7"):
            world.key.open(again)
    assert (world.key.open(world.aggregate(1, 2, 3, round_number=8)) == 3 * world.values).all()


def test_decryptor_refuses_more_rounds_than_its_key_was_sized_for(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("protocols.roles.decryptor.ROUNDS_PER_KEY", 1)
    world.key.open(world.aggregate(1, 2))
    with pytest.raises(errors.SpentRoundError, match="make a new decryptor"):
        world.key.open(world.aggregate(1, 2, round_number=8))


@pytest.mark.parametrize("clients", [(), (1,)])
def test_decryptor_refuses_too_few_contributors_without_spending_the_round(
    world: World, clients: tuple[int, ...]
) -> None:
    with pytest.raises(errors.TooFewClientsError, match="fewer than 2"):
        world.key.open(world.aggregate(*clients))
    world.key.open(world.aggregate(1, 2))


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda name: World(name), errors.WrongKeyError),
        (lambda name: World(name, run_id=b"another"), errors.WrongRunError),
        (lambda name: World(name, SumSpec(5000, 5, 2, 100)), errors.WrongParametersError),
        (lambda name: World(next(p for p in PROTOCOLS if p != name)), errors.WrongProtocolError),
    ],
)
def test_decryptor_refuses_aggregates_of_others(
    world: World, name: str, make: Callable[[str], World], error: type[errors.ProtocolError]
) -> None:
    with pytest.raises(error, match="aggregate of round 7"):
        world.key.open(make(name).aggregate(1, 2))
    world.key.open(world.aggregate(1, 2))


def test_decryptor_refuses_a_single_upload_and_a_partial(world: World) -> None:
    with pytest.raises(errors.FrameError, match="kind aggregate, got upload"):
        world.key.open(world.upload(1))
    server = world.new_server(7)
    with pytest.raises(errors.FrameError, match="kind aggregate, got partial"):
        world.key.open(server.partial())


def test_decryptor_refuses_damaged_aggregates_without_spending_the_round(world: World) -> None:
    aggregate = world.aggregate(1, 2)
    residues_at = HEADER_BYTES + 24
    too_large = aggregate[: residues_at + 8] + b"\xff" * 24 + aggregate[residues_at + 32 :]
    twice = aggregate[: residues_at - 8] + aggregate[residues_at - 16 : residues_at - 8] + aggregate[residues_at:]
    for damaged, error in (
        (aggregate[:-1], errors.TruncatedError),
        (aggregate + b"\0", errors.LeftoverError),
        (too_large, errors.ResidueError),
        (twice, errors.DuplicateError),
    ):
        with pytest.raises(error):
            world.key.open(damaged)
    world.key.open(aggregate)


@pytest.mark.parametrize(
    "values",
    [
        np.zeros(4999, np.int64),
        np.zeros((1, 5000), np.int64),
        np.zeros(5000, np.int32),
        np.zeros(5000),
        [0] * 5000,
        np.full(5000, 101),
        np.full(5000, -101),
        np.full(5000, np.iinfo(np.int64).min),
    ],
    ids=["short", "matrix", "int32", "float", "list", "above", "below", "least"],
)
def test_client_refuses_its_own_bad_values(world: World, values: np.ndarray) -> None:
    with pytest.raises(errors.ValuesError, match="Client 3 in round 7"):
        world.client.protect(values, round_number=7, client_id=3)


@pytest.mark.parametrize(("round_number", "client"), [(-1, 0), (0, -1), (1 << 63, 0), (0, 1 << 63)])
def test_client_refuses_numbers_that_no_frame_holds(world: World, round_number: int, client: int) -> None:
    with pytest.raises(errors.FrameError, match="is not a number from 0"):
        world.client.protect(world.values, round_number=round_number, client_id=client)


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_frames_are_opened_in_full_or_refused_as_protocol_errors(shared: World, data: st.DataObject) -> None:
    frames = {
        "upload": shared.upload(1),
        "partial": shared.new_server(7).partial(),
        "aggregate": shared.aggregate(1, 2),
    }
    kind = data.draw(st.sampled_from(sorted(frames)))
    frame = bytearray(frames[kind])
    # Half of the changes hit the header and the list of contributors, where most of the decisions fall.
    place = st.one_of(st.integers(0, HEADER_BYTES + 31), st.integers(0, len(frame) - 1))
    for at, value in data.draw(st.lists(st.tuples(place, st.integers(0, 255)), min_size=1, max_size=4)):
        frame[min(at, len(frame) - 1)] = value
    shared.key._spent.clear()
    server = shared.new_server(7)
    try:
        if kind == "upload":
            client = server.add(bytes(frame))
            assert server.contributors == {client}
        elif kind == "partial":
            server.merge(bytes(frame))
        else:
            assert shared.key.open(bytes(frame)).shape == (SPEC.length,)
    except errors.ProtocolError:
        assert server.contributors == frozenset()


def test_server_refuses_a_round_that_no_frame_holds(world: World) -> None:
    for round_number in (-1, 1 << 63):
        with pytest.raises(errors.FrameError, match="is not a number from 0"):
            world.new_server(round_number)


def test_a_bundle_cut_or_changed_is_refused_by_both_roles(world: World) -> None:
    bundle = world.bundle
    changed = bundle[:-1] + bytes([bundle[-1] ^ 1])
    for read in (protocols.client, lambda b: protocols.server(b, round_number=0)):
        with pytest.raises(errors.WrongKeyError, match="does not fit its public key"):
            read(changed)
        with pytest.raises(errors.TruncatedError):
            read(bundle[:-1])
        with pytest.raises(errors.LeftoverError):
            read(bundle + b"\0")


def test_unknown_protocols_and_run_ids_are_refused() -> None:
    with pytest.raises(errors.WrongProtocolError, match="choose one of plain, ckks"):
        protocols.decryptor("rot13", SPEC, run_id=b"run")
    for run_id in (b"", b"x" * 256):
        with pytest.raises(errors.SpecError, match="run id"):
            protocols.decryptor("plain", SPEC, run_id=run_id)
