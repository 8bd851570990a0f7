"""The data sets that are known by name, where each comes from, and `load`, which finds or fetches one."""

import difflib
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

from securerec.data import cache, download, movielens
from securerec.data.dataset import Dataset
from securerec.errors import DataError

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Origin:
    """One place a data set can be had from. `read` raises DataError when it cannot."""

    label: str
    read: Callable[[], Dataset]


@dataclass(frozen=True)
class Known:
    """A data set that can be fetched by name; `digest` pins its content whichever origin it came from."""

    name: str
    title: str
    licence: str
    users: int
    items: int
    interactions: int
    digest: str
    origins: tuple[Origin, ...]


_MOST_ML_100K_BYTES = 16 << 20
_RECBOLE_FILES = {
    "recbole/dataset_example/ml-100k/ml-100k.inter": "4edb74e2a81178c2ba9ff381495f754f996c4aea351b1272ca36b43da0935eff",
    "recbole/dataset_example/ml-100k/ml-100k.item": "51d7cdf777ce5c0f5b32c1d947a4a81fe07d75e78abbe761e0cd4d0756064532",
    "recbole/dataset_example/ml-100k/ml-100k.user": "4f670007d9cfbeb9807e757209af1555b9bcc186bde25e767f67cb67c6dd5972",
}


def _ml_100k_from_grouplens() -> Dataset:
    archive = download.get("https://files.grouplens.org/datasets/movielens/ml-100k.zip", most_bytes=_MOST_ML_100K_BYTES)
    names = [f"ml-100k/u.{part}" for part in ("data", "item", "user")]
    return movielens.from_grouplens(*download.members(archive, names, most_bytes=_MOST_ML_100K_BYTES))


def _ml_100k_from_recbole() -> Dataset:
    archive = download.wheel("recbole==1.2.1", most_bytes=_MOST_ML_100K_BYTES)
    contents = download.members(archive, list(_RECBOLE_FILES), most_bytes=_MOST_ML_100K_BYTES)
    for (name, expected), content in zip(_RECBOLE_FILES.items(), contents, strict=True):
        if hashlib.sha256(content).hexdigest() != expected:
            raise DataError(f"{name} in the recbole wheel is not the file expected (sha256 differs)")
    return movielens.from_recbole(*contents)


REGISTRY: dict[str, Known] = {
    "ml-100k": Known(
        name="ml-100k",
        title="MovieLens 100K: ratings of films, 1997 to 1998",
        licence=movielens.LICENCE,
        users=943,
        items=1682,
        interactions=100_000,
        digest="0ca1557cb64e6a5a903c6ba1b72e51b5fc389404eda0d378d91f891895509b77",
        origins=(
            Origin("GroupLens", _ml_100k_from_grouplens),
            Origin("the wheel of recbole 1.2.1", _ml_100k_from_recbole),
        ),
    ),
}


def to_stderr(line: str) -> None:
    """Tell a person what happens, off the path of results."""
    print(line, file=sys.stderr, flush=True)


def is_stored(name: str) -> bool:
    """Whether a file for this data set is on disk, good or damaged."""
    return cache.path_of(name).is_file()


def read_stored(name: str) -> Dataset:
    """The data set as stored. Raises DataError with the way out when it is missing, damaged or not as published."""
    name = cache.canonical_name(name)
    known = REGISTRY.get(name)
    if known is None:
        return cache.load_dataset(name, remedy=f"import it again (securerec data import FILE --name {name})")
    remedy = f"fetch it again (securerec data fetch {name})"
    dataset = cache.load_dataset(name, remedy=remedy)
    if dataset.content_digest() != known.digest:
        raise DataError(f"{cache.path_of(name)} is not {name} as published: {remedy}")
    return dataset


def fetch(name: str, *, notify: Notify = to_stderr) -> Dataset:
    """Get a known data set from the first origin that has it, verify its digest, store it and return it.

    `notify` receives a line for each step, the licence among them. Raises DataError when the name is not known, or
    when no origin gave the expected content (each one's reason is named).
    """
    name = cache.canonical_name(name)
    known = REGISTRY.get(name)
    if known is None:
        raise DataError(f"{name!r} cannot be fetched: {_nearest(name, sorted(REGISTRY))}")
    notify(f"{name}: licence: {known.licence}")
    reasons = []
    for origin in known.origins:
        notify(f"{name}: fetching from {origin.label}")
        try:
            dataset = origin.read()
            if dataset.content_digest() != known.digest:
                raise DataError("the content is not what was published (digest differs)")
        except DataError as error:
            reasons.append(f"{origin.label}: {error}")
            notify(f"{name}: {reasons[-1]}")
            continue
        notify(f"{name}: verified, stored at {cache.save_dataset(dataset)}")
        return dataset
    raise DataError(
        f"{name} could not be fetched. {'. '.join(reasons)}. Check the network or pip's configuration and try again"
    )


def load(name: str, *, notify: Notify = to_stderr) -> Dataset:
    """The data set of this name (case does not matter): from disk, fetched first when it is known and absent.

    Raises DataError for an unknown name (with the nearest), a damaged file, or a fetch that failed.
    """
    name = cache.canonical_name(name)
    if is_stored(name):
        return read_stored(name)
    if name in REGISTRY:
        return fetch(name, notify=notify)
    choices = sorted({*REGISTRY, *cache.stored_names()})
    raise DataError(
        f"no data set {name!r}: {_nearest(name, choices)}, or import your own (securerec data import --help)"
    )


def _nearest(name: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}"
