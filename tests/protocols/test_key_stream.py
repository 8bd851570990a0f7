import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import ECB

from protocols import key_stream as module
from protocols.key_stream import KeyStreams, key_stream


def slow(seed: bytes, n: int) -> bytes:
    """Block after block, from the definition of the counter mode."""
    block = Cipher(AES(seed), ECB()).encryptor()
    return b"".join(block.update((2 + i).to_bytes(16, "big")) for i in range(-(-n // 16)))[:n]


@pytest.mark.parametrize("n", [0, 1, 16, 17, 5000])
def test_a_key_stream_is_the_counter_mode_from_block_two(n: int) -> None:
    for seed in (bytes(32), bytes(range(32))):
        assert bytes(key_stream(seed, n)) == slow(seed, n)


@pytest.mark.parametrize("into", [True, False])
def test_streams_are_written_over_one_another_and_erased(into: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_GCM_INTO", into and module._GCM_INTO)
    streams = KeyStreams(1000)
    for seed in (bytes(32), bytes(range(32)), bytes(32)):
        streams.hold(seed)
        assert bytes(streams.held) == slow(seed, 1000)
    streams.erase()
    assert not any(streams._held)


def test_a_stream_shows_nothing_of_itself() -> None:
    streams = KeyStreams(16)
    streams.hold(bytes(32))
    assert repr(streams) == "KeyStreams(16)"


@pytest.mark.parametrize("size", [0, 31, 33])
def test_a_seed_has_32_bytes(size: int) -> None:
    with pytest.raises(ValueError, match="key"):
        key_stream(bytes(size), 10)
