import hmac
import pickle

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st

from securerec.errors import PrivacyError
from securerec.privacy.randomness import NoiseKey


def words_by_hand(secret: bytes, label: str, round_number: int, client: int, n: int) -> list[int]:
    """RFC 5869's expand step with the standard library, then AES one counter block at a time."""
    name = label.encode()
    info = b"securerec noise" + b"".join(x.to_bytes(8, "big") for x in (len(name), round_number, client)) + name
    subkey = hmac.digest(secret, info + b"\x01", "sha256")
    block = Cipher(algorithms.AES256(subkey), modes.ECB()).encryptor()
    keystream = b"".join(block.update(counter.to_bytes(16, "big")) for counter in range(n // 2 + 1))
    return [int.from_bytes(keystream[8 * i : 8 * i + 8], "little") for i in range(n)]


def test_a_stream_is_hkdf_and_aes_in_counter_mode() -> None:
    key = NoiseKey.from_seed(7)
    secret = key.to_bytes()[1:]
    assert key.stream("noise", 3, 942).uint64(9001).tolist() == words_by_hand(secret, "noise", 3, 942, 9001)


@given(st.lists(st.integers(0, 9000), max_size=5))
def test_words_do_not_depend_on_how_they_are_asked_for(cuts: list[int]) -> None:
    key = NoiseKey.from_seed(1)
    stream = key.stream("noise", 0, 0)
    pieces = np.concatenate([stream.uint64(n) for n in cuts] or [np.empty(0, np.uint64)])
    assert pieces.dtype == np.uint64
    np.testing.assert_array_equal(pieces, key.stream("noise", 0, 0).uint64(sum(cuts)))


def test_every_label_round_and_client_has_its_own_stream() -> None:
    key = NoiseKey.from_seed(1)
    triples = [(label, r, c) for label in ("", "a", "ab", "\0", "b\0") for r in range(4) for c in range(4)]
    firsts = {int(key.stream(*triple).uint64(1)[0]) for triple in triples}
    assert len(firsts) == len(triples)


def test_another_key_gives_another_stream() -> None:
    firsts = {int(key.stream("a", 0, 0).uint64(1)[0]) for key in [NoiseKey.from_os(), NoiseKey.from_os()]}
    firsts |= {int(NoiseKey.from_seed(seed).stream("a", 0, 0).uint64(1)[0]) for seed in (0, 1)}
    assert len(firsts) == 4


def test_a_stored_key_comes_back_with_its_mark() -> None:
    for key in (NoiseKey.from_os(), NoiseKey.from_seed(5)):
        again = NoiseKey.from_bytes(key.to_bytes())
        assert again.reproducible == key.reproducible and again.source == ("seed" if key.reproducible else "os")
        assert again.stream("x", 1, 2).uint64(4).tolist() == key.stream("x", 1, 2).uint64(4).tolist()


@pytest.mark.parametrize("stored", [b"", b"S" + bytes(31), b"O" + bytes(33), b"X" + bytes(32), bytes(33)])
def test_a_damaged_key_is_refused(stored: bytes) -> None:
    with pytest.raises(PrivacyError, match="damaged"):
        NoiseKey.from_bytes(stored)


def test_a_key_of_another_length_is_refused_without_being_shown() -> None:
    with pytest.raises(PrivacyError) as caught:
        NoiseKey(b"hunter2", reproducible=False)
    assert "hunter2" not in str(caught.value)


def test_secrets_hide_when_printed_and_are_not_pickled() -> None:
    key = NoiseKey.from_seed(3)
    for secret in (key, key.stream("a", 0, 0)):
        assert "hidden" in repr(secret) and key.to_bytes()[1:].hex() not in repr(secret)
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(secret)
