from dataclasses import replace

import numpy as np
import pytest

from securerec.data.dataset import Dataset
from securerec.data.splits import leave_one_out
from securerec.errors import DataError
from securerec.report.lookup import item_index, median_user


def test_an_item_is_found_by_identifier_first_and_by_title_in_any_case(toy: Dataset) -> None:
    assert item_index(toy, "i7") == 7
    assert item_index(toy, " film [12] ") == 12
    taken = replace(toy, titles=("i9", *toy.titles[1:]))
    assert item_index(taken, "i9") == 9


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Film [4", r"no item 'Film \[4' among its 50: the nearest are i4 \(Film \[4\]\)"),
        ("Flim [44]", r"the nearest are i44 \(Film \[44\]\)"),
        ("i99", "the nearest are i9 "),
        ("???????", r"items look like i0 \(Film \[0\]\)"),
        ("", r"items look like i0"),
    ],
)
def test_an_unknown_item_is_answered_with_the_nearest(toy: Dataset, text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        item_index(toy, text)


def test_a_title_of_two_items_is_refused_with_both(toy: Dataset) -> None:
    twins = replace(toy, titles=("Twin", "TWIN", *toy.titles[2:]))
    with pytest.raises(DataError, match=r"2 items of the title 'twin': .* i0 \(Twin\), i1 \(TWIN\)"):
        item_index(twins, "twin")


def test_the_median_user_has_as_many_above_as_below(toy: Dataset) -> None:
    split = leave_one_out(toy.interactions)
    counts = split.train.counts()
    chosen = counts[median_user(split)]
    assert (counts < chosen).sum() <= len(counts) / 2 and (counts > chosen).sum() <= len(counts) / 2
    assert median_user(split) == int(np.flatnonzero(counts == chosen)[0])
