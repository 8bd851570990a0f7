import numpy as np

from securerec.data.interactions import Interactions
from securerec.data.splits import leave_one_out
from securerec.report.places import places

SPLIT = leave_one_out(Interactions.from_lists([[0, 1, 2, 3]], 8))
CANDIDATES = np.array([[3, 4, 5, -1]], np.int32)
SCORES = np.array([9, 8, 7, 5, 6, 5, 4, 10], np.float32)


def test_the_test_item_has_a_place_under_each_protocol() -> None:
    found = places(SCORES, SPLIT, CANDIDATES, 0, 3, (2, 10))
    assert found["held_out"] == "test" and not found["trained_on"]
    assert found["catalogue"] == {"position": 6.5, "of": 8}
    assert found["outside_training"] == {"position": 4.5, "of": 6}
    # against 4 (above) and 5 (level): place 2 or 3
    assert found["clean"] == {"position": 2.5, "of": 3, "hr@2": 0.5, "hr@10": 1.0}
    # outside training and validation: 7 and 4 above, 5 level
    assert found["full"] == {"position": 3.5, "of": 5, "hr@2": 0.0, "hr@10": 1.0}


def test_a_training_item_has_no_place_outside_training_and_other_items_none_under_a_protocol() -> None:
    trained = places(SCORES, SPLIT, CANDIDATES, 0, 1, (10,))
    assert trained["trained_on"] and trained["outside_training"] is None and trained["clean"] is None
    assert places(SCORES, SPLIT, CANDIDATES, 0, 2, (10,))["held_out"] == "validation"
    other = places(SCORES, SPLIT, CANDIDATES, 0, 7, (10,))
    assert other["outside_training"] == {"position": 1.0, "of": 6} and other["held_out"] is None is other["full"]
