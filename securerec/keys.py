"""Key files of a federation: who is enrolled, each party's secrets in a folder of its own, the roster that all pin.

    DIR/enrolment/enrolment.key      signs rosters; belongs offline, never to the server
    DIR/public/enrolment.pub         what clients and decryptors pin
    DIR/public/roster                signed by the enrolment key
    DIR/server/identity.key          DIR/client-7/identity.key          DIR/decryptor-2/identity.key

Folders with secrets are mode 0700, their files 0600. A rotation writes the new identity beside the old one, then the
roster, which decides, then removes the old one: whatever instant it is interrupted at, `load` finds keys that fit.
"""

from collections.abc import Iterable
from pathlib import Path

from protocols.errors import ProtocolError
from protocols.identity import Address, EnrolmentKey, Identity, PublicIdentity
from protocols.roster import Roster
from securerec.errors import ConfigError, RunError
from securerec.files import write_atomic


class KeyFolder:
    """The key files of one federation."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def make(self, *, clients: int, decryptors: int, threshold: int, tolerated: int) -> Roster:
        """Write fresh keys for a server, clients 0 .. clients - 1 and decryptors 0 .. decryptors - 1.

        Raises RunError when keys are there already, ConfigError for numbers that make no safe committee.
        """
        if self.path.exists() and any(self.path.iterdir()):
            raise RunError(
                f"{self.path} is not empty: choose another folder, or replace keys with `securerec keys rotate`"
            )
        enrolment = EnrolmentKey.generate()
        server = Identity.generate("server", 0)
        people = [Identity.generate("client", number) for number in range(clients)]
        committee = [Identity.generate("decryptor", number) for number in range(decryptors)]
        try:
            roster = Roster(server.public, _public(people), _public(committee), threshold, tolerated)
        except ProtocolError as error:
            raise ConfigError(str(error)) from None
        for identity in (server, *people, *committee):
            self._write_secret(self._identity_file(identity.address), identity.to_bytes())
        self._write_secret(self._enrolment_file, enrolment.to_bytes())
        write_atomic(self.path / "public" / "enrolment.pub", enrolment.public)
        write_atomic(self._roster_file, roster.sign(enrolment))
        return roster

    def roster(self) -> Roster:
        """The signed roster. Raises RunError when it is missing, damaged or not signed by the pinned key."""
        pinned = self._read(self.path / "public" / "enrolment.pub")
        try:
            return Roster.verify(self._read(self._roster_file), pinned)
        except ProtocolError as error:
            raise RunError(f"{self._roster_file}: {error}") from None

    def identity(self, address: Address) -> Identity:
        """A party's private keys, the ones that the roster names. Raises RunError when they are missing or do not
        fit.
        """
        listed = self.roster().of(address.role, address.number)
        if listed is None:
            raise RunError(f"the roster in {self.path} does not name {address}")
        current, following = self._identity_file(address), self._next_file(address)
        if following.exists():
            if self._parse(following).public == listed:
                following.replace(current)
            else:
                following.unlink()
        identity = self._parse(current)
        if identity.public != listed:
            raise RunError(f"{current} holds other keys than the roster names for {address}: restore it or rotate")
        return identity

    def rotate(self, addresses: Iterable[Address]) -> Roster:
        """Give these parties new keys and sign the new roster; needs the enrolment key. Returns the new roster."""
        old = self.roster()
        try:
            enrolment = EnrolmentKey(self._read(self._enrolment_file))
        except ProtocolError as error:
            raise RunError(f"{self._enrolment_file}: {error}") from None
        fresh: dict[Address, Identity] = {}
        for address in addresses:
            if old.of(address.role, address.number) is None:
                raise ConfigError(f"the roster in {self.path} does not name {address}: nothing was rotated")
            fresh[address] = Identity.generate(address.role, address.number)

        def newest(parties: Iterable[PublicIdentity]) -> tuple[PublicIdentity, ...]:
            return tuple(fresh[party.address].public if party.address in fresh else party for party in parties)

        roster = Roster(
            newest([old.server])[0], newest(old.clients), newest(old.decryptors), old.threshold, old.tolerated
        )
        for address, identity in fresh.items():
            self._write_secret(self._next_file(address), identity.to_bytes())
        write_atomic(self._roster_file, roster.sign(enrolment))
        for address in fresh:
            self.identity(address)
        return roster

    def loose(self) -> list[Path]:
        """Secret files that others than their owner may read."""
        return [path for path in sorted(self.path.rglob("*.key")) if path.stat().st_mode & 0o077]

    @property
    def _roster_file(self) -> Path:
        return self.path / "public" / "roster"

    @property
    def _enrolment_file(self) -> Path:
        return self.path / "enrolment" / "enrolment.key"

    def _identity_file(self, address: Address) -> Path:
        folder = "server" if address.role == "server" else f"{address.role}-{address.number}"
        return self.path / folder / "identity.key"

    def _next_file(self, address: Address) -> Path:
        return self._identity_file(address).with_name("identity.next.key")

    def _write_secret(self, path: Path, data: bytes) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(path, data, private=True)

    def _parse(self, path: Path) -> Identity:
        try:
            return Identity.from_bytes(self._read(path))
        except ProtocolError as error:
            raise RunError(f"{path}: {error}") from None

    def _read(self, path: Path) -> bytes:
        try:
            return path.read_bytes()
        except OSError as error:
            raise RunError(f"{path} cannot be read: {error.strerror}") from None


def _public(identities: Iterable[Identity]) -> tuple[PublicIdentity, ...]:
    return tuple(identity.public for identity in identities)
