"""The decryptor's arithmetic: SEAL makes the key and decrypts; rounding on the exact grid happens in here.

What SEAL decrypts carries the ciphertext's noise, from which the secret key can be computed (Li, Micciancio 2021). So
it is rounded to the grid before anything leaves, and the rounding is proved never to err: the integers released are
the ones a plain sum would have given, whatever the noise was.
"""

from itertools import pairwise
from typing import Any

import numpy as np
import tenseal.sealapi as seal
from numpy.typing import NDArray

from protocols.ckks.parameters import Parameters
from protocols.ckks.seal_bytes import SealBytes, make_context
from protocols.ckks.wire import public_key_streams
from protocols.errors import NoiseError, RangeError
from protocols.grid import centred, fields_of, nearest
from protocols.ring import Ring


class SecretKey:
    """A key pair of SEAL's, seeded by the operating system. The secret part stays in SEAL's memory, which nothing here
    reads, writes or prints.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.parameters = parameters
        self._rings = [Ring.of(parameters.degree, q) for q in parameters.data_primes]
        context = make_context(parameters.degree, parameters.key_primes)
        self._bytes = SealBytes(context)
        generator = seal.KeyGenerator(context)
        key = seal.PublicKey()
        generator.create_public_key(key)
        residues = self._bytes.ciphertext(key, len(parameters.key_primes), parameters.degree)
        by_prime = np.ascontiguousarray(residues.swapaxes(0, 1)).reshape(len(parameters.key_primes), -1)
        self.public = public_key_streams(parameters).pack(by_prime)
        self._decryptor: Any = seal.Decryptor(context, generator.secret_key())

    def __repr__(self) -> str:
        return f"SecretKey(degree={self.parameters.degree})"

    def decrypt(self, residues: NDArray[np.uint64]) -> NDArray[np.uint64]:
        """Summed residues in the upload's layout to decrypted coefficients (data primes, n_coefficients)."""
        parameters = self.parameters
        degree, used, n_primes = parameters.degree, parameters.n_coefficients, len(self._rings)
        decrypted = np.empty((n_primes, used), np.uint64)
        ciphertext, plaintext = seal.Ciphertext(), seal.Plaintext()
        bounds = [*range(0, used, degree), used]
        for first, last in pairwise(bounds):
            # Coefficients that were not sent count as zero: they decrypt to garbage, which is never looked at.
            polynomials = np.zeros((2, n_primes, degree), np.uint64)
            polynomials[0, :, : last - first] = residues[:, first:last]
            polynomials[1] = residues[:, used + first : used + first + degree]
            for ring, c0 in zip(self._rings, polynomials[0], strict=True):
                ring.forward(c0)
            self._bytes.load_ciphertext(polynomials, ciphertext, self._bytes.context.first_parms_id())
            self._decryptor.decrypt(ciphertext, plaintext)
            transformed = self._bytes.plaintext(plaintext, n_primes, degree)
            for out, ring, row in zip(decrypted, self._rings, transformed, strict=True):
                ring.inverse(row)
                out[first:last] = row[: last - first]
        return decrypted


def decode(parameters: Parameters, residues: NDArray[np.uint64], n_clients: int, *, what: str) -> NDArray[np.int64]:
    """Decrypted coefficients (data primes, n_coefficients) to the exact sums (length,) int64.

    Raises NoiseError if a coefficient is further from the grid than
    `n_clients` honest encryptions can bring it, RangeError if it holds no fields within the bounds.
    """
    scale, spec = parameters.scale, parameters.spec
    grid, noise = nearest(centred(residues, parameters.data_primes), scale)
    limit = parameters.noise_bound(n_clients)
    if noise > limit:
        raise NoiseError(
            f"Noise too large: {what} lies {noise / scale:.3f} of a step off the grid, and {n_clients} honest clients "
            f"stay within {limit / scale:.3f}. It was tampered with, or encrypted under another key."
        )
    values = fields_of(grid, radix=parameters.radix, fields=parameters.fields, bound=spec.sum_bound, length=spec.length)
    if values is None:
        raise RangeError(f"{what} does not decrypt to fields within their bounds: some upload was out of range.")
    return values
