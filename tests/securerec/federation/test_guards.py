"""What a device refuses of the tables it is sent, and that honest rounds never come near."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import protocols
from securerec.federation.devices import DeviceHost, Enrolment, LocalUpdates
from securerec.federation.guards import (
    CERTAIN_LOGIT,
    NO_GUARDS,
    Guards,
    Origin,
    TableRefused,
    TableWatch,
    check_once,
    check_scores,
    table_digest,
)
from securerec.models.head import Head, Heads
from securerec.models.pfedrec import PFedRec, ScoreFunctions
from securerec.privacy.mechanism import FixedPoint, Mechanism
from securerec.privacy.randomness import NoiseKey
from securerec.training.updates import RowUpdates

N_ITEMS, DIM = 30, 4
START = np.random.default_rng(0).normal(size=(N_ITEMS, DIM)).astype(np.float32)
CLEAR = FixedPoint(N_ITEMS * DIM, 10, 1 << 21)
ALL = Guards()
NOISED = Mechanism(clip_norm=5.0, dimension=N_ITEMS * DIM, coordinate_cap=1.0, client_sigma=40.0)


def origin(quantiser: Any = CLEAR, rounds: int = 50) -> Origin:
    return Origin.of(START, quantiser, min_survivors=3, server_lr=1.0, rounds=rounds)


def watch(quantiser: Any = CLEAR, **guards: Any) -> TableWatch:
    return TableWatch(replace(Guards(), **guards), origin(quantiser))


# Tables.


@pytest.mark.parametrize("quantiser", [CLEAR, NOISED])
def test_a_first_table_other_than_the_public_one_is_refused(quantiser: Any) -> None:
    watch(quantiser).look(START, 1)
    for other in (np.zeros_like(START), START + np.float32(1e-3), START[::-1].copy()):
        with pytest.raises(TableRefused, match="round 1 is refused: it is not the table that the run starts from"):
            watch(quantiser).look(other, 1)


@pytest.mark.parametrize("quantiser", [CLEAR, NOISED])
def test_a_table_further_off_than_honest_rounds_reach_is_refused(quantiser: Any) -> None:
    bounds = origin(quantiser)
    far = START.copy()
    far[3, 1] += np.float32(bounds.coordinate * 1.01)
    with pytest.raises(TableRefused, match="honest rounds move a value by at most"):
        watch(quantiser).look(far, 2)
    # What one round does not reach, two do.
    watch(quantiser).look(far, 3)
    everywhere = START + np.float32(1.01 * bounds.whole / np.sqrt(START.size))
    with pytest.raises(TableRefused, match="and the table by"):
        watch(quantiser).look(everywhere, 2)


def test_reach_is_counted_from_the_last_table_that_was_not_refused() -> None:
    watching, step = watch(NOISED), np.float32(0.9 * origin(NOISED).whole / np.sqrt(START.size))
    watching.look(START + step, 2)
    for number in (3, 4):
        with pytest.raises(TableRefused):
            watching.look(START + 30 * step, number)
    watching.look(START + 2 * step, 5)
    with pytest.raises(TableRefused, match="knows of that round"):
        watching.look(START + step, 5)
    watching.look(START + 2 * step, 5)


def test_a_round_beyond_the_run_s_is_refused_however_near_its_table() -> None:
    watching = TableWatch(Guards(), origin(rounds=4))
    watching.look(START, 4)
    with pytest.raises(TableRefused, match="round 5 is refused: the run has 4 rounds"):
        watching.look(START, 5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_tables_that_are_not_finite_or_of_another_shape_are_refused(value: float) -> None:
    bad = START.copy()
    bad[0, 0] = value
    for table in (bad, START[:-1], START[:, :-1]):
        with pytest.raises(TableRefused, match=r"it must hold \(30, 4\) finite values"):
            TableWatch(NO_GUARDS, origin()).look(table, 2)


def test_enormous_rows_are_refused_where_nothing_is_noised() -> None:
    table = START.copy()
    table[7] = 6000
    with pytest.raises(TableRefused, match="a row has the length 1.2e.04, and devices take no more than 10000"):
        watch(reach=False).look(table, 2)
    watch(reach=False, row_norm=None).look(table, 2)
    watch(NOISED, reach=False).look(table, 2)


@given(
    seed=st.integers(0, 2**32), survivors=st.integers(3, 12), noised=st.booleans(), server_lr=st.floats(0.01, 10),
    size=st.sampled_from([0.01, 1.0, 1e3, 1e7]), rounds=st.integers(1, 6),
)  # fmt: skip
def test_no_honest_round_is_refused_whatever_devices_upload(
    seed: int, survivors: int, noised: bool, server_lr: float, size: float, rounds: int
) -> None:
    quantiser = NOISED if noised else CLEAR
    watching = TableWatch(
        Guards(row_norm=None), Origin.of(START, quantiser, min_survivors=3, server_lr=server_lr, rounds=rounds + 1)
    )
    rng, key, table = np.random.default_rng(seed), NoiseKey.from_seed(seed % 2**31), START
    rows = np.arange(N_ITEMS, dtype=np.int32)
    watching.look(table, 1)
    for number in range(1, rounds + 1):
        # All in the same direction, which moves the mean furthest.
        push = size * rng.normal(size=table.shape)
        total = sum(
            quantiser.privatise(rows, push.astype(np.float32), key.stream("test", number, client))
            for client in range(survivors)
        )
        mean = total.reshape(table.shape) / (survivors * quantiser.scale)
        table = (table + server_lr * mean).astype(np.float32)
        watching.look(table, number + 1)


# Scores and second answers.


def test_a_device_whose_scores_are_all_certain_after_training_does_not_answer() -> None:
    scores = np.zeros(100, np.float32)
    scores[:50] = -61
    check_scores(Guards(), 3, scores)
    scores[50] = 61
    with pytest.raises(TableRefused, match="Device 3 does not answer: .* 51% of its scores are certain, and 50% is"):
        check_scores(Guards(), 3, scores)
    check_scores(replace(Guards(), certain_share=None), 3, scores)


def test_a_second_update_for_the_same_table_is_refused_and_a_retry_is_not() -> None:
    record: dict[tuple[int, bytes], str] = {}
    check_once(Guards(), record, 3, b"table", "first")
    check_once(Guards(), record, 3, b"table", "first")
    check_once(Guards(), record, 4, b"table", "second")
    check_once(Guards(), record, 3, b"another table", "second")
    with pytest.raises(TableRefused, match="Device 3 has answered this item table before"):
        check_once(Guards(), record, 3, b"table", "second")
    assert record[3, b"table"] == "first"
    check_once(NO_GUARDS, record, 3, b"table", "second")


# The devices of a round.


class Round:
    """Three devices asked by a genuine server for a table of the test's choosing."""

    def __init__(
        self, *, guards: Guards = ALL, quantiser: Any = CLEAR, answered: dict[tuple[int, bytes], str] | None = None,
        heads: Heads | None = None,
    ) -> None:  # fmt: skip
        spec = protocols.SumSpec(N_ITEMS * DIM, 3, 2, quantiser.value_bound, quantiser.client_sigma)
        enrolled = protocols.enrol("plain", spec, run_id=b"run", client_ids=range(3))
        identities = {number: identity.to_bytes() for number, identity in enrolled.client_identities.items()}
        self.server = enrolled.server()
        self.host = DeviceHost(
            Enrolment(
                enrolled.setup, enrolled.enrolment.public, identities, NoiseKey.from_seed(1).to_bytes(), quantiser, 2,
                origin(quantiser), PFedRec(DIM), heads, guards,
            ),
            answered=answered,
        )  # fmt: skip

    def play(
        self, table: np.ndarray, number: int = 1, *, signed: np.ndarray | None = None, weight: float = 0.1,
        label: str = "update", basis: bytes = b"", signed_basis: bytes = b"", bias: float = 0.0, change: float = 1.0,
    ) -> None:  # fmt: skip
        """Raises what the first device raises. change: of every value that the devices upload. basis: of what they were
        sent beside the table.
        """
        functions = ScoreFunctions(np.full((3, DIM), weight, np.float32), np.full(3, bias, np.float32))
        updates = RowUpdates(np.arange(3), np.arange(4), np.zeros(3, np.int32), np.full((3, DIM), change, np.float32))
        work = LocalUpdates(number, table, np.arange(3), updates, functions, label, basis)
        context = table_digest(table if signed is None else signed, signed_basis)
        opened = self.server.open_round(number, context=context, min_survivors=2)
        self.host.begin(work)
        for to, message in opened.outbox().items():
            opened.receive(self.host.answer({to.number: message}).messages[to.number])


