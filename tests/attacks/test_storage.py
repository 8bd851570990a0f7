import contextlib
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save as save_tensors

from attacks import storage
from attacks.case import LocalTraining, Public
from attacks.errors import ViewError
from attacks.views import DenseUploads, Labels, OpenedSum, RowUploads, Truth, UploadView

HEADER = {"schema": "upload-view/1", "kind": "unprotected_upload", "layout": "rows", "round": 3, "population": 9}


def arrays():
    rng = np.random.default_rng(0)
    return {
        "table": rng.normal(size=(6, 2)).astype(np.float32),
        "popularity": np.arange(6, dtype=np.int64),
        "clients": np.array([11, 5]),
        "offsets": np.array([0, 2, 3]),
        "rows": np.array([4, 0, 4], dtype=np.int32),
        "delta": rng.normal(size=(3, 2)).astype(np.float32),
    }


def safetensors_file(header=HEADER, **changed):
    text = header if isinstance(header, str) else json.dumps(header)
    return save_tensors({**arrays(), **changed}, metadata={"header": text})


def npz_file(header=HEADER, **changed):
    file = io.BytesIO()
    np.savez_compressed(file, header=json.dumps(header), **{**arrays(), **changed})
    return file.getvalue()


def views():
    a = arrays()
    common = {"table": a["table"], "popularity": a["popularity"], "population": 9, "round_number": 3}
    rows = RowUploads(a["clients"], a["offsets"], a["rows"], a["delta"])
    dense = DenseUploads(a["clients"], np.ones((2, 6, 2), dtype=np.float32))
    return [
        UploadView(kind="unprotected_upload", uploads=rows, **common),
        UploadView(kind="noised_upload", uploads=dense, **common),
        UploadView(kind="opened_sum", uploads=OpenedSum(a["clients"], a["table"]), **common),
    ]


@pytest.mark.parametrize("view", views(), ids=lambda view: view.kind)
def test_view_comes_back_from_its_bytes_as_it_was(view):
    back = storage.view_from_bytes(storage.to_bytes(view))
    assert (back.kind, back.round_number, back.population) == (view.kind, view.round_number, view.population)
    assert type(back.uploads) is type(view.uploads)
    assert np.array_equal(back.table, view.table) and np.array_equal(back.clients, view.clients)
    assert np.array_equal(np.concatenate(list(back.blocks())), np.concatenate(list(view.blocks())))


def test_npz_and_safetensors_say_the_same():
    first, second = storage.view_from_bytes(safetensors_file()), storage.view_from_bytes(npz_file())
    assert storage.to_bytes(first) == storage.to_bytes(second)


def test_truth_comes_back_and_is_no_view(tmp_path):
    truth = Truth.from_lists(6, np.array([5, 11]), [np.array([2, 1, 2]), np.array([0])])
    storage.save(tmp_path / "truth.safetensors", truth)
    back = storage.load_truth(tmp_path / "truth.safetensors")
    assert back.positives(np.array([11, 5])).nonzero()[1].tolist() == [0, 1, 2]
    with pytest.raises(ViewError, match="truth.safetensors: the header lacks"):
        storage.load_view(tmp_path / "truth.safetensors")


def test_attributes_come_back_with_the_truth():
    gender = Labels(("F", "M"), np.array([1, -1], dtype=np.int16))
    truth = Truth.from_lists(6, np.array([5, 11]), [np.array([2]), np.array([0])], {"gender": gender})
    back = storage.truth_from_bytes(storage.to_bytes(truth))
    assert back.attributes["gender"].names == ("F", "M")
    assert back.labels("gender", np.array([11, 5])).tolist() == [-1, 1]


@pytest.mark.parametrize("codes", [[0, 2], [-2, 0], [0, 0, 0]])
def test_attribute_that_contradicts_itself_is_refused(codes):
    with pytest.raises(ViewError, match="codes must lie between|labels 3 of 2 clients"):
        labels = Labels(("F", "M"), np.array(codes, dtype=np.int16))
        Truth.from_lists(6, np.array([5, 11]), [np.array([2]), np.array([0])], {"gender": labels})


