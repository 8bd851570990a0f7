import re

import pytest

from securerec.data.amazon_video import from_ratings
from securerec.errors import DataError

DAY = 86400


def product(number: int) -> str:
    return f"B{number:09d}"


RATINGS = [
    # user, product, rating, day; the first has five, the second six, the third four
    ("A2USER000001", 3, 5, 14000), ("A1USER0000002", 3, 1, 14000), ("A2USER000001", 1, 4, 14001),
    ("A1USER0000002", 1, 2, 14005), ("A1USER0000002", 2, 3, 14005), ("A1USER0000002", 7, 3, 14005),
    ("A2USER000001", 5, 5, 13999), ("A2USER000001", 7, 5, 14003), ("A2USER000001", 2, 5, 14002),
    ("A1USER0000002", 5, 5, 14004), ("A1USER0000002", 6, 5, 13000), ("A3USER000003", 8, 5, 13000),
    ("A3USER000003", 1, 5, 13000), ("A3USER000003", 2, 5, 13000), ("A3USER000003", 3, 5, 13000),
]  # fmt: skip
TEXT = "".join(f"{user},{product(item)},{rating}.0,{day * DAY}\n" for user, item, rating, day in RATINGS).encode()


def test_active_users_products_oldest_first_and_of_a_day_the_lowest_is_the_newest() -> None:
    dataset = from_ratings(TEXT)
    own = [[dataset.item_ids[item] for item in dataset.interactions.of(user)] for user in range(2)]
    assert dataset.user_ids == ("A1USER0000002", "A2USER000001")
    assert own == [[product(k) for k in (6, 3, 5, 7, 2, 1)], [product(k) for k in (5, 3, 1, 2, 7)]]
    assert dataset.timestamps[:3].tolist() == [13000 * DAY, 14000 * DAY, 14004 * DAY]
    assert not dataset.has_repeats


def test_everybodys_ratings_in_any_order_give_the_same_as_those_of_active_users() -> None:
    lines = TEXT.splitlines(keepends=True)
    active = b"".join(line for line in lines if not line.startswith(b"A3"))
    assert from_ratings(b"".join(lines[::-1])).content_digest() == from_ratings(active).content_digest()
    assert from_ratings(TEXT.replace(b"\n", b"\r\n")).content_digest() == from_ratings(active).content_digest()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b",5.0,", b",5.5,"), (b",5.0,", b",6.0,"), (b"A2USER000001", b"a2user000001"), (b"B000000003", b"B3"),
        (b",5.0", b""), (b"1209600000", b"12096e5"), (b"1209600000", b"-1209600000"), (b"A2USER000001", b"A2\x00SER01"),
    ],
)  # fmt: skip
def test_a_damaged_line_is_refused_by_file_and_line(old: bytes, new: bytes) -> None:
    assert old in TEXT.splitlines()[0]
    with pytest.raises(DataError, match=re.escape("ratings.dat, line 1: not a user, a product")):
        from_ratings(TEXT.replace(old, new, 1))


def test_a_pair_rated_twice_and_a_file_without_active_users_are_refused() -> None:
    with pytest.raises(DataError, match="a user rated a product twice"):
        from_ratings(TEXT + TEXT.splitlines(keepends=True)[0])
    for content in (b"", b"\n\n", TEXT[: TEXT.index(b"A1")]):
        with pytest.raises(DataError, match="no user gave at least 5 ratings"):
            from_ratings(content)
