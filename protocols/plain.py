"""The sum in the clear: promises nothing against anybody. For experiments, and as what every other protocol must equal.

A value travels as value + upload_bound, at the width that this takes. A sum of n uploads is the sum of those.
"""

import os

import numpy as np
from numpy.typing import NDArray

from protocols.codec import TAG_BYTES, Session, check_parameters, key_id_of, tag
from protocols.errors import WrongLengthError
from protocols.packing import Streams
from protocols.roles.client import Client
from protocols.roles.decryptor import Decryptor
from protocols.roles.server import Layout, Server
from protocols.spec import SumSpec


def _digest(spec: SumSpec) -> bytes:
    return tag("plain parameters", spec.encode())


def _layout(spec: SumSpec) -> Layout:
    largest = 2 * spec.upload_bound
    return Layout(
        upload=Streams((largest + 1,), spec.length),
        total=Streams((spec.max_clients * largest + 1,), spec.length),
    )


class PlainClient(Client):
    @classmethod
    def from_bundle(cls, spec: SumSpec, session: Session, public_key: memoryview) -> "PlainClient":
        _check(spec, session, public_key)
        return cls(spec, session)

    def _encode(self, values: NDArray[np.int64]) -> bytes:
        shifted = (values + self.spec.upload_bound).view(np.uint64)
        return _layout(self.spec).upload.pack(shifted[None, :])


class PlainDecryptor(Decryptor):
    """Opens what was never closed; keeps the decryptor's other refusals."""

    @classmethod
    def create(cls, spec: SumSpec, *, protocol: int, run_tag: bytes) -> "PlainDecryptor":
        # There is no key; random bytes in its place give each decryptor's frames a key id of their own.
        nonce = os.urandom(TAG_BYTES)
        digest = _digest(spec)
        session = Session(protocol, digest, key_id_of(digest, run_tag, nonce), run_tag)
        return cls(spec, session, nonce, _layout(spec).total)

    def _decrypt(self, residues: NDArray[np.uint64], n_clients: int, *, what: str) -> NDArray[np.int64]:
        return residues[0].view(np.int64) - n_clients * self.spec.upload_bound


def server_from_bundle(spec: SumSpec, session: Session, public_key: memoryview, *, round_number: int) -> Server:
    _check(spec, session, public_key)
    return Server(spec, session, _layout(spec), round_number=round_number)


def _check(spec: SumSpec, session: Session, public_key: memoryview) -> None:
    check_parameters(session, _digest(spec))
    if len(public_key) != TAG_BYTES:
        raise WrongLengthError(f"A plain bundle ends in {TAG_BYTES} random bytes, not {len(public_key)}.")
