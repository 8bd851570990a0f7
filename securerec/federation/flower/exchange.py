"""Letters over Flower's Grid: what `securerec.federation.parties.exchange.Exchange` asks of a network."""

import logging
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import httpx
from flwr.app import Message

from securerec.federation.flower.client_app import MESSAGE_TYPE, content_of, letter_of
from securerec.federation.flower.operator import OperatorGrid
from securerec.federation.flower.replies import Reply, ReplyError
from securerec.federation.parties.letters import Hello, LetterError, Present, from_bytes, to_bytes

_logger = logging.getLogger("securerec.exchange")

_HELLO_SECONDS = 30.0
_LOOK_SECONDS = 2.0
"""How often it is looked who is connected, while answers are awaited."""


_MOST_SILENT = 20
"""Looks in a row that a SuperLink may leave unanswered."""

_LOST = frozenset({401, 403, 412, 502, 503, 504})
"""Statuses of a SuperLink that does not know this run any more, or is not there: no node brings them about."""


@dataclass(frozen=True, slots=True)
class Expected:
    """What the enrolment key signed of a party: its number at the SuperLink, its role, and for whom it answers."""

    node: int
    role: str
    numbers: tuple[int, ...]


@dataclass(slots=True)
class _Sent:
    address: str
    activated: str


