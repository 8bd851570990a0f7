import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from securerec.federation.parties import letters
from securerec.federation.parties.letters import Ask, Call, Hello, LetterError, Present, Reply
from securerec.federation.warm_start import NoisySum

NAMES = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), min_size=1, max_size=letters.MAX_NAME)
NUMBERS = st.integers(0, (1 << 63) - 1)
MESSAGES = st.dictionaries(NUMBERS, st.binary(max_size=40), max_size=4)
FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
SENTENCES = st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=40)


@st.composite
def tables(draw: st.DrawFn, dtype: type) -> np.ndarray:
    rows, width = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    values = draw(st.lists(FINITE, min_size=rows * width, max_size=rows * width))
    return np.array(values, dtype).reshape(rows, width)


OPENED = st.dictionaries(NAMES, st.builds(NoisySum, tables(np.float64), st.floats(0, 1e9)), max_size=3)
ASKS = st.builds(
    Ask, NAMES, st.integers(1, 1000), st.integers(1, 9), OPENED, st.none() | tables(np.float32), MESSAGES
)  # fmt: skip


@st.composite
def replies(draw: st.DrawFn) -> Reply:
    answers = draw(MESSAGES)
    refusals = draw(st.dictionaries(NUMBERS, SENTENCES, max_size=3))
    return Reply(answers, {number: line for number, line in refusals.items() if number not in answers})


LETTERS = st.one_of(
    ASKS,
    replies(),
    st.builds(Call, NAMES, st.binary(max_size=60)),
    st.just(Hello()),
    st.builds(
        Present, st.sampled_from(["node", "decryptor"]), st.sets(NUMBERS, max_size=4).map(lambda s: tuple(sorted(s))),
        NAMES, st.dictionaries(NAMES, st.binary(min_size=32, max_size=32), max_size=3),
    ),
)  # fmt: skip


def told(letter: letters.Letter) -> object:
    """Everything in a letter, comparable."""
    if not isinstance(letter, Ask):
        return letter
    opened = [(n, s.total.shape, s.total.tobytes(), s.noise) for n, s in letter.opened.items()]
    table = None if letter.table is None else (letter.table.shape, letter.table.tobytes())
    return letter.release, letter.round_number, letter.attempt, opened, table, dict(letter.messages)


@given(LETTERS)
def test_a_letter_arrives_as_it_was_sent(letter: letters.Letter) -> None:
    data = letters.to_bytes(letter)
    arrived = letters.from_bytes(data)
    assert told(arrived) == told(letter)
    assert letters.to_bytes(arrived) == data


@given(LETTERS, st.data())
def test_a_letter_cut_short_or_with_leftovers_is_refused(letter: letters.Letter, data: st.DataObject) -> None:
    written = letters.to_bytes(letter)
    cut = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(LetterError):
        letters.from_bytes(written[:cut])
    with pytest.raises(LetterError):
        letters.from_bytes(written + data.draw(st.binary(min_size=1, max_size=9)))


@given(LETTERS, st.data())
def test_changed_bytes_are_refused_or_read_as_what_they_would_be_written_as(
    letter: letters.Letter, data: st.DataObject
) -> None:
    written = bytearray(letters.to_bytes(letter))
    for _ in range(data.draw(st.integers(1, 3))):
        written[data.draw(st.integers(0, len(written) - 1))] = data.draw(st.integers(0, 255))
    try:
        arrived = letters.from_bytes(bytes(written))
    except LetterError:
        return
    assert letters.to_bytes(arrived) == bytes(written)


@given(st.binary(max_size=200))
def test_noise_behind_a_good_header_is_read_strictly_too(body: bytes) -> None:
    for kind in letters.Kind:
        data = letters.MAGIC + bytes([letters.VERSION, kind]) + len(body).to_bytes(8, "little") + body
        try:
            arrived = letters.from_bytes(data)
        except LetterError:
            continue
        assert letters.to_bytes(arrived) == data


def test_a_count_without_its_entries_takes_no_memory() -> None:
    body = (0xFFFFFFFF).to_bytes(4, "little") + bytes(8)
    data = letters.MAGIC + bytes([letters.VERSION, letters.Kind.REPLY]) + len(body).to_bytes(8, "little") + body
    with pytest.raises(LetterError, match="4294967295 entries"):
        letters.from_bytes(data)


def test_a_letter_beyond_the_limit_is_refused_before_it_is_read() -> None:
    data = letters.to_bytes(Call("round", bytes(1000)))
    with pytest.raises(LetterError, match="1000 are the most"):
        letters.from_bytes(data, limit=1000)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_table_that_is_not_finite_is_not_written(value: float) -> None:
    with pytest.raises(LetterError, match="not finite"):
        letters.to_bytes(Ask("round", 1, 1, table=np.full((2, 2), value, np.float32)))


def test_an_older_or_newer_letter_is_refused_by_its_version() -> None:
    data = bytearray(letters.to_bytes(Hello()))
    data[4] = 9
    with pytest.raises(LetterError, match="version 9"):
        letters.from_bytes(bytes(data))


def test_a_reply_speaks_of_nobody_who_was_not_asked() -> None:
    data = letters.to_bytes(Reply({3: b"x"}, {5: "no"}))
    assert letters.read_reply(data, numbers=[3, 5, 7]).refusals == {5: "no"}
    with pytest.raises(LetterError, match="number 5"):
        letters.read_reply(data, numbers=[3])
    with pytest.raises(LetterError, match="Hello"):
        letters.read_reply(letters.to_bytes(Hello()), numbers=[])
    with pytest.raises(LetterError, match="Reply"):
        letters.read_ask(data)


def test_a_reply_cannot_answer_and_refuse_for_the_same_device() -> None:
    with pytest.raises(LetterError, match="both"):
        letters.to_bytes(Reply({3: b"x"}, {3: "no"}))


def test_a_refusal_is_one_printable_line() -> None:
    assert letters.sentence("two\nlines \x1b[31m and more") == "two lines [31m and more"
    long = letters.sentence("x" * 999)
    assert len(long) == letters.MAX_SENTENCE and long.endswith("...")
    with pytest.raises(LetterError, match="one line"):
        letters.to_bytes(Reply({}, {1: "two\nlines"}))


def test_no_two_attempts_share_a_round_of_the_protocol() -> None:
    numbers = [letters.protocol_round(r, a) for r in (1, 2, 65535) for a in (1, 2, 3)]
    assert len(set(numbers)) == len(numbers) and letters.protocol_round(7, 1) == 7
