from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from securerec.data import cache
from securerec.errors import DataError


def test_a_data_set_comes_back_equal(small) -> None:
    cache.save_dataset(small)
    back = cache.load_dataset("SMALL", remedy="-")
    assert (back.content_digest(), back.digest()) == (small.content_digest(), small.digest())
    assert (back.titles, back.licence, back.tie_rule) == (small.titles, small.licence, small.tie_rule)
    assert back.timestamps.tolist() == small.timestamps.tolist()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(st.data())
def test_a_changed_byte_is_refused_or_changes_nothing(small, data: st.DataObject) -> None:
    path = cache.save_dataset(small)
    content = bytearray(path.read_bytes())
    content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    try:
        back = cache.load_dataset("small", remedy="get it again")
    except DataError as error:
        assert str(error).endswith("get it again")
    else:
        assert back.content_digest() == small.content_digest()
        assert (back.licence, back.source, back.tie_rule) == (small.licence, small.source, small.tie_rule)


@pytest.mark.parametrize("length", [0, 4, 8, 200, -1])
def test_a_truncated_file_is_refused(small, length: int) -> None:
    path = cache.save_dataset(small)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DataError, match="damaged: get it again"):
        cache.load_dataset("small", remedy="get it again")


def test_one_data_set_under_the_name_of_another_is_refused(small) -> None:
    path = cache.save_dataset(small)
    path.rename(path.with_name("other.safetensors"))
    with pytest.raises(DataError, match="damaged"):
        cache.load_dataset("other", remedy="-")


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "a\\b", "é", "-x", "x" * 65, "a b", "a\n"])
def test_names_that_could_leave_the_folder_are_refused(name: str) -> None:
    with pytest.raises(DataError, match="cannot name a data set"):
        cache.path_of(name)


def test_the_folder_is_the_one_named_by_the_environment(home: Path, small, monkeypatch: pytest.MonkeyPatch) -> None:
    assert cache.save_dataset(small) == home / "datasets" / "small.safetensors"
    assert cache.stored_names() == ["small"]
    monkeypatch.delenv("SECUREREC_HOME")
    assert cache.home().name == "securerec"


def test_a_folder_that_cannot_be_written_is_named_with_the_way_out(home: Path, small) -> None:
    home.write_text("a file where the folder should be")
    with pytest.raises(DataError, match="cannot be written .*: set SECUREREC_HOME"):
        cache.save_dataset(small)
