"""The data sets that are known by name, where each comes from, and `load`, which finds or fetches one."""

import difflib
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from securerec.data import amazon_video, cache, lastfm, origins
from securerec.data.dataset import Dataset
from securerec.data.local_files import Files, files_at
from securerec.data.movielens_text import LICENCE
from securerec.errors import DataError

Notify = Callable[[str], None]


@dataclass(frozen=True)
class Origin:
    """One place a data set can be had from. `read` raises DataError when it cannot."""

    label: str
    read: Callable[[], Dataset]


@dataclass(frozen=True)
class Known:
    """A data set that can be fetched by name.

    `digest` pins its content (`Dataset.content_digest`). Where a data set is published in two forms of which only one
    has timestamps, `digest` pins the one without, and `unordered_digest` what any form with timestamps must agree on.
    `from_files` reads it from files on disk. Where only some of its sources have titles, `titles_pinned` is False, and
    `digest` is that of the data set with identifiers for titles. `has_repeats` is `Dataset.has_repeats`.
    """

    name: str
    title: str
    licence: str
    users: int
    items: int
    interactions: int
    digest: str
    origins: tuple[Origin, ...]
    from_files: Callable[[Files], Dataset] | None = None
    unordered_digest: str | None = None
    titles_pinned: bool = True
    has_repeats: bool = False

    def is_published(self, dataset: Dataset) -> bool:
        """Whether this is the data set as published, in one of its forms."""
        if self.unordered_digest is not None and dataset.timestamps is not None:
            return dataset.unordered_digest() == self.unordered_digest
        if not self.titles_pinned:
            dataset = replace(dataset, titles=dataset.item_ids)
        return dataset.content_digest() == self.digest


