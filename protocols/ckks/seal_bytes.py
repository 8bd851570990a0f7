"""SEAL objects by their serialised bytes alone: contexts, and numbers in and out of ciphertexts, plaintexts and keys.

TenSEAL's sealapi saves and loads files only and offers no view of an object's numbers. Files here are anonymous memory
where the system has it, else a private temporary folder; either is emptied as soon as it is read, since what passes
through is as secret as a message (an encryption of zero unmasks the upload made from it).

SEAL's form: header `<HBBBBHQ` (magic 0xA15E, header size, major, minor, compression, zero, total bytes), then a body,
compressed with zstandard when SEAL wrote it, plain when this module did. Body of a ciphertext: parms id 4 u64, is_ntt
u8, polynomials u64, degree u64, primes u64, scale f64, correction factor u64, then a nested array: header, count u64,
residues u64. Body of a plaintext: parms id, coefficients u64, scale f64, nested array.
"""

import os
import shutil
import struct
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import tenseal.sealapi as seal
import zstandard
from numpy.typing import NDArray

from protocols.errors import ProtocolError, SpecError

_HEADER = struct.Struct("<HBBBBHQ")
_MAGIC = 0xA15E
_PLAIN, _ZSTD = 0, 2
_CIPHERTEXT = struct.Struct("<4QBQQQdQ")
_PLAINTEXT = struct.Struct("<4QQd")
_COUNT = struct.Struct("<Q")


class SealFormatError(ProtocolError):
    """SEAL wrote bytes in a form that this module does not know: another version of TenSEAL."""


def make_context(degree: int, primes: tuple[int, ...]) -> Any:
    """A CKKS SEALContext that SEAL itself holds to 128-bit security. Raises SpecError where SEAL refuses."""
    parameters = seal.EncryptionParameters(seal.SCHEME_TYPE.CKKS)
    parameters.set_poly_modulus_degree(degree)
    parameters.set_coeff_modulus([seal.Modulus(q) for q in primes])
    context = seal.SEALContext(parameters, True, seal.SEC_LEVEL_TYPE.TC128)
    if not context.parameters_set():
        raise SpecError(f"SEAL refuses the parameters: {context.parameters_error_message()}.")
    return context


class SealBytes:
    """Moves residues, arrays (polynomials, primes, degree) uint64, between numpy and one context's SEAL objects.

    One object serves one thread. The context's parameters are public; the buffer is emptied after each use.
    """

    def __init__(self, context: Any) -> None:
        self.context = context
        folder: str | None = None
        if hasattr(os, "memfd_create") and os.path.isdir("/proc/self/fd"):
            self._fd = os.memfd_create("secure-sum")
            self._path = f"/proc/self/fd/{self._fd}"
        else:
            folder = tempfile.mkdtemp(prefix="secure-sum-")
            self._path = str(Path(folder) / "object")
            self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        # Not __del__: at the end of the process that may find the modules it needs gone.
        weakref.finalize(self, _discard, self._fd, folder)
        self._version = self._own_version()

    def ciphertext(self, source: Any, n_primes: int, degree: int) -> NDArray[np.uint64]:
        """Residues (2, n_primes, degree), transformed, of a SEAL Ciphertext or PublicKey of two polynomials."""
        body = self._save(source, _CIPHERTEXT.size, 2 * n_primes * degree)
        *_, is_ntt, size, found_degree, found_primes, _, correction = _CIPHERTEXT.unpack_from(body)
        if (is_ntt, size, found_degree, found_primes, correction) != (1, 2, degree, n_primes, 1):
            raise SealFormatError("SEAL saved a ciphertext of another shape than expected.")
        return self._array(body, _CIPHERTEXT.size, 2 * n_primes * degree).reshape(2, n_primes, degree)

    def plaintext(self, source: Any, n_primes: int, degree: int) -> NDArray[np.uint64]:
        """Residues (n_primes, degree), transformed, of a SEAL Plaintext."""
        body = self._save(source, _PLAINTEXT.size, n_primes * degree)
        return self._array(body, _PLAINTEXT.size, n_primes * degree).reshape(n_primes, degree)

    def load_ciphertext(self, residues: NDArray[np.uint64], target: Any, parms_id: list[int]) -> None:
        """Make a SEAL Ciphertext or PublicKey of transformed residues (2, n_primes, degree). SEAL checks them too."""
        size, n_primes, degree = residues.shape
        numbers = residues.astype("<u8", copy=False).tobytes()
        array = self._header(_COUNT.size + len(numbers)) + _COUNT.pack(residues.size) + numbers
        body = _CIPHERTEXT.pack(*parms_id, 1, size, degree, n_primes, 1.0, 1) + array
        data = self._header(len(body)) + body
        try:
            os.ftruncate(self._fd, 0)
            _write_all(self._fd, data)
            target.load(self.context, self._path)
        finally:
            os.ftruncate(self._fd, 0)

    def _header(self, body_bytes: int) -> bytes:
        return _HEADER.pack(_MAGIC, _HEADER.size, *self._version, _PLAIN, 0, _HEADER.size + body_bytes)

    def _own_version(self) -> tuple[int, int]:
        """(major, minor) that this SEAL writes, read from public parameters."""
        data = self._saved(self.context.key_context_data().parms())
        magic, size, major, minor, *_ = _HEADER.unpack_from(data)
        if (magic, size) != (_MAGIC, _HEADER.size):
            raise SealFormatError("SEAL writes an unknown header: this version of TenSEAL is not supported.")
        return major, minor

    def _saved(self, source: Any) -> bytes:
        try:
            source.save(self._path)
            return os.pread(self._fd, os.fstat(self._fd).st_size, 0)
        finally:
            os.ftruncate(self._fd, 0)

    def _save(self, source: Any, fields: int, count: int) -> bytes:
        """The decompressed body of a saved object: `fields` bytes, then a nested array of `count` numbers."""
        data = self._saved(source)
        magic, header_size, major, minor, compression, _, total = _HEADER.unpack_from(data)
        known = (magic, header_size, major, minor, total) == (_MAGIC, _HEADER.size, *self._version, len(data))
        expected = fields + _HEADER.size + _COUNT.size + 8 * count
        if not known or compression not in (_PLAIN, _ZSTD):
            raise SealFormatError("SEAL saved an object in an unknown form.")
        body = data[_HEADER.size :]
        if compression == _ZSTD:
            try:
                body = zstandard.ZstdDecompressor().decompress(body, max_output_size=expected)
            except zstandard.ZstdError as error:
                raise SealFormatError(f"What SEAL saved does not decompress to {expected} bytes: {error}.") from None
        if len(body) != expected:
            raise SealFormatError(f"SEAL saved {len(body)} bytes where {expected} were expected.")
        return body

    @staticmethod
    def _array(body: bytes, at: int, count: int) -> NDArray[np.uint64]:
        (found,) = _COUNT.unpack_from(body, at + _HEADER.size)
        if found != count:
            raise SealFormatError(f"SEAL saved {found} numbers where {count} were expected.")
        return np.frombuffer(body, "<u8", count, at + _HEADER.size + _COUNT.size).astype(np.uint64)


def _discard(fd: int, folder: str | None) -> None:
    os.close(fd)
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)


def _write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    at = 0
    while at < len(view):
        at += os.pwrite(fd, view[at:], at)