class FlowerExchange:
    """Carries letters to the parties that the enrolment key named, and to no other node that may be connected."""

    def __init__(self, grid: OperatorGrid, expected: Mapping[str, Expected], *, poll: float = 0.1) -> None:
        """expected: by address. poll: seconds between two looks for answers."""
        self._grid, self._expected, self._poll = grid, dict(expected), poll
        self._keys: dict[str, bytes] = {}
        self._silent = 0
        self._address = {party.node: address for address, party in self._expected.items()}

    def _look(self) -> dict[str, str]:
        """When each party that is connected has connected, by address."""
        nodes = [node for node in self._grid.get_nodes() if int(node.node_id) in self._address]
        self._keys = {self._address[int(node.node_id)]: bytes(node.public_key) for node in nodes}
        return {self._address[int(node.node_id)]: str(node.last_activated_at) for node in nodes}

    def parties(self) -> dict[str, Present]:
        """Who is connected and is who the enrolment key says: its role and its numbers."""
        hello = to_bytes(Hello())
        found: dict[str, Present] = {}
        for address, data in self.deliver(dict.fromkeys(sorted(self._look()), hello), deadline=_HELLO_SECONDS):
            try:
                letter = from_bytes(data)
            except LetterError as error:
                _logger.warning("a party is not understood", extra={"fields": {"peer": address, "error": str(error)}})
                continue
            expected = self._expected[address]
            if not isinstance(letter, Present):
                _logger.warning("a party did not present itself", extra={"fields": {"peer": address}})
            elif (letter.role, letter.numbers) != (expected.role, expected.numbers):
                _logger.warning("a party presents itself as another", extra={"fields": {"peer": address}})
            else:
                found[address] = letter
        return found

    def deliver(self, letters: Mapping[str, bytes], *, deadline: float) -> Iterator[tuple[str, bytes]]:
        """See `Exchange.deliver`. A party that connects anew before it has answered is sent its letter again."""
        end = time.monotonic() + deadline
        online = self._look()
        waiting: dict[str, _Sent] = {}
        for address, letter in letters.items():
            if address in self._expected:
                self._send(address, letter, online.get(address, ""), deadline, waiting)
        self._grid.wake(self._keys[sent.address] for sent in waiting.values())
        looked = time.monotonic()
        coming: dict[str, Reply] = {}
        while waiting and time.monotonic() < end:
            came = self._announced(waiting, coming)
            for sent, reply in self._pieces(waiting, coming, end):
                came = True
                answer = self._read(sent, reply) if reply is not None else None
                if answer is not None:
                    yield sent.address, answer
            if waiting and time.monotonic() - looked > _LOOK_SECONDS:
                looked = time.monotonic()
                self._send_again(letters, waiting, end - looked)
            if not came and waiting:
                time.sleep(max(0.0, min(self._poll, end - time.monotonic())))
        for sent in waiting.values():
            _logger.warning("no answer before the deadline", extra={"fields": {"peer": sent.address}})

    def _send(self, address: str, letter: bytes, activated: str, seconds: float, waiting: dict[str, _Sent]) -> None:
        if not activated:
            return
        message = Message(
            content_of(letter), self._expected[address].node, MESSAGE_TYPE, ttl=max(seconds, 1.0) + _LOOK_SECONDS
        )
        for number in self._grid.push_messages([message]):
            if number:
                waiting[number] = _Sent(address, activated)

    def _send_again(self, letters: Mapping[str, bytes], waiting: dict[str, _Sent], seconds: float) -> None:
        """To whom has connected since; whoever is not connected is waited for."""
        online = self._look()
        for number, sent in list(waiting.items()):
            activated = online.get(sent.address, sent.activated)
            if activated != sent.activated:
                del waiting[number]
                _logger.info("sent again", extra={"fields": {"peer": sent.address}})
                self._send(sent.address, letters[sent.address], activated, seconds, waiting)
                self._grid.wake([self._keys[sent.address]])

    def _announced(self, waiting: dict[str, _Sent], coming: dict[str, Reply]) -> bool:
        """Note the replies that were announced since. Whether there were any.

        Where they cannot be read together each is asked for on its own, and who sent the one at fault is dropped.
        """
        numbers = [number for number in waiting if number not in coming]
        before = len(coming)
        if not numbers:
            return False
        try:
            found = self._grid.announced(numbers)
            self._silent = 0
        except httpx.TransportError as error:
            self._not_answered(error)
            return False
        except Exception as error:
            self._check(error)
            found = []
            for number in numbers:
                try:
                    found += self._grid.announced([number])
                except httpx.TransportError as again:
                    self._not_answered(again)
                    break
                except Exception as again:
                    self._check(again)
                    _drop(waiting.pop(number), again)
        coming.update({reply.answers: reply for reply in found if reply.answers in waiting})
        return len(coming) > before

    def _pieces(
        self, waiting: dict[str, _Sent], coming: dict[str, Reply], end: float
    ) -> Iterator[tuple[_Sent, Reply | None]]:
        """Ask for one piece of each reply, so that none is in the way of another. Those that came, and with the last
        piece the reply."""
        for number in list(coming):
            if time.monotonic() >= end:
                return
            if number not in waiting:  # sent again since
                del coming[number]
                continue
            sent, reply = waiting[number], coming[number]
            try:
                here = reply.take(self._grid)
            except httpx.TransportError as error:
                self._not_answered(error)
                return
            except Exception as error:
                self._check(error)
                _drop(sent, error)
                del waiting[number], coming[number]
                continue
            self._silent = 0
            if here and not reply.missing:
                del waiting[number], coming[number]
                yield sent, reply
            elif here:
                yield sent, None

    def _not_answered(self, error: httpx.TransportError) -> None:
        self._silent += 1
        if self._silent > _MOST_SILENT:
            raise error
        _logger.warning("the SuperLink does not answer", extra={"fields": {"error": type(error).__name__}})

    def _check(self, error: Exception) -> None:
        """Raises what is the SuperLink's fault, or the operator's, and no node's."""
        if isinstance(error, httpx.TransportError) or (
            isinstance(error, httpx.HTTPStatusError) and error.response.status_code in _LOST
        ):
            raise error

    def _read(self, sent: _Sent, reply: Reply) -> bytes | None:
        """The letter in a reply; None, with a line in the log, where there is none."""
        try:
            self._grid.received(reply.number)
        except httpx.HTTPError as error:  # everything is here; the SuperLink forgets it by itself
            _logger.debug("not confirmed", extra={"fields": {"error": type(error).__name__}})
        try:
            message = reply.message()
            if message.has_error():
                _logger.warning("not delivered", extra={"fields": {"peer": sent.address, "code": message.error.code}})
                return None
            return letter_of(message.content)
        except LetterError as error:
            _logger.warning("no letter came", extra={"fields": {"peer": sent.address, "error": str(error)}})
        except Exception as error:  # whatever a node makes of its reply is no reason to end
            _drop(sent, error)
        return None


def _drop(sent: _Sent, error: Exception) -> None:
    because = str(error) if isinstance(error, ReplyError) else f"it cannot be read ({type(error).__name__})"
    _logger.warning(
        "a reply is no good",
        extra={"fields": {"peer": sent.address, "error": f"{because}: {sent.address} is left out of this phase"}},
    )
