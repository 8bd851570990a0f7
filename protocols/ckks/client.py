"""The client of CKKS secure sums: one message, the encrypted vector."""

from protocols.broadcast import Broadcast
from protocols.ckks.encryption import encryptor_of
from protocols.ckks.wire import PHASES, read_public_key
from protocols.codec import Kind
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

    def _prepare(self) -> None:
        """Raises SetupError for a public key that the decryptor did not sign, SpecError, ResidueError."""
        encryptor_of(self.session.setup.spec, read_public_key(self.session))
