"""A decryptor's process: letters in, letters out, and on its disk which round it has answered with what.

One process a number, since two would each keep half of the record. The record is on the disk, and flushed, before an
answer leaves: a decryptor that comes back from a crash answers no second set of survivors.
"""

import hashlib
from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import protocols
from protocols.errors import ProtocolError
from protocols.identity import Identity
from protocols.setup import Setup
from securerec.errors import RunError
from securerec.federation.parties.letters import (
    Call,
    Hello,
    LetterError,
    Present,
    Reply,
    from_bytes,
    sentence,
    to_bytes,
)
from securerec.federation.parties.public import Federation
from securerec.files import write_atomic

_MAGIC = b"srar1\0"
_ROUND_BYTES, _DIGEST_BYTES = 8, 32
_REMEMBERED = 256
"""Answers of this process that it gives again, byte for byte, when the same letter comes again."""


class AnsweredRounds(MutableMapping[int, bytes]):
    """Round to the digest (32 bytes) of the one request that was answered for it, in a file that outlives the process.

    The file: its magic, then for each round, rising, its number u64 little-endian and the digest. A round is written
    once and never taken away.
    """

    def __init__(self, path: Path) -> None:
        """Raises RunError for a file that is missing or not whole: without its record a decryptor must not answer."""
        self._path = path
        self._rounds = _read(path)

    @classmethod
    def begin(cls, path: Path) -> Self:
        """The record at `path`; an empty one is written where there is none, which only whoever makes a decryptor with
        a new identity may do.
        """
        if not path.exists():
            write_atomic(path, _MAGIC, private=True)
        return cls(path)

    def __getitem__(self, round_number: int) -> bytes:
        return self._rounds[round_number]

    def __setitem__(self, round_number: int, digest: bytes) -> None:
        """On the disk when it returns. Raises RunError for another digest of a round that has one, or of another
        length.
        """
        known = self._rounds.get(round_number)
        if known == digest:
            return
        if known is not None or len(digest) != _DIGEST_BYTES:
            raise RunError(f"{self._path}: what was answered in round {round_number} is never rewritten")
        rounds = {**self._rounds, round_number: digest}
        entries = (number.to_bytes(_ROUND_BYTES, "little") + rounds[number] for number in sorted(rounds))
        write_atomic(self._path, _MAGIC + b"".join(entries), private=True)
        self._rounds = rounds

    def __delitem__(self, round_number: int) -> None:
        raise RunError(f"{self._path}: round {round_number} stays answered")

    def __iter__(self) -> Iterator[int]:
        return iter(self._rounds)

    def __len__(self) -> int:
        return len(self._rounds)


def _read(path: Path) -> dict[int, bytes]:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise RunError(
            f"{path} is missing, and without it this decryptor cannot know what it has answered: leave it out of the "
            "run, or have it enrolled with a new identity (`securerec deploy rotate`)"
        ) from None
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    entries, size = data[len(_MAGIC) :], _ROUND_BYTES + _DIGEST_BYTES
    if data[: len(_MAGIC)] != _MAGIC or len(entries) % size:
        raise RunError(f"{path} is damaged: restore it, or this decryptor cannot know what it has answered")
    rounds: dict[int, bytes] = {}
    for at in range(0, len(entries), size):
        number = int.from_bytes(entries[at : at + _ROUND_BYTES], "little")
        if rounds and number <= next(reversed(rounds)):
            raise RunError(f"{path} is damaged: its rounds are not in order; restore it")
        rounds[number] = entries[at + _ROUND_BYTES : at + size]
    return rounds


def begin_records(folder: Path, releases: Iterable[str]) -> None:
    """Empty records for a decryptor with a new identity; those that are there stay as they are."""
    for release in releases:
        AnsweredRounds.begin(_record(folder, release))


def _record(folder: Path, release: str) -> Path:
    return folder / f"{release.replace(' ', '-')}.rounds"


class Member:
    """One decryptor, for all kinds of release of a run. Hold its folder (`securerec.device.store.held`) meanwhile."""

    def __init__(
        self, federation: Federation, identity: Identity, folder: Path, *, keys: Mapping[str, Any] | None = None,
        min_cohort: int = 1,
    ) -> None:  # fmt: skip
        """folder: its own, of the record, which `begin_records` has begun. keys: by kind of release, for protocols
        whose decryptors hold a key beside their identity. min_cohort: fewest clients in a sum that it helps to open,
        beside what the run has promised.

        Raises RunError for a missing or damaged record, ConfigError and ProtocolError for what does not fit.
        """
        promises, self._number = federation.check(), identity.public.number
        self._digests = {name: Setup.from_bytes(setup).digest for name, setup in federation.setups.items()}
        self._decryptors = {
            name: protocols.decryptor(
                setup, identity, federation.enrolment,
                min_survivors=max(promises[name].min_survivors, min_cohort),
                answered=AnsweredRounds(_record(folder, name)), key=(keys or {}).get(name),
            )
            for name, setup in federation.setups.items()
        }  # fmt: skip
        self._given: dict[bytes, bytes] = {}

    def __repr__(self) -> str:
        return f"Member({self._number})"

    def present(self) -> Present:
        """Who answers here."""
        return Present("decryptor", (self._number,), version("securerec"), self._digests)

    def answer(self, letter: bytes) -> bytes:
        """The answer to a letter, or in it why there is none. Raises LetterError for bytes that are no letter for a
        decryptor, OSError where the disk does not keep the record: then nothing leaves.
        """
        read = from_bytes(letter)
        if isinstance(read, Hello):
            return to_bytes(self.present())
        if not isinstance(read, Call):
            raise LetterError(f"A decryptor does not answer a letter of kind {type(read).__name__}.")
        digest = hashlib.sha256(letter).digest()
        known = self._given.get(digest)
        if known is not None:
            return known
        decryptor = self._decryptors.get(read.release)
        if decryptor is None:
            return self._refuse(f"This run has no release {read.release!r}.")
        try:
            answer = decryptor.answer(read.message)
        except (ProtocolError, RunError) as refusal:
            return self._refuse(refusal)
        self._given[digest] = to_bytes(Reply({self._number: answer}))
        while len(self._given) > _REMEMBERED:
            del self._given[next(iter(self._given))]
        return self._given[digest]

    def _refuse(self, why: object) -> bytes:
        return to_bytes(Reply({}, {self._number: sentence(why)}))
