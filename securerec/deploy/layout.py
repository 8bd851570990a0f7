"""The folder of a federation, as `securerec deploy init` writes it and as every party reads its part of it.

    DIR/public/       start.json, start.sig, config.toml, catalogue.json, nodes.json, setups/<release>.setup,
                      enrolment.pub, ca.crt, superlink.json
    DIR/enrolment/    enrolment.key, ca.key                           signs all of it; belongs offline
    DIR/superlink/    tls.key, tls.crt, operator.key, flower/         relays letters; holds no key of a sum
    DIR/server/       identity.key, operator.key, run/, flower/       what the server knows, and the run that it makes
    DIR/node-07/      identities/<client>.key, noise.key, training.key, node.key, store.key, policy.toml, store/
    DIR/decryptor-2/  identity.key, node.key, policy.toml, answered/

A party is started with its own folder and a copy of `public/`. Nothing in `public/` has to be trusted for its place:
`Public.open` checks `start.json` with the enrolment key, whose public part a party's policy pins, and every other file
by its digest in `start.json`. Only `superlink.json`, where the SuperLink is, may change: its certificate proves itself.
"""

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np

from protocols.errors import ProtocolError
from protocols.identity import KEY_BYTES, EnrolmentKey, Identity, verify_enrolment
from securerec.config import Config, make_config
from securerec.data.dataset import Dataset
from securerec.data.interactions import Interactions
from securerec.errors import ConfigError, RunError
from securerec.federation.identity import fingerprint
from securerec.federation.parties.public import Federation
from securerec.files import write_atomic
from securerec.models.head import public_features

FORMAT = 1
LABEL = "federation start"
OPERATOR_BYTES = 32
_MOST_BYTES = 1 << 30
_NODE = re.compile(r"node-(\d+)")
_DECRYPTOR = re.compile(r"decryptor-(\d+)")


