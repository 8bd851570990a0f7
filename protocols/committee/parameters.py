"""Which ring, primes and packing carry a given sum for a committee, and the proof that they do. No key, no party.

The message is laid out as in `protocols.ckks.parameters`: coefficient i of c = ceil(length / fields) holds
m_i = scale * sum_f x[f c + i] radix^f with radix = 2 sum_bound + 1. Client u draws one key s_u and an error e_u for
each ciphertext, both discrete Gaussians of deviation SIGMA, and sends c_u = -(a s_u) + e_u + m_u. Under S = sum s_u
the sum of the c_u opens to the sum of the m_u plus the sum of the e_u: no key multiplies an error, none is switched.

The noise. A discrete Gaussian is sub-Gaussian with proxy SIGMA^2 (Canonne, Kamath, Steinke 2020). The lowest `dropped`
bits of c_u do not travel; replaced by their mean they cost an error sum_k 2^k (b_k - 1/2) over k < dropped, each term
plus or minus 2^k / 2 with equal chance, hence of proxy (4^dropped - 1) / 12 in all. Here c_u is taken as uniform modulo
q, which ring-LWE says nobody can tell from the truth; that q is no power of two changes a bit's chance by a factor of
at most 1 + 2^dropped / q, which the spare factor of two in `noise_bound` covers. Clients are independent: proxies add.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from protocols.ckks.parameters import SECURE_BITS
from protocols.errors import SpecError
from protocols.key_stream import SEED_BYTES
from protocols.packing import Streams
from protocols.ring import MAX_PRIME_BITS, largest_primes
from protocols.spec import FAILURE_BITS, SumSpec, tail_factor
from protocols.transcript import tag

HINT_SIGMA = 3.2
"""Deviation of the errors that the table of moduli was computed for, after the hint of `docs/committee.md` is paid."""

SIGMA = HINT_SIGMA * math.sqrt(2)
"""Deviation of keys and errors. The opened sum of keys and errors leaves a pair of honest clients SIGMA / sqrt(2)."""

SECURITY_BITS = 128
SOURCE = "HomomorphicEncryption.org Security Standard (2018), table 1, classical attacks, ternary secrets"
"""Stricter than the same table's column for secrets drawn like errors, which is the case here."""

TAG_BYTES = 16
"""Of ChaCha20-Poly1305."""

CHECK_BITS = 39
"""A client whose shares lie on no polynomial passes the check of them with a probability below 2**-CHECK_BITS."""

_GUARD = 4
"""The scale is this many times the noise bound: an unrelated residue passes for noise every second time only."""

_MAX_DROPPED = 12


@dataclass(frozen=True)
class Proof:
    """Why a parameter set carries its sums: each pair's first number is at most the second.

    noise, step: the largest noise of a sum but for a probability of 2**-failure_bits over the run, and the grid's step
    divided by _GUARD. message, modulus: distinct residues that sums and noise need, and those there are.
    modulus_bits, table_bits: bits of the modulus, and what the table allows at this degree for security_bits against
    errors of deviation hint_sigma, which is what keys and errors of deviation sigma leave after the hint.
    """

    noise: int
    step: int
    message: int
    modulus: int
    modulus_bits: int
    table_bits: int
    sigma: float = SIGMA
    hint_sigma: float = HINT_SIGMA
    failure_bits: int = FAILURE_BITS
    security_bits: int = SECURITY_BITS
    source: str = SOURCE

    @property
    def holds(self) -> bool:
        return self.noise <= self.step and self.message <= self.modulus and self.modulus_bits <= self.table_bits


