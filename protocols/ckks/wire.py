"""Layouts of what CKKS roles exchange beside uploads, known to both ends."""

from protocols.ckks.parameters import Parameters
from protocols.packing import Streams


def public_key_streams(parameters: Parameters) -> Streams:
    """For each key prime, the transforms of both polynomials of the public key."""
    return Streams(parameters.key_primes, 2 * parameters.degree)
