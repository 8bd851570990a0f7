"""Which ring, primes and packing carry a given sum, and the proof that they do. No key, no SEAL.

The message. A vector x of `length` integers is laid into c = ceil(length / F) coefficients: coefficient i holds
m_i = scale * sum_f x[f c + i] radix^f, with radix = 2 sum_bound + 1, so that sums of fields never touch. m is added to
the first polynomial of a fresh CKKS encryption of zero under the decryptor's public key. Sums decrypt to the sum of
the m plus a noise far below scale / 2; rounding to the grid gives the integers back exactly.

The noise, after SEAL: key and mask ternary, errors centred binomial with 42 coins, hence of variance 10.5, which is
also their sub-Gaussian variance proxy. A ternary variable has proxy at most 1 (Hoeffding). In one fresh encryption of
zero a coefficient of noise is e_pk u + e_0 + e_1 s, with |s|^2 <= N, and |e_pk|^2 <= 10.5 (N + 2 sqrt(N t) + 2 t) but
for a probability e^-t (Hsu, Kakade, Zhang 2012, theorem 1). Given the key it is sub-Gaussian with proxy
  v = |e_pk|^2 + 10.5 (1 + N).
With a special prime p, SEAL encrypts modulo Q p and divides by p, which adds r_0 + r_1 s with rounding errors r within
1/2, each of proxy 1/4 (Hoeffding). The three parts depend on one another, so their deviations add:
  (sqrt(v) / p + 1/2 + sqrt(N) / 2)^2.
Here c_1 is taken as uniform before it is rounded, which ring-LWE says nobody can tell from the truth. Different
uploads are independent: proxies add over the cohort. A client that repeats its randomness is outside this proof; the
decryptor would see the noise and refuse.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

from protocols.errors import SpecError
from protocols.packing import Streams
from protocols.ring import MAX_PRIME_BITS, largest_primes
from protocols.spec import FAILURE_BITS, SumSpec, tail_factor
from protocols.transcript import tag

SECURE_BITS = {1024: 27, 2048: 54, 4096: 109, 8192: 218, 16384: 438}
"""Most bits of modulus, special prime included, for 128-bit security with a ternary key: HomomorphicEncryption.org
Security Standard (2018), table 1, classical attacks; SEAL enforces the same."""

MIN_SPECIAL_BITS = 14
"""The special prime only has to make v / p^2 vanish; more bits would be taken from the fields."""

_ERROR_VARIANCE = 10.5
_GUARD = 4
"""The scale is this many times the noise bound: honest noise stays within a quarter of the grid's step."""


@dataclass(frozen=True)
class Parameters:
    """One parameter set. `check` holds for every set that `choose` returns."""

    spec: SumSpec
    degree: int
    data_primes: tuple[int, ...]
    special_prime: int | None
    fields: int
    scale: int

    @property
    def name(self) -> str:
        """Degree and bits of the modulus, the special prime's after a plus, then the packing:
        `ternary-4096-87+16/4x21`.
        """
        special = "" if self.special_prime is None else f"+{self.special_prime.bit_length()}"
        return f"ternary-{self.degree}-{self.modulus.bit_length()}{special}/{self.fields}x{self.radix.bit_length()}"

    @property
    def key_primes(self) -> tuple[int, ...]:
        """All primes, in SEAL's order: the special one last."""
        return self.data_primes + (() if self.special_prime is None else (self.special_prime,))

    @cached_property
    def modulus(self) -> int:
        """Product of the data primes."""
        return math.prod(self.data_primes)

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

    @property
    def streams(self) -> Streams:
        """An upload: for each data prime the carrying coefficients of all c_0, then all c_1, transformed."""
        return Streams(self.data_primes, self.n_coefficients + self.n_ciphertexts * self.degree)

    def noise_bound(self, n_clients: int) -> int:
        """Largest absolute noise of a carrying coefficient in a sum, but for a probability below 2**-64 a key."""
        return _noise_bound(self.degree, self.special_prime, self.n_coefficients, n_clients)

    def digest(self) -> bytes:
        """16 bytes that differ for different specifications or parameters."""
        numbers = (self.degree, self.fields, self.scale, self.special_prime or 0, *self.data_primes)
        return tag("ckks parameters", self.spec.encode(), " ".join(map(str, numbers)).encode())

    def check(self) -> None:
        """Raise SpecError unless the set is secure by the table and carries every honest sum."""
        bits = math.prod(self.key_primes).bit_length()
        limit = SECURE_BITS.get(self.degree)
        if limit is None or bits > limit:
            raise SpecError(
                f"A modulus of {bits} bits at ring degree {self.degree} is not 128-bit secure: the table allows "
                f"{'no such degree' if limit is None else f'{limit} bits'}."
            )
        if (
            not self.data_primes
            or len(set(self.key_primes)) != len(self.key_primes)
            or any(q.bit_length() > MAX_PRIME_BITS or q % (2 * self.degree) != 1 for q in self.key_primes)
        ):
            raise SpecError(f"The primes do not fit the ring of degree {self.degree}.")
        bound = self.noise_bound(self.spec.max_clients)
        if self.scale < _GUARD * bound:
            raise SpecError(f"A scale of {self.scale} leaves no room for a noise of {bound}.")
        if self.modulus < _needed_modulus(self.radix, self.fields, self.scale, bound):
            raise SpecError(f"A modulus of {self.modulus.bit_length()} bits cannot hold {self.fields} fields.")


