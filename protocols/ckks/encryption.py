"""A client's arithmetic: SEAL encrypts zero, the packed message is added to it, the coefficients in use are sent."""

from functools import lru_cache
from threading import Lock
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.ckks.parameters import Parameters, choose
from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.ckks.wire import public_key_streams
from protocols.ring import Ring
from protocols.spec import SumSpec


class Encryptor:
    """Encrypts under one public key. All randomness is SEAL's, seeded by the operating system."""

    def __init__(self, parameters: Parameters, public_key: bytes) -> None:
        """public_key: packed transformed residues. Raises WrongLengthError, ResidueError, LeftoverError."""
        streams = public_key_streams(parameters)
        residues = streams.zeros()
        streams.unpack(public_key, residues, what="The setup's public key")
        by_prime = residues.reshape(len(parameters.key_primes), 2, parameters.degree)
        self._parameters = parameters
        self._rings = [Ring.of(parameters.degree, q) for q in parameters.data_primes]
        self._factors = [parameters.scale * parameters.radix**f for f in range(parameters.fields)]
        context = make_context(parameters.degree, parameters.key_primes)
        self._bytes = SealBytes(context)
        key = seal.PublicKey()
        self._bytes.load_ciphertext(np.ascontiguousarray(by_prime.swapaxes(0, 1)), key, context.key_parms_id())
        self._encryptor: Any = seal.Encryptor(context, key)
        self._lock = Lock()

    def encrypt(self, values: NDArray[np.int64]) -> bytes:
        """The body of an upload that carries `values`, (length,) int64 within the specification's upload_bound."""
        parameters = self._parameters
        degree, used = parameters.degree, parameters.n_coefficients
        body = np.empty((len(self._rings), parameters.streams.count), np.uint64)
        for ciphertext in range(parameters.n_ciphertexts):
            zero = self._encrypt_zero()
            first = ciphertext * degree
            last = min(first + degree, used)
            for row, ring, c0, c1 in zip(body, self._rings, zero[0], zero[1], strict=True):
                # Coefficients without a field are not sent, which only the untransformed c_0 allows.
                ring.inverse(c0)
                row[first:last] = c0[: last - first]
                row[used + first : used + first + degree] = c1
        for row, ring in zip(body, self._rings, strict=True):
            for field, factor in enumerate(self._factors):
                ring.add_multiple(row[:used], values[field * used : (field + 1) * used], factor)
        return parameters.streams.pack(body)

    def _encrypt_zero(self) -> NDArray[np.uint64]:
        # One buffer serves all clients of a process.
        with self._lock:
            ciphertext = seal.Ciphertext()
            self._encryptor.encrypt_zero(ciphertext)
            return self._bytes.ciphertext(ciphertext, len(self._rings), self._parameters.degree)


@lru_cache(maxsize=4)
def encryptor_of(spec: SumSpec, public_key: bytes) -> Encryptor:
    """The encryptor of a key, made once a process. Raises what `choose` and `Encryptor` raise."""
    return Encryptor(choose(spec), public_key)
