"""What is true of the people in a run, for the auditor."""

from dataclasses import replace

import numpy as np

from securerec.audit.recording import truth_of
from securerec.data.dataset import Dataset


def test_somebody_of_whom_an_attribute_is_not_known_is_in_no_class_of_it(toy: Dataset) -> None:
    genders = tuple("" if user % 4 == 0 else "FM"[user % 2] for user in range(24))
    ages = tuple("" if user in (3, 7) else "30" if user % 2 else "60" for user in range(24))
    people = replace(toy, user_attributes={"gender": genders, "age": ages, "occupation": ("",) * 24})
    truth = truth_of(people, toy.interactions)
    gender, age, occupation = (truth.attributes[name] for name in ("gender", "age band", "occupation"))
    assert gender.names == ("F", "M") and np.array_equal(np.flatnonzero(gender.codes < 0), np.arange(0, 24, 4))
    assert all(gender.names[code] == genders[user] for user, code in enumerate(gender.codes) if code >= 0)
    assert np.flatnonzero(age.codes < 0).tolist() == [3, 7]
    assert {age.names[code] for code in age.codes if code >= 0} == {"25 to 34", "56 or more"}
    assert occupation.names == () and (occupation.codes == -1).all()
    nothing = replace(toy, user_attributes={"age": ("",) * 24})
    assert "age band" not in truth_of(nothing, toy.interactions).attributes
