"""What a protocol declares once, for its server and its clients: which messages go to whom, and what they answer."""

from dataclasses import dataclass

from protocols.codec import UPLOADS, Kind
from protocols.identity import Role


@dataclass(frozen=True, slots=True)
class Phase:
    """The server sends `sends` to parties of a role, each of which may answer once, with `answers`."""

    name: str
    party: Role
    sends: Kind
    answers: Kind

    @property
    def uploads(self) -> bool:
        """Whether the answers hold clients' vectors."""
        return self.answers in UPLOADS
