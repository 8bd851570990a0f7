"""What CKKS roles exchange beside uploads, known to both ends.

Public keys in the setup: for each key prime, the transforms of both polynomials, packed; then the decryptor's
signature, 64. A request's material: the summed residues, in an upload's layout. An opening: the sums, each plus
sum_bound, packed at the width that 2 sum_bound takes.
"""

from protocols.ckks.parameters import Parameters, choose
from protocols.codec import Kind
from protocols.errors import RosterError, SetupError, SignatureError
from protocols.identity import SIGNATURE_BYTES, Identity
from protocols.packing import Streams
from protocols.roles.phase import Phase
from protocols.roster import Roster
from protocols.session import Session
from protocols.spec import SumSpec

PHASES = (
    Phase("upload", "client", Kind.BROADCAST, Kind.UPLOAD),
    Phase("open", "decryptor", Kind.REQUEST, Kind.OPENING),
)

_LABEL = "ckks public key"


def public_key_streams(parameters: Parameters) -> Streams:
    """For each key prime, the transforms of both polynomials of the public key."""
    return Streams(parameters.key_primes, 2 * parameters.degree)


def sum_streams(spec: SumSpec) -> Streams:
    """The layout of an opening."""
    return Streams((2 * spec.sum_bound + 1,), spec.length)


def sign_public_key(spec: SumSpec, public_key: bytes, *, run_id: bytes, roster: Roster, identity: Identity) -> bytes:
    """The setup's public keys: the key, and the decryptor's signature that binds it to run, roster and parameters."""
    return public_key + identity.sign(_LABEL, run_id, roster.digest, choose(spec).digest(), public_key)


def read_public_key(session: Session) -> bytes:
    """The public key in the setup. Raises RosterError, SpecError, SetupError where the decryptor did not sign it."""
    setup, roster = session.setup, session.roster
    if len(roster.decryptors) != 1:
        raise RosterError(f"The protocol ckks has one decryptor, not {len(roster.decryptors)}.")
    parameters = choose(setup.spec)
    expected = public_key_streams(parameters).n_bytes + SIGNATURE_BYTES
    if len(setup.public_keys) != expected:
        raise SetupError(f"The setup's public keys have {len(setup.public_keys)} bytes; {expected} were expected.")
    key, signature = setup.public_keys[:-SIGNATURE_BYTES], setup.public_keys[-SIGNATURE_BYTES:]
    try:
        roster.decryptors[0].verify(signature, _LABEL, setup.run_id, roster.digest, parameters.digest(), key)
    except SignatureError:
        raise SetupError("The setup's public key is not signed by the decryptor on the roster.") from None
    return key
