import io
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib import format as npy

from securerec.data.npz import integer_columns
from securerec.errors import DataError

NOT_WHOLE = "not a one-dimensional array of whole numbers as numpy.savez writes it"


def archive(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as opened:
        for name, content in members.items():
            opened.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def stored(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    npy.write_array(buffer, array, version=(1, 0))
    return buffer.getvalue()


def claimed(shape: tuple[int, ...], body: bytes, dtype: str = "<i8") -> bytes:
    """An array whose header says `shape`, whatever the body."""
    buffer = io.BytesIO()
    npy.write_array_header_1_0(buffer, {"descr": dtype, "fortran_order": False, "shape": shape})
    return buffer.getvalue() + body


def read(content: bytes, *, most_bytes: int = 10_000) -> np.ndarray:
    return integer_columns("f.npz", archive(a=content), ("a",), most_bytes=most_bytes)[0]


@pytest.mark.parametrize("dtype", ["<i2", ">i4", "<u1", "<u8", "<i8"])
def test_whole_numbers_of_any_width_and_byte_order_come_back(dtype: str) -> None:
    numbers = np.array([0, 1, 100, 127], dtype=dtype)
    assert read(stored(numbers)).tolist() == [0, 1, 100, 127]


def test_arrays_written_by_savez_come_back(tmp_path: Path) -> None:
    for save in (np.savez, np.savez_compressed):
        save(tmp_path / "f.npz", a=np.arange(100_003) - 7, b=np.zeros(0, np.int16))
        content = (tmp_path / "f.npz").read_bytes()
        a, b = integer_columns("f.npz", content, ("a", "b"), most_bytes=1 << 20)
        assert np.array_equal(a, np.arange(100_003) - 7) and b.shape == (0,) and a.dtype == b.dtype == np.int64


def test_columns_come_in_the_order_asked_for_and_others_stay_unread() -> None:
    content = archive(a=stored(np.arange(2)), b=stored(np.arange(3)), c=b"\x80\x04 a pickle")
    assert [column.tolist() for column in integer_columns("f.npz", content, ("b", "a"), most_bytes=999)] == [
        [0, 1, 2],
        [0, 1],
    ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (stored(np.zeros(3)), NOT_WHOLE),
        (stored(np.array([True, False])), NOT_WHOLE),
        (stored(np.zeros((2, 2), np.int64)), NOT_WHOLE),
        (stored(np.int64(3).reshape(())), NOT_WHOLE),
        (stored(np.array(["a"])), NOT_WHOLE),
        (stored(np.zeros(2, [("a", "<i4")])), NOT_WHOLE),
        (stored(np.array([{}], dtype=object)), NOT_WHOLE),
        (claimed((-1,), b""), NOT_WHOLE),
        (b"", NOT_WHOLE),
        (b"\x93NUMPY\x01\x00\xff\xff{", NOT_WHOLE),
        (stored(np.arange(4))[:40], NOT_WHOLE),
        (b"\x93NUMPY\x02\x00" + stored(np.arange(4))[8:], NOT_WHOLE),
        (stored(np.arange(4)).replace(b"(4,)", b"f()"), NOT_WHOLE),
        (stored(np.arange(4)) + b"\0", "33 bytes where its header promises 4 numbers of 8"),
        (stored(np.arange(4))[:-1], "31 bytes where its header promises 4 numbers of 8"),
        (claimed((10**14,), b"12345678"), "8 bytes where its header promises 100000000000000 numbers"),
        (stored(np.array([2**63], np.uint64)), "holds a number above"),
    ],
)
def test_anything_else_is_refused_by_file_and_array(content: bytes, message: str) -> None:
    with pytest.raises(DataError, match=f"f.npz, a: {message}"):
        read(content)


def test_an_array_that_unpacks_beyond_the_limit_is_refused() -> None:
    bomb = stored(np.zeros(500_000, np.int64))
    assert len(archive(a=bomb)) < 20_000
    with pytest.raises(DataError, match="f.npz: a.npy unpacks to more than the 1000 bytes"):
        read(bomb, most_bytes=1000)


@given(st.binary(max_size=200))
def test_random_bytes_never_do_anything_but_raise_data_error(content: bytes) -> None:
    for body in (content, stored(np.arange(3))[:-20] + content):
        try:
            read(body)
        except DataError:
            continue


@given(st.integers(0, 159), st.integers(0, 255))
def test_one_changed_byte_gives_numbers_or_data_error(position: int, value: int) -> None:
    content = bytearray(stored(np.arange(4)))
    content[position] = value
    try:
        assert read(bytes(content)).ndim == 1
    except DataError as error:
        assert "\n" not in str(error)
