"""The attempts on a secure sum that an auditor can run: each a function from a fresh small run to what came of it."""

import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from attacks.attempts import Attempt
from attacks.crypto.parties import Parties
from attacks.errors import AttackError
from protocols import PROTOCOLS

Outcome = tuple[bool, str]
"""Whether the adversary got what it wanted, and a sentence."""

_MODULES = ("secret_keys", "messages", "single_vectors", "survivor_sets", "tables")


@dataclass(frozen=True, slots=True)
class CryptoAttack:
    """name, adversary, source, summary: sentences for lists. protocols: those it can be tried on. foreseen: those whose
    documentation says that it succeeds. run: plays it on new parties of a protocol.
    """

    name: str
    adversary: str
    source: str
    summary: str
    protocols: tuple[str, ...]
    foreseen: tuple[str, ...]
    run: Callable[[str], Outcome]


_attacks: dict[str, list[CryptoAttack]] = {module: [] for module in _MODULES}


def crypto_attack(
    *, name: str, adversary: str, source: str, summary: str, protocols: tuple[str, ...] = tuple(PROTOCOLS),
    foreseen: tuple[str, ...] = (),
) -> Callable[[Callable[[Parties], Outcome]], Callable[[Parties], Outcome]]:  # fmt: skip
    """Decorator that makes a function of a fresh small run a known attempt."""

    def add(function: Callable[[Parties], Outcome]) -> Callable[[Parties], Outcome]:
        def run(protocol: str) -> Outcome:
            return function(Parties(protocol))

        run.__module__ = function.__module__
        add_attack(CryptoAttack(name, adversary, source, summary, protocols, foreseen, run))
        return function

    return add


def add_attack(attack: CryptoAttack) -> None:
    """Make one known that needs parties of its own making."""
    _attacks[attack.run.__module__.rpartition(".")[2]].append(attack)


def crypto_attacks() -> list[CryptoAttack]:
    """All known attempts, in the order of the modules."""
    for module in _MODULES:
        importlib.import_module(f"attacks.crypto.{module}")
    return [attack for module in _MODULES for attack in _attacks[module]]


def run_attempts(
    protocols: Sequence[str] = (*PROTOCOLS, "tenseal"),
    *,
    before: Callable[[CryptoAttack, str], None] = lambda attack, protocol: None,
) -> list[Attempt]:
    """Every attempt on each of these protocols that it can be tried on; "tenseal" is the control that has to succeed.

    before: told of each in turn. Raises AttackError for a protocol that is not known.
    """
    for protocol in protocols:
        if protocol not in PROTOCOLS and protocol != "tenseal":
            raise AttackError(f"there is no protocol {protocol!r}; choose among {', '.join(PROTOCOLS)} and tenseal")
    found = []
    for attack in crypto_attacks():
        for protocol in protocols:
            if protocol in attack.protocols:
                before(attack, protocol)
                succeeded, outcome = attack.run(protocol)
                foreseen = protocol in attack.foreseen
                found.append(Attempt(attack.name, attack.adversary, protocol, succeeded, outcome, foreseen))
    return found