@pytest.mark.parametrize("training", [None, LocalTraining(0.1, 1345.6, 256, 4, 1)])
@pytest.mark.parametrize("known", [True, False])
def test_what_is_public_comes_back(tmp_path, training, known):
    public = Public(training=training, min_survivors=7)
    if known:
        public = replace(public, genres=np.eye(3, 2, dtype=np.bool_), genre_names=("Action", "War"))
    storage.save(tmp_path / "public", public)
    back = storage.load_public(tmp_path / "public")
    assert back.genre_names == public.genre_names and back.training == training and back.min_survivors == 7
    assert (back.genres is None) == (not known) and (not known or np.array_equal(back.genres, public.genres))


PUBLIC = {"schema": "public/1", "genre_names": ["Action"], "training": None, "min_survivors": 1}
TRAINING = {"score_lr": 0.1, "item_lr": 9.0, "batch_size": 256, "negatives": 4, "epochs": 1}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"training": {**TRAINING, "epochs": 1.5}}, "epochs in training must be of type int"),
        ({"training": {**TRAINING, "note": 1}}, "unknown note"),
        ({"training": {**TRAINING, "item_lr": float("inf")}}, "item_lr in training must be finite"),
        ({"training": [1]}, "must be of type dict or NoneType"),
        ({"genre_names": [1]}, "genre_names must be a list of names"),
        ({"genre_names": ["Action", "War"]}, "one for each genre name"),
    ],
)
def test_malformed_public_is_refused_by_name(changed, message):
    data = save_tensors({"genres": np.zeros((3, 1), np.bool_)}, metadata={"header": json.dumps({**PUBLIC, **changed})})
    with pytest.raises(ViewError, match=message):
        storage.public_from_bytes(data)


def test_recording_reads_a_view_when_it_is_asked_for_and_names_a_second_one(tmp_path):
    kept = {}
    for view in views():
        kept[view.kind] = tmp_path / view.kind
        storage.save(kept[view.kind], view)
    (tmp_path / "brought.npz").write_bytes(npz_file({**HEADER, "round": 4}))
    recording = storage.recording([*kept.values(), tmp_path / "brought.npz"])
    assert recording.rounds("unprotected_upload") == (3, 4) and recording.rounds("opened_sum") == (3,)
    assert recording.view("noised_upload", 3).kind == "noised_upload"
    kept["noised_upload"].unlink()
    with pytest.raises(ViewError, match="cannot be read"):
        recording.view("noised_upload", 3)
    with pytest.raises(ViewError, match="holds the same kind of view of the same round"):
        storage.recording([kept["opened_sum"], kept["opened_sum"]])


def test_saved_file_is_for_its_owner_alone_and_leaves_no_other_behind(tmp_path):
    storage.save(tmp_path / "view", views()[0])
    assert (tmp_path / "view").stat().st_mode & 0o077 == 0
    assert [path.name for path in tmp_path.iterdir()] == ["view"]


REFUSED = {
    "unknown array": (HEADER, {"truth": np.zeros(1, dtype=np.float32)}, "unknown truth"),
    "unknown header key": ({**HEADER, "note": "x"}, {}, "unknown note"),
    "missing header key": ({k: v for k, v in HEADER.items() if k != "round"}, {}, "lacks round"),
    "another schema": ({**HEADER, "schema": "upload-view/2"}, {}, "this reads 'upload-view/1'"),
    "unknown kind": ({**HEADER, "kind": "ciphertext"}, {}, "not a kind of view"),
    "unknown layout": ({**HEADER, "layout": "columns"}, {}, "not a layout"),
    "kind and layout at odds": ({**HEADER, "kind": "opened_sum"}, {}, "cannot hold RowUploads"),
    "round is text": ({**HEADER, "round": "3"}, {}, "must be of type int, not str"),
    "round is true": ({**HEADER, "round": True}, {}, "must be of type int, not bool"),
    "round is nought": ({**HEADER, "round": 0}, {}, "rounds count from 1"),
    "population too small": ({**HEADER, "population": 4}, {}, "between 0 and the population"),
    "double precision": (HEADER, {"delta": np.zeros((3, 2))}, "delta must be float32, not float64"),
    "wide rows": (HEADER, {"rows": np.array([4, 0, 4])}, "rows must be int32"),
    "not finite": (HEADER, {"delta": np.full((3, 2), np.nan, dtype=np.float32)}, "6 of 6 values in delta"),
    "table not finite": (HEADER, {"table": np.full((6, 2), np.inf, dtype=np.float32)}, "12 of 12 values in table"),
    "row out of range": (HEADER, {"rows": np.array([4, 0, 6], dtype=np.int32)}, "rows must lie between 0 and 5"),
    "row below nought": (HEADER, {"rows": np.array([-1, 0, 3], dtype=np.int32)}, "rows must lie between 0 and 5"),
    "row twice": (HEADER, {"rows": np.array([4, 4, 0], dtype=np.int32)}, "rows must be distinct"),
    "client twice": (HEADER, {"clients": np.array([5, 5])}, "clients must be distinct"),
    "no client": (HEADER, {"clients": np.zeros(0, dtype=np.int64)}, "there is no client"),
    "offsets fall": (HEADER, {"offsets": np.array([0, 4, 3])}, "offsets must rise"),
    "offsets stop short": (HEADER, {"offsets": np.array([0, 1, 2])}, "offsets must rise"),
    "offsets of other clients": (HEADER, {"offsets": np.array([0, 3])}, "2 clients need 3"),
    "another width": (HEADER, {"delta": np.zeros((3, 4), dtype=np.float32)}, "the table asks for"),
    "another length": (HEADER, {"delta": np.zeros((2, 2), dtype=np.float32)}, "rows names 3"),
    "flat table": (HEADER, {"table": np.zeros(6, dtype=np.float32)}, "table must have 2 dimensions"),
    "other catalogue": (HEADER, {"popularity": np.zeros(5, dtype=np.int64)}, "popularity counts 5 items"),
    "negative popularity": (HEADER, {"popularity": np.full(6, -1)}, "popularity must lie between"),
}


