"""The page on the wire format says what the code does."""

import re
from pathlib import Path

import protocols
from protocols import EnrolmentKey, Identity, Roster, SumSpec, enrol
from protocols.broadcast import BROADCAST_BYTES
from protocols.codec import _HEADER, FRAME_BYTES, HEADER_BYTES, VERSION, Kind
from protocols.manifest import _COUNT, ENTRY_BYTES
from protocols.registry import PROTOCOLS
from protocols.spec import ENCODED_BYTES

PAGE = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text()
SOURCES = {
    path: path.read_text() for path in Path(protocols.__file__).parent.rglob("*.py") if "bundle" not in path.parts
}


def test_every_label_in_the_code_is_on_the_page_once() -> None:
    listed = re.findall(
        r"`([^`]+)`", "\n".join(line.split("|")[1] for line in PAGE.split("\n") if line.count("|") == 4)
    )
    used: list[str] = []
    for source in SOURCES.values():
        used += re.findall(r'(?:\bdigest|\btranscript|\btag)\(\s*"([^"]+)"', source)
        used += re.findall(r'^_LABEL = "([^"]+)"', source, re.MULTILINE)
    assert len(used) > 10 and sorted(used) == sorted(set(used))
    assert set(used) <= set(listed)
    assert len(listed) == len(set(listed))


def test_sizes_on_the_page_are_those_of_the_code() -> None:
    identity = Identity.generate("client", 1)
    server = Identity.generate("server", 0)
    roster = Roster(server.public, (identity.public,)).sign(EnrolmentKey.generate())
    assert f"header {HEADER_BYTES}, body, and the trailer" in PAGE
    assert f"the frame has {BROADCAST_BYTES} bytes" in PAGE
    assert f"**Manifest**, {BROADCAST_BYTES + _COUNT.size} + {ENTRY_BYTES} n bytes" in PAGE
    assert f"An identity at rest is {len(identity.to_bytes())} bytes" in PAGE
    assert len(roster) == 79 + 72 * 1 + 72 and "79 + 72 (clients + decryptors) + 72 bytes" in PAGE
    assert f"| {ENCODED_BYTES} | specification" in PAGE
    assert f"Wire format of secure sums, version {VERSION}" in PAGE


def test_places_in_the_header_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (\d+) \| ([\d +]+) \|", PAGE, re.MULTILINE)
    at = 0
    for place, sizes in rows:
        assert int(place) == at
        at += sum(map(int, sizes.split("+")))
    assert at == _HEADER.size


def test_kinds_and_protocols_on_the_page_are_those_of_the_code() -> None:
    for name, protocol in PROTOCOLS.items():
        assert f"{protocol.number} `{name}`" in PAGE
    for kind in Kind:
        assert kind.name.lower() in PAGE
    assert f"| {int(Kind.COMPLAINTS)} complaints" in PAGE and f"{int(Kind.ADVERTISE)} to {int(Kind.UNMASK)}" in PAGE


def test_trailers_on_the_page_are_those_of_the_code() -> None:
    listed: dict[int, int] = {}
    for kinds, size in re.findall(r"^\| ([\d, toand]+): [^|]+\|[^|]+\| ([\d +]+) \|$", PAGE, re.MULTILINE):
        for first, last in re.findall(r"(\d+)(?: to (\d+))?", kinds):
            listed |= dict.fromkeys(range(int(first), int(last or first) + 1), sum(map(int, size.split("+"))))
    assert listed == {int(kind): FRAME_BYTES[kind] - HEADER_BYTES for kind in Kind}


def test_the_public_keys_of_plain_are_none() -> None:
    run = enrol("plain", SumSpec(3, 2, 1, 5), run_id=b"run", client_ids=(1,))
    assert protocols.Setup.from_bytes(run.setup).public_keys == b""