def _noise_bound(degree: int, special_prime: int | None, n_coefficients: int, n_clients: int) -> int:
    t = (FAILURE_BITS + 1) * math.log(2)
    key_error = _ERROR_VARIANCE * (degree + 2 * math.sqrt(degree * t) + 2 * t)
    proxy = key_error + _ERROR_VARIANCE * (1 + degree)
    if special_prime is not None:
        proxy = (math.sqrt(proxy) / special_prime + (1 + math.sqrt(degree)) / 2) ** 2
    # Half the failure probability goes to the key's error, hence t above and twice the events here.
    return math.ceil(tail_factor(2 * n_coefficients) * math.sqrt(n_clients * proxy))


def _needed_modulus(radix: int, fields: int, scale: int, noise: int) -> int:
    """All values |m| <= scale (radix^fields - 1) / 2, and the noise, need distinct residues."""
    return scale * (radix**fields - 1) + 2 * noise + 1


class _Sketch(NamedTuple):
    """A set whose data primes are not searched for yet; ordered by upload bytes, then by residues to compute."""

    upload_bytes: int
    work: int
    degree: int
    special_prime: int | None
    fields: int
    scale: int
    sizes: tuple[int, ...]


@lru_cache(maxsize=32)
def choose(spec: SumSpec) -> Parameters:
    """The set with the smallest upload, and among equals the fewest residues to compute. Raises SpecError if none fits.

    Deterministic in the spec: clients and servers derive the set themselves, a bundle only states its digest.
    """
    for sketch in sorted(_sketches(spec), key=lambda s: s[:2]):
        primes = _primes_of(sketch.sizes, sketch.degree)
        parameters = Parameters(spec, sketch.degree, primes, sketch.special_prime, sketch.fields, sketch.scale)
        try:
            parameters.check()
        except SpecError:
            continue
        return parameters
    raise SpecError(
        f"No 128-bit secure parameter set carries sums up to {spec.sum_bound}: "
        "lower value_bound, noise_sigma or max_clients."
    )


def _sketches(spec: SumSpec) -> Iterator[_Sketch]:
    radix = 2 * spec.sum_bound + 1
    for degree, limit in SECURE_BITS.items():
        for special_prime in (None, smallest_prime(MIN_SPECIAL_BITS, degree)):
            special_bits = 0 if special_prime is None else special_prime.bit_length()
            for fields in range(1, min(limit, spec.length) + 1):
                n_coefficients = -(-spec.length // fields)
                noise = _noise_bound(degree, special_prime, n_coefficients, spec.max_clients)
                scale = _GUARD * noise
                bits = _needed_modulus(radix, fields, scale, noise).bit_length()
                if bits + special_bits - 1 > limit:
                    break
                n_residues = n_coefficients + -(-n_coefficients // degree) * degree
                # Primes lie a little below a power of two, so a product of the right size may still be too small.
                for sizes in (_split(bits, degree), _split(bits + 1, degree)):
                    # SEAL takes the last of several primes for special, so a set without one has one prime only.
                    if special_prime is not None or len(sizes) == 1:
                        n_bytes = sum(-(-n_residues * size // 64) * 8 for size in sizes)
                        work = n_residues * (len(sizes) + bool(special_prime))
                        yield _Sketch(n_bytes, work, degree, special_prime, fields, scale, sizes)


def _split(bits: int, degree: int) -> tuple[int, ...]:
    """Sizes of the fewest primes with `bits` bits in all."""
    count = -(-bits // MAX_PRIME_BITS)
    if count == 2 and degree <= 4096:
        # SEAL compresses what it saves. In small rings it is done in half the time if the primes' sizes differ much;
        # in large rings it is the other way round (measured).
        second = max(24, bits - MAX_PRIME_BITS)
        return bits - second, second
    size, larger = divmod(bits, count)
    return (size + 1,) * larger + (size,) * (count - larger)


@lru_cache(maxsize=1024)
def _primes_of(sizes: tuple[int, ...], degree: int) -> tuple[int, ...]:
    """Different primes of these sizes, the largest there are; () if there are not as many."""
    primes: list[int] = []
    for size in sizes:
        found = [q for q in largest_primes(size, degree, len(sizes)) if q not in primes]
        if not found:
            return ()
        primes.append(found[0])
    return tuple(primes)


@lru_cache(maxsize=16)
def smallest_prime(bits: int, degree: int) -> int:
    """The smallest prime 1 modulo 2 degree of at least `bits` bits."""
    while not (primes := largest_primes(bits, degree, 1 << 10)):
        bits += 1
    return primes[-1]