@pytest.mark.parametrize("make", [safetensors_file, npz_file])
@pytest.mark.parametrize("case", REFUSED)
def test_malformed_view_is_refused_by_name(make, case):
    header, changed, message = REFUSED[case]
    with pytest.raises(ViewError, match=message):
        storage.view_from_bytes(make(header, **changed))


def test_key_named_twice_is_refused():
    twice = json.dumps(HEADER)[:-1] + ', "round": 4}'
    with pytest.raises(ViewError, match="names a key twice"):
        storage.view_from_bytes(safetensors_file(twice))


def test_pickle_inside_an_archive_is_refused():
    with pytest.raises(ViewError, match="not a sound .npz"):
        storage.view_from_bytes(npz_file(delta=np.array([{}], dtype=object)))


def test_archive_with_a_file_that_is_no_array_is_refused():
    data = io.BytesIO(npz_file())
    with zipfile.ZipFile(data, "a") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(ViewError):
        storage.view_from_bytes(data.getvalue())


def test_archive_that_would_unpack_to_more_than_the_limit_is_refused_before_it_is_unpacked(monkeypatch):
    data = npz_file(table=np.zeros((6, 20000), dtype=np.float32))
    monkeypatch.setattr(storage, "MAX_BYTES", 100_000)
    assert len(data) < storage.MAX_BYTES
    with pytest.raises(ViewError, match="holds more than"):
        storage.view_from_bytes(data)


def test_file_above_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    storage.save(tmp_path / "view", views()[0])
    monkeypatch.setattr(storage, "MAX_BYTES", 100)
    with pytest.raises(ViewError, match="larger than 100 bytes"):
        storage.load_view(tmp_path / "view")


def test_missing_file_is_named(tmp_path):
    with pytest.raises(ViewError, match="nowhere: cannot be read"):
        storage.load_view(tmp_path / "nowhere")


@pytest.mark.parametrize("make", [safetensors_file, npz_file])
@given(cut=st.floats(0, 0.999), extra=st.binary(min_size=1, max_size=20))
def test_cut_or_lengthened_file_is_refused_or_reads_the_same(make, cut, extra):
    whole = make()
    with pytest.raises(ViewError):
        storage.view_from_bytes(whole[: int(cut * len(whole))])
    if make is safetensors_file:
        with pytest.raises(ViewError):
            storage.view_from_bytes(whole + extra)


@given(st.binary(max_size=200), st.sampled_from([b"", b"PK\x03\x04"]))
def test_any_bytes_are_a_view_or_a_view_error(data, start):
    with pytest.raises(ViewError):
        storage.view_from_bytes(start + data)


@given(at=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_but_a_view_error(at, value):
    for make in (safetensors_file, npz_file):
        data = bytearray(make())
        data[at % len(data)] = value
        with contextlib.suppress(ViewError):
            storage.view_from_bytes(bytes(data))
