"""The client of CKKS secure sums: one message, the encrypted vector."""

from collections.abc import MutableMapping

from protocols.broadcast import Broadcast
from protocols.ckks.encryption import encryptor_of
from protocols.ckks.wire import PHASES, read_public_key
from protocols.codec import Kind
from protocols.identity import Identity
from protocols.roles.client import Client, ClientRound
from protocols.session import Session


class CkksClientRound(ClientRound):
    phases = PHASES

    def __init__(self, session: Session, broadcast: Broadcast) -> None:
        super().__init__(session, broadcast)
        self._encryptor = encryptor_of(self.spec, read_public_key(session))

    def _answer(self, kind: Kind, body: memoryview) -> bytes:
        return self._encryptor.encrypt(self.values)


class CkksClient(Client):
    round_class = CkksClientRound

    def __init__(
        self,
        setup: bytes,
        identity: Identity,
        enrolment_public: bytes,
        *,
        min_survivors: int,
        answered: MutableMapping[int, bytes] | None = None,
    ) -> None:
        """Beside what every client refuses: SetupError for a public key that the decryptor did not sign, SpecError,
        ResidueError.
        """
        super().__init__(setup, identity, enrolment_public, min_survivors=min_survivors, answered=answered)
        encryptor_of(self.session.setup.spec, read_public_key(self.session))
