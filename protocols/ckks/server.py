"""The server of CKKS secure sums: the protocol-agnostic server over this protocol's moduli. No key, no SEAL."""

from protocols.ckks.parameters import choose
from protocols.ckks.wire import public_key_streams
from protocols.codec import Session, check_parameters
from protocols.errors import WrongLengthError
from protocols.roles.server import Layout, Server
from protocols.spec import SumSpec


def server_from_bundle(spec: SumSpec, session: Session, public_key: memoryview, *, round_number: int) -> Server:
    """Raises WrongParametersError, WrongLengthError, SpecError."""
    parameters = choose(spec)
    check_parameters(session, parameters.digest())
    expected = public_key_streams(parameters).n_bytes
    if len(public_key) != expected:
        raise WrongLengthError(f"The bundle's public key has {len(public_key)} bytes; {expected} were expected.")
    return Server(spec, session, Layout(parameters.streams, parameters.streams), round_number=round_number)
