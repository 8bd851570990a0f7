import pytest

from securerec.federation.parties.exchange import FAULT_KINDS, Fault, FaultKind, LocalExchange, flipped
from securerec.federation.parties.letters import Hello, Present, from_bytes, to_bytes


class Echo:
    """Answers a letter with itself and how often it has answered since it started."""

    def __init__(self, number: int) -> None:
        self._number, self._answered = number, 0

    def answer(self, letter: bytes) -> bytes:
        if letter == to_bytes(Hello()):
            return to_bytes(Present("node", (self._number,), "1", {}))
        self._answered += 1
        return letter + b" %d" % self._answered


def met_by(kind: FaultKind | None, lasts: int = 1) -> LocalExchange:
    """Two parties, the first of whose first letter meets a fault."""
    left = [] if kind is None else [Fault(kind, lasts)]

    def fault(address: str, letter: bytes) -> Fault | None:
        return left.pop() if left and address == "a" else None

    return LocalExchange({"a": lambda: Echo(1), "b": lambda: Echo(2)}, faults=fault)


def said(exchange: LocalExchange, letter: bytes) -> list[tuple[str, bytes]]:
    return list(exchange.deliver({"a": letter, "b": letter}, deadline=10.0))


EXPECTED: dict[FaultKind | None, tuple[list[bytes], list[bytes]]] = {
    None: ([b"x 1"], [b"y 2"]),
    "kill before": ([], [b"y 1"]),
    "kill after": ([], [b"y 1"]),
    "restart": ([b"x 1"], [b"y 2"]),
    "pause": ([], [b"x 1", b"y 2"]),
    "cut": ([], [b"y 1"]),
    "delay": ([], [b"x 1", b"y 2"]),
    "duplicate": ([b"x 1", b"x 1"], [b"y 2"]),
    "replay": ([b"x 1"], [b"y 2"]),
    "flip": ([flipped(b"x 1", 0.5)], [b"y 2"]),
}


@pytest.mark.parametrize("kind", [None, *FAULT_KINDS])
def test_a_fault_does_to_a_letter_what_it_says_and_nothing_to_others(kind: FaultKind | None) -> None:
    exchange = met_by(kind)
    first, second = EXPECTED[kind]
    for letter, expected, other in ((b"x", first, b"x 1"), (b"y", second, b"y 2")):
        found = said(exchange, letter)
        assert [answer for address, answer in found if address == "a"] == expected
        assert [answer for address, answer in found if address == "b"] == [other]
    assert sum(exchange.met.values()) == (kind is not None)


def test_an_old_answer_is_replayed_before_the_new_one() -> None:
    kinds: list[FaultKind | None] = ["replay", None]
    exchange = LocalExchange(
        {"a": lambda: Echo(1)}, faults=lambda address, letter: Fault(kind) if (kind := kinds.pop()) else None
    )
    assert list(exchange.deliver({"a": b"x"}, deadline=10.0)) == [("a", b"x 1")]
    assert list(exchange.deliver({"a": b"y"}, deadline=10.0)) == [("a", b"x 1"), ("a", b"y 2")]


def test_a_killed_party_is_gone_for_as_many_deliveries_as_the_fault_says() -> None:
    exchange = met_by("kill before", lasts=3)
    gone = [not any(address == "a" for address, _ in said(exchange, letter)) for letter in (b"1", b"2", b"3", b"4")]
    assert gone == [True, True, True, False]


def test_nothing_is_delivered_after_the_deadline() -> None:
    assert list(met_by(None).deliver({"a": b"x"}, deadline=-1.0)) == []


def test_parties_present_themselves() -> None:
    assert {address: present.numbers for address, present in met_by(None).parties().items()} == {"a": (1,), "b": (2,)}
    assert isinstance(from_bytes(Echo(1).answer(to_bytes(Hello()))), Present)