REGISTRY: dict[str, Known] = {
    "ml-100k": Known(
        name="ml-100k",
        title="MovieLens 100K: ratings of films, 1997 to 1998",
        licence=LICENCE,
        users=943,
        items=1682,
        interactions=100_000,
        digest="0ca1557cb64e6a5a903c6ba1b72e51b5fc389404eda0d378d91f891895509b77",
        origins=(
            Origin("GroupLens", origins.ml_100k_from_grouplens),
            Origin("the wheel of recbole 1.2.1", origins.ml_100k_from_recbole),
        ),
        from_files=origins.ml_100k_from_files,
    ),
    "ml-1m": Known(
        name="ml-1m",
        title="MovieLens 1M: ratings of films, 2000 to 2003",
        licence=LICENCE,
        users=6040,
        items=3706,
        interactions=1_000_209,
        digest="457e700ce26dd0dcfcae19b4f295fb1bb1f726571ba3a3b1c27813f686cbf624",
        origins=(Origin("GroupLens", origins.ml_1m_from_grouplens),),
        from_files=origins.ml_1m_from_files,
        unordered_digest="3b0f36b292e2be6731c97f239c9134d78a4a8cefecf4e3af3c74e8b0ce788641",
    ),
    lastfm.PAIRS: Known(
        name=lastfm.PAIRS,
        title="Last.fm 2K: artists that users tagged, 2005 to 2011, each pair once",
        licence=lastfm.LICENCE,
        users=1600,
        items=12_454,
        interactions=70_508,
        digest="bc5cd0f50c71fa759dbc5a59f04db204f4996cef238a47fc133405fd438dcc0f",
        origins=(Origin("GroupLens", origins.lastfm_pairs_from_grouplens),),
        from_files=origins.lastfm_pairs_from_files,
        titles_pinned=False,
    ),
    lastfm.TAGS: Known(
        name=lastfm.TAGS,
        title="Last.fm 2K: every tag assignment, so with repeats of the same user and artist",
        licence=lastfm.LICENCE,
        users=1600,
        items=12_454,
        interactions=185_650,
        digest="150f7ba79b292536d8bd1ecc8885fd7dacf6a32b2c5b996fe653b4905740d9af",
        origins=(Origin("GroupLens", origins.lastfm_tags_from_grouplens),),
        from_files=origins.lastfm_tags_from_files,
        titles_pinned=False,
        has_repeats=True,
    ),
    amazon_video.NAME: Known(
        name=amazon_video.NAME,
        title="Amazon Instant Video: ratings of products, 2000 to 2014",
        licence=amazon_video.LICENCE,
        users=8072,
        items=11_830,
        interactions=63_836,
        digest="fdf8a4d654409842b53c710738440cf726c0d741c7fb0a10de07c74a2d0f3ed4",
        origins=(Origin("SNAP", origins.amazon_video_from_snap),),
        from_files=origins.amazon_video_from_files,
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
        remedy = f"import it again (securerec data import FILE --name {name}), or synthesize it again"
        return cache.load_dataset(name, remedy=remedy)
    remedy = f"fetch it again (securerec data fetch {name})"
    dataset = cache.load_dataset(name, remedy=remedy)
    if not known.is_published(dataset):
        raise DataError(f"{cache.path_of(name)} is not {name} as published: {remedy}")
    return dataset


def fetch(name: str, *, notify: Notify = to_stderr) -> Dataset:
    """Get a known data set from the first origin that has it, verify its digest, store it and return it.

    `notify` receives a line for each step, the licence among them. Raises DataError when the name is not known, or
    when no origin gave the expected content (each one's reason is named).
    """
    known = _known(name)
    notify(f"{known.name}: licence: {known.licence}")
    reasons = []
    for origin in known.origins:
        notify(f"{known.name}: fetching from {origin.label}")
        try:
            dataset = _checked(known, origin.read())
        except DataError as error:
            reasons.append(f"{origin.label}: {error}")
            notify(f"{known.name}: {reasons[-1]}")
            continue
        return _stored(dataset, notify)
    files = f", or give its files: securerec data fetch {known.name} --from FOLDER" if known.from_files else ""
    raise DataError(
        f"{known.name} could not be fetched. {'. '.join(reasons)}. Check the network or pip's configuration and try "
        f"again{files}"
    )


def fetch_from(name: str, path: Path, *, notify: Notify = to_stderr) -> Dataset:
    """Read a known data set from files in a folder or a zip file, verify its digest, store it and return it.

    Raises DataError when the name is not known, or the files are not those published: which file, and what is wrong.
    """
    known = _known(name)
    if known.from_files is None:
        raise DataError(f"{known.name} cannot be read from files: fetch it without --from")
    notify(f"{known.name}: licence: {known.licence}")
    files = files_at(path, most_bytes=origins.MOST_FILE_BYTES)
    try:
        dataset = _checked(known, known.from_files(files))
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    return _stored(dataset, notify)


def _checked(known: Known, dataset: Dataset) -> Dataset:
    if not known.is_published(dataset):
        raise DataError("the content is not what was published (digest differs)")
    return dataset


def _stored(dataset: Dataset, notify: Notify) -> Dataset:
    notify(f"{dataset.name}: verified, stored at {cache.save_dataset(dataset)}")
    return dataset


def _known(name: str) -> Known:
    name = cache.canonical_name(name)
    known = REGISTRY.get(name)
    if known is None:
        raise DataError(f"{name!r} cannot be fetched: {_nearest(name, sorted(REGISTRY))}")
    return known


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


def load_distinct(name: str) -> Dataset:
    """`load`, for what is evaluated under clean and full. Raises DataError too where users have an item twice: then a
    held-out item may be in training.
    """
    dataset = load(name)
    if dataset.has_repeats:
        raise DataError(
            f"{name} has the same item more than once for one user, so held-out items are in training too: only "
            "`securerec bench quality` takes it, for the published protocol; take a data set of distinct pairs"
        )
    return dataset


def _nearest(name: str, choices: list[str]) -> str:
    near = difflib.get_close_matches(name, choices, n=1)
    return f"did you mean {near[0]}?" if near else f"choose from {', '.join(choices)}"