def test_devices_answer_an_honest_round() -> None:
    for quantiser in (CLEAR, NOISED):
        honest = Round(quantiser=quantiser)
        honest.play(START)
        honest.play(START + np.float32(0.01), 2)


def test_devices_refuse_a_table_that_stands_on_another_warm_start_than_the_one_signed_for() -> None:
    Round().play(START, basis=b"a" * 32, signed_basis=b"a" * 32)
    for basis, signed in ((b"a" * 32, b"b" * 32), (b"a" * 32, b""), (b"", b"b" * 32)):
        with pytest.raises(TableRefused, match="signed for another item table"):
            Round().play(START, basis=basis, signed_basis=signed)


def test_devices_refuse_a_table_that_the_broadcast_was_not_signed_for() -> None:
    with pytest.raises(TableRefused, match="Device 0 does not answer: the broadcast of round 1 is signed for another"):
        Round().play(START, signed=START + 1)
    Round(guards=NO_GUARDS).play(START, signed=START + 1)


def test_devices_refuse_a_table_out_of_reach_and_answer_the_next_honest_one() -> None:
    honest = Round()
    with pytest.raises(TableRefused, match="item table of round 2 is refused"):
        honest.play(START + np.float32(1e9), 2)
    honest.play(START + np.float32(0.01), 3)


