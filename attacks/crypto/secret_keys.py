"""Attempts on secret keys: from what is released, and by an upload that makes the sum show the key."""

import numpy as np
from numpy.typing import NDArray

from attacks.crypto.attempts import CryptoAttack, Outcome, add_attack
from attacks.crypto.crafted_upload import recover_key
from attacks.crypto.key_recovery import from_doubles, from_integers
from attacks.crypto.parties import Parties
from protocols import Address, RoundAborted, Setup, SumSpec
from protocols.ckks.parameters import choose
from protocols.ckks.wire import public_key_streams
from protocols.codec import Kind, read_frame
from protocols.committee.wire import SALT_BYTES, parameters_of

_RELEASED = SumSpec(36_000, 8, 2, 127, 2.0)
"""Long enough for whole ciphertexts, of which the attack solves each."""

_CRAFTED = SumSpec(9000, 8, 2, 1000, 20.0)
"""Shows most of a key in one round."""

_DEGREE, _PRIME_BITS = 4096, (60, 49)


def _from_tenseal(protocol: str) -> Outcome:
    # TenSEAL takes a moment to load, and every listing of the attacks imports this module.
    import tenseal
    import tenseal.sealapi as seal

    context = tenseal.context(tenseal.SCHEME_TYPE.CKKS, _DEGREE, coeff_mod_bit_sizes=list(_PRIME_BITS))
    context.global_scale = 2**40
    primes = [prime.value() for prime in seal.CoeffModulus.Create(_DEGREE, list(_PRIME_BITS))][:-1]
    values = np.random.default_rng(0).uniform(-1, 1, (2, _DEGREE // 2))
    vectors = [tenseal.ckks_vector(context, row) for row in values]
    released = [(vector.serialize(), vector.decrypt()) for vector in vectors]
    found = from_doubles(released, degree=_DEGREE, data_primes=primes)
    if found.key is None:
        return False, f"{found.solved} systems were solved, and none gave a key."
    return True, f"The whole secret key, {len(found.key)} coefficients, follows from two released vectors."


add_attack(
    CryptoAttack(
        name="key from released doubles",
        adversary="whoever sees a ciphertext and the doubles it decrypted to",
        source="Li, Micciancio, EUROCRYPT 2021",
        summary="control: TenSEAL's own doubles must give its key away, or the next attempt proves nothing",
        protocols=("tenseal",),
        foreseen=("tenseal",),
        run=_from_tenseal,
    )
)


def _from_released(protocol: str) -> Outcome:
    parties = Parties(protocol, _RELEASED)
    layout = choose(_RELEASED).streams
    released: list[tuple[bytes, NDArray[np.int64]]] = []
    for number in (1, 2):
        opened = parties.open(number)
        parties.step(opened)
        request = read_frame(opened.outbox()[Address("decryptor", 0)])
        released.append((bytes(request.body)[-layout.n_bytes :], parties.finish(opened).values))
    found = from_integers(released, choose(_RELEASED))
    if found.key is not None:
        return True, "The whole secret key follows from released sums."
    return False, (
        f"{found.solved} systems were solved, and none gave a key: at most {found.ternary:.1%} of a solution's "
        "coefficients are -1, 0 or 1."
    )


add_attack(
    CryptoAttack(
        name="key from released sums",
        adversary="a curious server, or whoever sees summed ciphertexts and the integers they opened to",
        source="Li, Micciancio, EUROCRYPT 2021",
        summary="solves for the decryptor's key, as if the released integers were the exact decryptions",
        protocols=("ckks",),
        foreseen=(),
        run=_from_released,
    )
)


def _crafted(protocol: str) -> Outcome:
    parties = Parties(protocol, _CRAFTED)
    # The others are honest, with values well below their bound, as updates are.
    parties.values = {client: values // 8 for client, values in parties.values.items()}
    return _crafted_ckks(parties) if protocol == "ckks" else _crafted_committee(parties)


def _crafted_ckks(parties: Parties) -> Outcome:
    parameters = choose(parties.spec)
    published = Setup.from_bytes(parties.run.setup).public_keys[: public_key_streams(parameters).n_bytes]
    rounds = 0

    def send(body: bytes) -> NDArray[np.int64]:
        nonlocal rounds
        rounds += 1
        opened = parties.open(rounds)

        def craft(to: Address, answer: bytes) -> bytes:
            if to.role != "client" or to.number != 0:
                return answer
            return parties.joined[0].session.write(
                Kind.UPLOAD, Address("server", 0), body, round_number=rounds, broadcast=opened.broadcast.digest
            )

        parties.step(opened, answered=craft)
        return parties.finish(opened).values

    amplitude = parties.spec.sum_bound_of(parties.spec.max_clients) // 2
    key = recover_key(parameters, published, send, amplitude=amplitude)
    if key is None:
        return False, f"{rounds} rounds did not show the key."
    return True, f"The sums opened in {rounds} round(s) show the decryptor's secret key: it opens every upload."


def _crafted_committee(parties: Parties) -> Outcome:
    """The second component is the round's own, so the crafted one stands in the first: c0 of the client's choice."""
    opened = parties.open()
    parameters = parameters_of(opened.session)
    end = SALT_BYTES + parameters.ciphertext.n_bytes

    def craft(to: Address, answer: bytes) -> bytes:
        if to.number != 0:
            return answer
        frame = read_frame(answer)
        body = bytes(frame.body[:SALT_BYTES]) + bytes(end - SALT_BYTES) + bytes(frame.body[end:])
        return parties.joined[0].session.write(
            Kind.UPLOAD, Address("server", 0), body, round_number=1, broadcast=opened.broadcast.digest
        )

    parties.step(opened, answered=craft)
    try:
        opened_sum = parties.finish(opened)
    except RoundAborted as aborted:
        return False, f"An upload has no second component to choose. {aborted}"
    others = parties.sum(set(parties.clients) - {0})
    shown = np.abs(opened_sum.values - others).max()
    return bool(shown > parties.spec.upload_bound), f"The sum opened, {shown} off the sum of the others."


add_attack(
    CryptoAttack(
        name="crafted upload (0, K)",
        adversary="one enrolled client that learns the opened sums",
        source="attacks/crypto/crafted_upload.py; the README's account of `ckks`",
        summary="an upload whose second component is K makes the opened sum show K times the secret key",
        protocols=("ckks", "ckks-committee"),
        foreseen=("ckks",),
        run=_crafted,
    )
)