@dataclass(frozen=True, slots=True)
class Start:
    """What a federation is bound to from its beginning; signed by the enrolment key.

    run_id, initial_values: hex, the latter the public seed of the first item table. program: version of securerec.
    cohort: clients, numbered from 0; items: of the catalogue. releases: kinds of release in the order of the run.
    members, threshold: of the committee, 0 without one. test_mode: keys of noise and training come from the
    configuration's seed, for simulation only. digests: fingerprint of every other file in `public/`, by its place.
    """

    format: int
    program: str
    run_id: str
    initial_values: str
    cohort: int
    items: int
    releases: tuple[str, ...]
    members: int
    threshold: int
    test_mode: bool
    digests: Mapping[str, str]

    def to_bytes(self) -> bytes:
        """The same bytes for equal values."""
        return (json.dumps(asdict(self), indent=2, sort_keys=True) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Inverse of `to_bytes`. Raises RunError."""
        try:
            values = json.loads(data)
            if not isinstance(values, dict) or set(values) != {field.name for field in fields(cls)}:
                raise ValueError
            values["releases"] = tuple(map(str, values["releases"]))
            values["digests"] = {str(place): str(digest) for place, digest in values["digests"].items()}
            for key in ("run_id", "initial_values"):
                bytes.fromhex(values[key])
            start = cls(**values)
        except (ValueError, TypeError, AttributeError):
            raise RunError("start.json is no description of a federation: get public/ anew") from None
        if start.format != FORMAT:
            raise RunError(f"start.json is of format {start.format}; this program reads format {FORMAT}")
        return start


@dataclass(frozen=True, slots=True)
class Enrolled:
    """Who may connect. role: "node" or "decryptor". numbers: of its devices, or its own. key: public, hex, P-384."""

    role: str
    numbers: tuple[int, ...]
    key: str


class Public:
    """The files that every party may read, checked against the enrolment key."""

    def __init__(self, path: Path, enrolment: bytes, start: Start) -> None:
        """Use `open`."""
        self.path, self.enrolment, self.start = path, enrolment, start

    @classmethod
    def open(cls, path: Path, *, pinned: bytes | None = None) -> Self:
        """Read and check them. pinned: the enrolment key's public part (32 bytes) that the party trusts; None takes
        the one that lies beside them, which only the party that made the folder may do.

        Raises RunError for what is missing, changed or not signed by that key.
        """
        enrolment = _read(path / "enrolment.pub", KEY_BYTES)
        if pinned is not None and pinned != enrolment:
            raise RunError(f"{path / 'enrolment.pub'} is not the enrolment key that this party's policy names")
        data = _read(path / "start.json")
        try:
            verify_enrolment(enrolment, _read(path / "start.sig"), LABEL, data)
        except ProtocolError as error:
            raise RunError(f"{path / 'start.json'} is not signed by the enrolment key: {error}") from None
        public = cls(path, enrolment, Start.from_bytes(data))
        for place in public.start.digests:
            public.read(place)
        return public

    def read(self, place: str) -> bytes:
        """A file that `start.json` names, such as "config.toml". Raises RunError unless it is the one it names."""
        expected = self.start.digests.get(place)
        if expected is None:
            raise RunError(f"start.json names no file {place}")
        data = _read(self.path / place)
        if fingerprint(data) != expected:
            raise RunError(f"{self.path / place} is not the file that the enrolment key signed: get public/ anew")
        return data

    @property
    def run_id(self) -> bytes:
        return bytes.fromhex(self.start.run_id)

    @property
    def ca(self) -> Path:
        """Certificate that signs the SuperLink's, PEM."""
        return self.path / "ca.crt"

    @cached_property
    def config(self) -> Config:
        """The resolved configuration."""
        return make_config(tomllib.loads(self.read("config.toml").decode()))

    def setup(self, release: str) -> bytes:
        """The setup of a kind of release, signed by the enrolment key. Raises RunError where there is none."""
        return self.read(setup_place(release))

    def setups(self) -> dict[str, bytes]:
        """All setups by kind of release, in the order of the run."""
        return {release: self.setup(release) for release in self.start.releases}

    def federation(self) -> Federation:
        """What everybody in the federation knows, as the roles read it."""
        start = self.start
        return Federation(
            self.config, public_features(self.catalogue), self.run_id, bytes.fromhex(start.initial_values),
            start.cohort, self.enrolment, self.setups(), start.test_mode,
        )  # fmt: skip

    def nodes(self) -> dict[str, Enrolled]:
        """Every node and decryptor that was enrolled, by the name of its folder."""
        try:
            entries = json.loads(self.read("nodes.json"))
            return {
                str(name): Enrolled(str(each["role"]), tuple(map(int, each["numbers"])), str(each["key"]))
                for name, each in entries.items()
            }
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RunError("nodes.json is no list of nodes: get public/ anew") from None

    def superlink(self) -> str:
        """host:port of the SuperLink. Raises RunError."""
        try:
            return str(json.loads(_read(self.path / "superlink.json"))["address"])
        except (ValueError, KeyError, TypeError):
            raise RunError(f'{self.path / "superlink.json"} must say {{"address": "host:port"}}') from None

    @cached_property
    def catalogue(self) -> Dataset:
        """The items as a data set that nobody has touched: for `public_features`, titles and identifiers."""
        return catalogue_from(self.read("catalogue.json"))


class Layout:
    """Where the parts of a federation's folder lie."""

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()

    @property
    def public(self) -> Path:
        return self.path / "public"

    @property
    def enrolment(self) -> Path:
        return self.path / "enrolment"

    @property
    def superlink(self) -> Path:
        return self.path / "superlink"

    @property
    def server(self) -> Path:
        return self.path / "server"

    def node(self, number: int) -> Path:
        return self.path / f"node-{number:02d}"

    def decryptor(self, number: int) -> Path:
        return self.path / f"decryptor-{number}"

    def nodes(self) -> list[Path]:
        """Folders of all nodes, by number."""
        return self._numbered(_NODE)

    def decryptors(self) -> list[Path]:
        """Folders of all decryptors, by number."""
        return self._numbered(_DECRYPTOR)

    def _numbered(self, pattern: re.Pattern[str]) -> list[Path]:
        found = {int(match[1]): path for path in self.path.iterdir() if (match := pattern.fullmatch(path.name))}
        return [found[number] for number in sorted(found)]

    def open_public(self) -> Public:
        """Raises RunError when this is no federation's folder."""
        if not (self.public / "start.json").is_file():
            raise RunError(f"{self.path} is no federation: there is no public/start.json in it")
        return Public.open(self.public)


def write_secret(path: Path, data: bytes) -> None:
    """A file that only its owner reads, in a folder that only its owner opens."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomic(path, data, private=True)


def read_secret(path: Path, size: int | None = None) -> bytes:
    """What `write_secret` wrote. size: in bytes, any if None. Raises RunError for a file that is missing, of another
    size, or that others may read.
    """
    data = _read(path, size)
    if path.stat().st_mode & 0o077:
        raise RunError(f"{path} can be read by others: chmod 600 {path}")
    return data


def write_superlink(public: Path, address: str) -> None:
    """Say where the SuperLink is."""
    write_atomic(public / "superlink.json", json.dumps({"address": address}).encode())


def setup_place(release: str) -> str:
    """Where in `public/` a release's setup lies."""
    return f"setups/{release.replace(' ', '-')}.setup"


def read_identity(path: Path) -> Identity:
    """A party's private keys. Raises RunError."""
    try:
        return Identity.from_bytes(read_secret(path))
    except ProtocolError as error:
        raise RunError(f"{path}: {error}") from None


def read_enrolment_key(path: Path) -> EnrolmentKey:
    """The enrolment key. Raises RunError."""
    try:
        return EnrolmentKey(read_secret(path))
    except ProtocolError as error:
        raise RunError(f"{path}: {error}") from None


def is_node(folder: Path) -> bool:
    """Whether devices live in a party's folder; else it is a decryptor's."""
    return (folder / "identities").is_dir()


def node_identities(folder: Path) -> dict[int, Identity]:
    """A node's clients by number. Raises RunError for a file that is damaged or named for another client."""
    found: dict[int, Identity] = {}
    for path in sorted((folder / "identities").glob("*.key")):
        identity = read_identity(path)
        if identity.address != ("client", int(path.stem) if path.stem.isdigit() else -1):
            raise RunError(f"{path} holds the keys of {identity.address}: restore it")
        found[identity.public.number] = identity
    if not found:
        raise RunError(f"{folder / 'identities'} holds no keys: nobody can take part with this folder")
    return dict(sorted(found.items()))


def catalogue_bytes(dataset: Dataset) -> bytes:
    """The items of a data set without anybody's interactions."""
    words: dict[str, Any] = {
        "name": dataset.name,
        "item_ids": dataset.item_ids,
        "titles": dataset.titles,
        "years": dataset.years.tolist(),
        "genre_names": dataset.genre_names,
        "genres": [np.flatnonzero(row).tolist() for row in dataset.genres],
        "licence": dataset.licence,
        "source": dataset.source,
    }
    return json.dumps(words, ensure_ascii=False, separators=(",", ":")).encode()


def catalogue_from(data: bytes) -> Dataset:
    """Inverse of `catalogue_bytes`: a data set of no users. Raises ConfigError."""
    try:
        words = json.loads(data)
        n_items, genre_names = len(words["item_ids"]), tuple(words["genre_names"])
        genres = np.zeros((n_items, len(genre_names)), np.bool_)
        for item, columns in enumerate(words["genres"]):
            genres[item, columns] = True
        return Dataset(
            name=words["name"], interactions=Interactions.from_lists([], n_items), user_ids=(),
            item_ids=tuple(words["item_ids"]), titles=tuple(words["titles"]),
            years=np.array(words["years"], np.int16), genres=genres, genre_names=genre_names, user_attributes={},
            licence=words["licence"], source=words["source"], tie_rule="nobody's interactions",
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise ConfigError(f"catalogue.json is damaged: {error}") from None


def _read(path: Path, size: int | None = None) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise RunError(f"{path} is larger than {_MOST_BYTES >> 30} GiB")
        data = path.read_bytes()
    except OSError as error:
        raise RunError(f"{path} cannot be read: {error.strerror}") from None
    if size is not None and len(data) != size:
        raise RunError(f"{path} has {len(data)} bytes, not {size}: restore it")
    return data