def test_devices_refuse_scores_that_are_certain_unless_noise_may_have_made_them_so() -> None:
    with pytest.raises(TableRefused, match="of its scores are certain"):
        Round().play(START, weight=1e4)
    Round(quantiser=NOISED).play(START, weight=1e4)


def test_devices_answer_a_table_once_in_any_run_whose_record_they_share() -> None:
    record: dict[tuple[int, bytes], str] = {}
    Round(answered=record).play(START)
    assert set(record) == {(number, table_digest(START)) for number in range(3)}
    with pytest.raises(TableRefused, match="Device 0 has answered this item table before"):
        Round(answered=record).play(START, change=2.0)
    Round(answered=record).play(START)
    # the same update with other noise is another attempt, which has to be paid for
    Round(answered=record).play(START, label="update, attempt 2")


def test_devices_below_their_own_minimum_cohort_do_not_answer() -> None:
    asked = Round()
    strict = replace(asked.host._enrolment, min_survivors=3)
    asked.host = DeviceHost(strict)
    with pytest.raises(protocols.ProtocolError, match="would open a sum of 2 clients; client 0 takes part in .* 3"):
        asked.play(START)


def test_scores_are_looked_at_with_the_head_that_is_added_to_them() -> None:
    base = np.full(N_ITEMS, 2 * CERTAIN_LOGIT, np.float32)
    heads = Heads(Head(base, np.zeros((N_ITEMS, 0), np.float32)), np.zeros((3, 0), np.float32))
    with pytest.raises(TableRefused, match="of its scores are certain"):
        Round(heads=heads).play(START)
    Round(heads=heads).play(START, bias=-2 * CERTAIN_LOGIT)
    with pytest.raises(TableRefused, match="of its scores are certain"):
        Round().play(START, bias=-2 * CERTAIN_LOGIT)
