"""A chaos run finds nothing where nothing is wrong, and finds each bug that is planted."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from securerec.device.ledger import Sent
from securerec.experiments.chaos.local import LocalFederation
from securerec.experiments.chaos.play import play_chaos
from securerec.federation.parties.attempt import Played
from securerec.federation.parties.exchange import Party
from securerec.federation.parties.server import ServerRun
from securerec.federation.summing import OpenedSum


@pytest.mark.parametrize("protocol", ["plain", "pairwise", "ckks", "ckks-committee"])
def test_nothing_is_broken_under_chaos(protocol: str) -> None:
    result = play_chaos(2, 3, protocol=protocol)
    assert result.violations == 0, result.broken
    assert result.outcomes["opened"] == 4 and not result.stopped
    assert sum(result.faults.values()) > 2
    assert all(times > 0 for name, times in result.checked.items() if name != "aborts have a name")


def test_the_same_seed_plays_the_same_plan() -> None:
    one, two = (replace(play_chaos(1, 5, protocol="plain"), seconds=0.0) for _ in range(2))
    assert one == two


class OpensTwice(ServerRun):
    def _open(self, *args: Any, **kwargs: Any) -> OpenedSum:
        super()._open(*args, **kwargs)
        self._journal.give_up("once more")
        return super()._open(*args, **kwargs)


class AddsOne(ServerRun):
    def _attempt(self, *args: Any, **kwargs: Any) -> Played:
        played = super()._attempt(*args, **kwargs)
        if played.values is not None:
            played.values = played.values + 1
        return played


class HidesReasons(ServerRun):
    def _attempt(self, *args: Any, **kwargs: Any) -> Played:
        played = super()._attempt(*args, **kwargs)
        played.reason = ""
        return played


class ChargesNothing(ServerRun):
    def _charge(self, attempt: Any) -> None:
        if attempt.label != "round 1":
            super()._charge(attempt)


@pytest.mark.parametrize(
    ("make_server", "rounds", "broken"),
    [
        (OpensTwice, 1, "opened once"),
        (AddsOne, 1, "exact sums"),
        (HidesReasons, 4, "aborts have a name"),
        (ChargesNothing, 1, "ledgers agree"),
    ],
)
def test_a_server_with_a_bug_is_found(make_server: type[ServerRun], rounds: int, broken: str) -> None:
    result = play_chaos(rounds, 1, protocol="plain", make_server=make_server)
    assert [name for name, found in result.broken.items() if found] == [broken]


def spoiled(
    address: str, spoil: Callable[[Any, LocalFederation], None]
) -> Callable[[LocalFederation], LocalFederation]:
    """A federation whose party at this address has something done to it each time it starts."""

    def every_start(local: LocalFederation) -> LocalFederation:
        make = local.start[address]

        def start() -> Party:
            party = make()
            spoil(party, local)
            return party

        return replace(local, start={**local.start, address: start})

    return every_start


def forget_a_line(node: Any, local: LocalFederation) -> None:
    append = node._ledger.append

    def forgetful(sent: Sent) -> Sent:
        return sent if sent.release == "round" and sent.round_number == 1 else append(sent)

    node._ledger.append = forgetful


def lose_the_state(node: Any, local: LocalFederation) -> None:
    write = node._store.write
    node._store.write = lambda name, data: None if name == "state" and node._state is not None else write(name, data)


def test_a_node_that_forgets_a_line_of_its_ledger_is_found() -> None:
    result = play_chaos(2, 1, protocol="plain", spoil=spoiled("node-01", forget_a_line))
    assert [name for name, found in result.broken.items() if found] == ["ledgers agree"]


def test_a_node_that_loses_its_devices_state_is_found() -> None:
    result = play_chaos(2, 2, protocol="plain", spoil=spoiled("node-01", lose_the_state))
    assert result.broken["private states"]


def test_a_decryptor_without_a_record_is_found() -> None:
    class Forgetful(dict[int, bytes]):
        def __setitem__(self, number: int, digest: bytes) -> None:
            pass

    def forget(member: Any, local: LocalFederation) -> None:
        for decryptor in member._decryptors.values():
            decryptor._answered = Forgetful()

    result = play_chaos(6, 4, protocol="ckks", lies=("survivors asked twice",), spoil=spoiled("decryptor-0", forget))
    assert result.lies["survivors asked twice"] > 0
    assert result.broken["opened once"]