@dataclass(frozen=True)
class Parameters:
    """One parameter set for a committee of `members`, of whom `threshold` open. Refused unless `proof` holds.

    degree: of the ring. primes: each 1 modulo 2 degree. fields: values in a coefficient. scale: the grid's step.
    dropped: low bits of each coefficient that are not sent; 0 unless there is one prime.
    """

    spec: SumSpec
    members: int
    threshold: int
    degree: int
    primes: tuple[int, ...]
    fields: int
    scale: int
    dropped: int

    def __post_init__(self) -> None:
        """Raises SpecError for a set that is not secure by the table or does not carry every honest sum."""
        if not 1 <= self.threshold <= self.members < 256:
            raise SpecError(f"A committee of {self.members} members cannot have a threshold of {self.threshold}.")
        if (
            not self.primes
            or len(set(self.primes)) != len(self.primes)
            or any(q.bit_length() > MAX_PRIME_BITS or q % (2 * self.degree) != 1 for q in self.primes)
        ):
            raise SpecError(f"The primes do not fit the ring of degree {self.degree}.")
        if not 0 <= self.dropped <= (_MAX_DROPPED if len(self.primes) == 1 else 0):
            raise SpecError(f"{self.dropped} dropped bits do not fit a modulus of {len(self.primes)} primes.")
        proof = self.proof()
        if not proof.holds:
            raise SpecError(f"The parameter set {self.name} does not carry the sum securely: {proof}.")

    def __str__(self) -> str:
        return self.name

    @property
    def name(self) -> str:
        """Degree and bits of the modulus, then what is packed: `gauss-2048-50/2x18-5`."""
        packing = f"{self.fields}x{self.radix.bit_length()}-{self.dropped}"
        return f"gauss-{self.degree}-{self.modulus.bit_length()}/{packing}"

    @cached_property
    def modulus(self) -> int:
        return math.prod(self.primes)

    @property
    def radix(self) -> int:
        """Distance of neighbouring fields in a coefficient."""
        return 2 * self.spec.sum_bound + 1

    @property
    def n_coefficients(self) -> int:
        """Coefficients that carry fields, over all ciphertexts."""
        return -(-self.spec.length // self.fields)

    @property
    def n_ciphertexts(self) -> int:
        return -(-self.n_coefficients // self.degree)

    @cached_property
    def ciphertext(self) -> Streams:
        """The carrying coefficients of all ciphertexts, one stream a prime, without the dropped bits."""
        return Streams(tuple((q - 1 >> self.dropped) + 1 for q in self.primes), self.n_coefficients)

    @cached_property
    def total(self) -> Streams:
        """Sums of those, modulo the primes."""
        return Streams(self.primes, self.n_coefficients)

    @cached_property
    def share(self) -> Streams:
        """A member's share of a key, transformed, and behind it of what blinds the key's projections."""
        return Streams(self.primes, self.degree + self.checks)

    @cached_property
    def opening(self) -> Streams:
        """A member's share of a sum of keys."""
        return Streams(self.primes, self.degree)

    @cached_property
    def checks(self) -> int:
        """Projections of each share, for each prime."""
        return _n_checks(min(q.bit_length() for q in self.primes))

    def projections(self, n_clients: int) -> Streams:
        """What a member returns of n_clients shares: `checks` residues of each, one client's after another's."""
        return Streams(self.primes, self.checks * n_clients)

    def box_bytes(self, member: int) -> int:
        """Bytes of what a client sends to the committee's member number `member`, counted from 0."""
        return TAG_BYTES + (SEED_BYTES if member < self.threshold - 1 else self.share.n_bytes)

    @cached_property
    def upload_bytes(self) -> int:
        """Bytes of an upload's body: ciphertext and all boxes."""
        return self.ciphertext.n_bytes + sum(map(self.box_bytes, range(self.members)))

    def noise_bound(self, n_clients: int) -> int:
        """Largest noise of a carrying coefficient in a sum, but for a probability below 2**-64 over a run."""
        return _noise_bound(self.dropped, self.n_coefficients, n_clients)

    def proof(self) -> Proof:
        """The numbers to be compared for the largest cohort; whether they compare well is `Proof.holds`."""
        noise = self.noise_bound(self.spec.max_clients)
        return Proof(
            noise=noise,
            step=self.scale // _GUARD,
            message=_needed_modulus(self.radix, self.fields, self.scale, noise),
            modulus=self.modulus,
            modulus_bits=self.modulus.bit_length(),
            table_bits=SECURE_BITS.get(self.degree, 0),
        )

    def digest(self) -> bytes:
        """16 bytes that differ for different specifications, committees or parameters."""
        numbers = (self.members, self.threshold, self.degree, self.fields, self.scale, self.dropped, *self.primes)
        return tag("ckks-committee parameters", self.spec.encode(), " ".join(map(str, numbers)).encode())


def _n_checks(prime_bits: int) -> int:
    """How many projections modulo primes of at least that many bits make CHECK_BITS."""
    return -(-CHECK_BITS // (prime_bits - 1))


def _noise_bound(dropped: int, n_coefficients: int, n_clients: int) -> int:
    proxy = n_clients * (SIGMA**2 + (4**dropped - 1) / 12)
    # One more: the mean of an odd number of dropped halves is no whole number.
    return math.ceil(tail_factor(2 * n_coefficients) * math.sqrt(proxy)) + 1


def _needed_modulus(radix: int, fields: int, scale: int, noise: int) -> int:
    """All values |m| <= scale (radix^fields - 1) / 2, and the noise, need distinct residues."""
    return scale * (radix**fields - 1) + 2 * noise + 1


class _Sketch(NamedTuple):
    upload_bits: int
    degree: int
    bits: int
    fields: int
    scale: int
    dropped: int


@lru_cache(maxsize=32)
def choose(spec: SumSpec, *, members: int, threshold: int) -> Parameters:
    """The set with the smallest upload, shares included. Raises SpecError if none carries the sum.

    Deterministic: every party derives the set itself and compares digests.
    """
    for sketch in sorted(_sketches(spec, members, threshold)):
        _, degree, bits, fields, scale, dropped = sketch
        # Primes lie a little below a power of two, so a product of `bits` bits may still be too small.
        for room in (bits, bits + 1):
            primes = _primes(room, degree)
            try:
                return Parameters(spec, members, threshold, degree, primes, fields, scale, dropped)
            except SpecError:
                continue
    raise SpecError(
        f"No 128-bit secure parameter set carries sums up to {spec.sum_bound}: "
        "lower value_bound, noise_sigma or max_clients."
    )


def _sketches(spec: SumSpec, members: int, threshold: int) -> Iterator[_Sketch]:
    radix = 2 * spec.sum_bound + 1
    for degree, limit in SECURE_BITS.items():
        for fields in range(1, min(limit, spec.length) + 1):
            n_coefficients = -(-spec.length // fields)
            for dropped in range(_MAX_DROPPED + 1):
                noise = _noise_bound(dropped, n_coefficients, spec.max_clients)
                scale = _GUARD * noise
                bits = _needed_modulus(radix, fields, scale, noise).bit_length()
                if bits > limit or (dropped and bits > MAX_PRIME_BITS):
                    break
                checks = _n_checks(bits // -(-bits // MAX_PRIME_BITS))
                shares = (members - threshold + 1) * (degree + checks) * bits
                yield _Sketch(n_coefficients * (bits - dropped) + shares, degree, bits, fields, scale, dropped)


def _primes(bits: int, degree: int) -> tuple[int, ...]:
    """The fewest primes with `bits` bits in all, sizes as equal as can be; () where there are not as many."""
    count = -(-bits // MAX_PRIME_BITS)
    size, larger = divmod(bits, count)
    found: list[int] = []
    for width, n in ((size + 1, larger), (size, count - larger)):
        found += largest_primes(width, degree, n) if n else []
    return tuple(found) if len(found) == count else ()
