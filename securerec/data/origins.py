"""How each known data set is read from each place that has it."""

import hashlib

import numpy as np
from numpy.typing import NDArray

from securerec.data import amazon_video, download, lastfm, movielens, movielens_1m
from securerec.data.dataset import Dataset
from securerec.data.local_files import Files, files_in
from securerec.errors import DataError

MOST_ML_100K_BYTES = 16 << 20
MOST_FILE_BYTES = 64 << 20
"""Of any other file, as it comes and unpacked."""
_RECBOLE_FILES = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "recbole/dataset_example/ml-100k/ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "recbole/dataset_example/ml-100k/ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}
_ML_1M_RATINGS = "506d64ca44484487c11dc2d9a28de5c54948213e6b96285e298afe28d6ea4e0f"
"""Of ratings.dat: the only file that has the timestamps, so nothing else can vouch for them."""


def ml_100k_from_grouplens() -> Dataset:
    """From GroupLens' zip file over the network."""
    archive = download.get("https://files.grouplens.org/datasets/movielens/ml-100k.zip", most_bytes=MOST_ML_100K_BYTES)
    names = [f"ml-100k/u.{part}" for part in ("data", "item", "user")]
    return movielens.from_grouplens(*download.members(archive, names, most_bytes=MOST_ML_100K_BYTES))


def ml_100k_from_recbole() -> Dataset:
    """From RecBole's wheel, as pip gets it."""
    archive = download.wheel("recbole==1.2.1", most_bytes=MOST_ML_100K_BYTES)
    contents = download.members(archive, list(_RECBOLE_FILES), most_bytes=MOST_ML_100K_BYTES)
    for (name, expected), content in zip(_RECBOLE_FILES.items(), contents, strict=True):
        if hashlib.sha256(content).hexdigest() != expected:
            raise DataError(f"{name} in the recbole wheel is not the file expected (sha256 differs)")
    return movielens.from_recbole(*contents)


def ml_100k_from_files(files: Files) -> Dataset:
    """From GroupLens' `u.data`, `u.item` and `u.user`."""
    return movielens.from_grouplens(*_contents(files, "u.data", "u.item", "u.user"))


def ml_1m_from_grouplens() -> Dataset:
    """From GroupLens' zip file over the network."""
    most = MOST_FILE_BYTES
    archive = download.get("https://files.grouplens.org/datasets/movielens/ml-1m.zip", most_bytes=most)
    names = [f"ml-1m/{part}.dat" for part in ("ratings", "users", "movies")]
    return _ml_1m(*download.members(archive, names, most_bytes=most))


def ml_1m_from_files(files: Files) -> Dataset:
    """From GroupLens' `ratings.dat`, or else the one `.npz` file there; `users.dat` and `movies.dat` beside it."""
    if "ratings.dat" in files:
        return _ml_1m(*_contents(files, "ratings.dat", "users.dat", "movies.dat"))
    arrays = [name for name in files if name.endswith(".npz")]
    if len(arrays) != 1:
        found = f"{len(arrays)} .npz files" if arrays else "no .npz file"
        raise DataError(f"no ratings.dat there, and {found}: give the folder or zip file that holds one of the two")
    return movielens_1m.from_npz(*_contents(files, arrays[0], "users.dat", "movies.dat"), file=arrays[0])


def _ml_1m(ratings: bytes, users: bytes, movies: bytes) -> Dataset:
    # Parsed before the digest is checked, so that a damaged line is named rather than the whole file.
    dataset = movielens_1m.from_grouplens(ratings, users, movies)
    if hashlib.sha256(ratings).hexdigest() != _ML_1M_RATINGS:
        raise DataError("ratings.dat is not the file that GroupLens publishes (sha256 differs)")
    return dataset


def lastfm_pairs_from_grouplens() -> Dataset:
    """From HetRec's zip file, which GroupLens hosts, over the network: each pair of user and artist once."""
    return lastfm_pairs_from_files(_lastfm_archive())


def lastfm_tags_from_grouplens() -> Dataset:
    """From the same file: every tag assignment."""
    return lastfm_tags_from_files(_lastfm_archive())


def lastfm_pairs_from_files(files: Files) -> Dataset:
    """From any of the files that hold tag assignments, with names from `artists.dat` where that is beside it."""
    return lastfm.distinct_pairs(*_lastfm(files))


def lastfm_tags_from_files(files: Files) -> Dataset:
    """From the same files: every tag assignment."""
    return lastfm.tag_assignments(*_lastfm(files))


def _lastfm_archive() -> Files:
    url = "https://files.grouplens.org/datasets/hetrec2011/hetrec2011-lastfm-2k.zip"
    files = files_in(download.get(url, most_bytes=MOST_FILE_BYTES), most_bytes=MOST_FILE_BYTES)
    if files is None:
        raise DataError(f"{url} is not a zip file")
    return files


def _lastfm(files: Files) -> tuple[NDArray[np.int64], dict[int, str]]:
    """Rows of tag assignments, and names of artists where there are some."""
    readers = {
        "user_taggedartists-timestamps.dat": lastfm.rows_of_timestamps,
        "user_taggedartists.dat": lastfm.rows_of_dates,
        "user_taggedartists_full.csv": lastfm.rows_of_csv,
    }
    name = _first(files, *readers)
    rows = readers[name.removesuffix(".gz")](_unpacked(files, name))
    return rows, lastfm.artist_names(files["artists.dat"]()) if "artists.dat" in files else {}


_AMAZON_VIDEO = ("ratings.dat", "ratings_Amazon_Instant_Video.csv")


def amazon_video_from_snap() -> Dataset:
    """From everybody's ratings, which Stanford's SNAP hosts, over the network."""
    address = "https://snap.stanford.edu/data/amazon/productGraph/categoryFiles"
    content = download.get(f"{address}/{_AMAZON_VIDEO[1]}", most_bytes=MOST_FILE_BYTES)
    return amazon_video.from_ratings(content, file=_AMAZON_VIDEO[1])


def amazon_video_from_files(files: Files) -> Dataset:
    """From `ratings.dat`, or from everybody's ratings in `ratings_Amazon_Instant_Video.csv`."""
    name = _first(files, *_AMAZON_VIDEO)
    return amazon_video.from_ratings(_unpacked(files, name), file=name)


def _first(files: Files, *names: str) -> str:
    """The first of these files that is there, as it is or with `.gz` behind its name."""
    for name in names:
        for packed in (name, f"{name}.gz"):
            if packed in files:
                return packed
    raise DataError(f"none of {', '.join(names)} there, nor one of them with .gz: give the folder or zip file with one")


def _unpacked(files: Files, name: str) -> bytes:
    content = files[name]()
    return download.gunzip(name, content, most_bytes=MOST_FILE_BYTES) if name.endswith(".gz") else content


def _contents(files: Files, *names: str) -> list[bytes]:
    missing = [name for name in names if name not in files]
    if missing:
        raise DataError(
            f"{', '.join(missing)} missing there: give the folder or zip file that holds {', '.join(names)}"
        )
    return [files[name]() for name in names]
