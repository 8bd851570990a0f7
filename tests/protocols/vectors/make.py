"""Writes the vectors of frames, rosters, broadcasts and manifests beside it: `python tests/protocols/vectors/make.py`.

Keys and the nonces of seals are SHA-256 of what they are for, and Ed25519 has no randomness of its own, so the bytes
are the same each time.
Only a change of the wire format may change them.
"""

import hashlib
import json
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

from protocols.broadcast import Broadcast
from protocols.codec import HEADER_BYTES, Header, Kind, read_frame
from protocols.identity import Address, EnrolmentKey, Identity, Role
from protocols.manifest import ENTRY_BYTES, Manifest, UploadRecord
from protocols.roster import Roster
from protocols.seals import NONCE_BYTES, seal_key
from protocols.session import Session
from protocols.setup import Setup
from protocols.spec import SumSpec

FOLDER = Path(__file__).parent
ROUND = 3


def seed(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


def identity(role: Role, number: int) -> Identity:
    return Identity(role, number, seed(f"{role} {number} signing"), seed(f"{role} {number} box"))


ENROLMENT = EnrolmentKey(seed("enrolment"))
SERVER = identity("server", 0)
CLIENTS = [identity("client", number) for number in (0, 7, 2**63 - 1)]
DECRYPTORS = [identity("decryptor", number) for number in (0, 1, 2)]
ROSTER = Roster(SERVER.public, tuple(c.public for c in CLIENTS), tuple(d.public for d in DECRYPTORS), 2, 0)
SETUP = (
    Setup("ckks", SumSpec(10, 3, 2, 100, 2.5), b"vectors", ROSTER.sign(ENROLMENT), b"public keys")
    .signed(ENROLMENT)
    .to_bytes()
)
SERVER_SESSION = Session(SETUP, SERVER, ENROLMENT.public, role="server")
CLIENT_SESSION = Session(SETUP, CLIENTS[1], ENROLMENT.public, role="client")
MEMBER_SESSION = Session(SETUP, DECRYPTORS[0], ENROLMENT.public, role="decryptor")
BROADCAST = Broadcast.make(
    SERVER_SESSION, round_number=ROUND, context=seed("table"), min_survivors=2, nonce=seed("nonce")
)


def run() -> dict[str, Any]:
    """The parties' private keys and the setup, from which all else follows."""
    parties = [
        {"role": p.public.role, "number": p.public.number, "private": p.to_bytes().hex()}
        for p in (SERVER, *CLIENTS, *DECRYPTORS)
    ]
    return {
        "parties": parties,
        "enrolment_private": ENROLMENT.to_bytes().hex(),
        "enrolment_public": ENROLMENT.public.hex(),
        "setup": SETUP.hex(),
        "setup_digest": Setup.from_bytes(SETUP).digest.hex(),
        "run_tag": Setup.from_bytes(SETUP).run_tag.hex(),
        "round": ROUND,
        "broadcast_digest": BROADCAST.digest.hex(),
    }


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def written(header: Header, body: bytes, by: Identity, to: Identity, **keyed: Any) -> bytes:
    """The frame, its seal with a nonce made from what it covers. keyed: what the seal is bound to instead."""
    bound = {"setup": header.setup, "sender": header.sender, "recipient": header.recipient or to.address, **keyed}
    nonce = hashlib.sha256(header.pack() + body).digest()[:NONCE_BYTES]
    return header.write(by, body, key=seal_key(by, to.public, **bound) if header.bears_seal else None, nonce=nonce)


def header_of(kind: Kind, sender: Identity, to: Address | None, body: bytes, **fields: Any) -> Header:
    base = SERVER_SESSION.header(kind, sender.address, to, len(body), round_number=ROUND, broadcast=BROADCAST.digest)
    return replace(base, **fields)


def frames() -> dict[str, Any]:
    """Good frames of all roles and trailers; bad ones as one reader of each trailer reads them."""
    good = []
    for kind, sender, to, body in (
        (Kind.UPLOAD, CLIENTS[1], SERVER, b"body!"),
        (Kind.UPLOAD, CLIENTS[2], SERVER, b""),
        (Kind.VECTOR, CLIENTS[1], SERVER, b"body!"),
        (Kind.ADVERTISE, CLIENTS[0], SERVER, seed("key")),
        (Kind.NEIGHBOURS, SERVER, CLIENTS[2], bytes(range(40))),
        (Kind.REQUEST, SERVER, DECRYPTORS[2], bytes(range(40))),
        (Kind.OPENING, DECRYPTORS[2], SERVER, b"\0\xff"),
    ):
        frame = written(header_of(kind, sender, to.address, body), body, sender, to)
        entry = {
            "kind": int(kind),
            "sender": list(sender.address),
            "recipient": list(to.address),
            "body": body.hex(),
            "frame": frame.hex(),
        }
        parts = read_frame(frame)
        good.append(entry | ({"nonce": parts.seal[:NONCE_BYTES].hex()} if parts.seal else {}))
    bad = [*bad_sealed_frames(), *bad_uploads(), *bad_signed_frames()]
    return {"good": good, "bad": bad}


def bad_sealed_frames() -> list[dict[str, Any]]:
    """What client 7 reads from the server, in all fields of a header."""
    body = b"to client seven"
    sent = header_of(Kind.NEIGHBOURS, SERVER, CLIENTS[1].address, body)
    frame = written(sent, body, SERVER, CLIENTS[1])
    stranger = identity("client", 99)

    def resealed(by: Identity = SERVER, keyed: dict[str, Any] | None = None, **fields: Any) -> bytes:
        return written(replace(sent, **fields), body, by, CLIENTS[1] if by is SERVER else SERVER, **(keyed or {}))

    longer = replace(sent, body_bytes=len(body) + 1).pack() + frame[HEADER_BYTES:]
    reflected = {"sender": CLIENTS[1].address, "recipient": SERVER.address}
    bad = [
        ("nothing", b"", "TruncatedError"),
        ("header cut", frame[: HEADER_BYTES - 1], "TruncatedError"),
        ("seal cut", frame[:-1], "TruncatedError"),
        ("no seal", frame[:-28], "TruncatedError"),
        ("length promises more", longer, "TruncatedError"),
        ("a byte too many", frame + b"\0", "LeftoverError"),
        ("twice", frame + frame, "LeftoverError"),
        ("another magic", b"S" + frame[1:], "FrameError"),
        ("version 3", frame[:4] + b"\3" + frame[5:], "UnknownVersionError"),
        ("version 5", frame[:4] + b"\5" + frame[5:], "UnknownVersionError"),
        ("kind 0", frame[:5] + b"\0" + frame[6:], "FrameError"),
        ("kind 200", frame[:5] + b"\xc8" + frame[6:], "FrameError"),
        ("sender without a role", frame[:7] + b"\0" + frame[8:], "FrameError"),
        ("recipient of role 4", frame[:8] + b"\4" + frame[9:], "FrameError"),
        ("everybody with a number", frame[:8] + b"\0" + frame[9:], "FrameError"),
        ("a sender of 64 bits", frame[:16] + b"\xff" + frame[17:], "FrameError"),
        ("another protocol", resealed(protocol=1), "WrongProtocolError"),
        ("another run", resealed(run_tag=bytes(16)), "WrongRunError"),
        ("another setup", resealed(setup=bytes(32)), "WrongParametersError"),
        ("another round", resealed(round_number=ROUND + 1), "WrongRoundError"),
        ("from a client", resealed(CLIENTS[0], sender=CLIENTS[0].address), "UnknownSenderError"),
        ("from a stranger", resealed(stranger, sender=stranger.address), "UnknownSenderError"),
        ("from another server", resealed(identity("server", 1), sender=Address("server", 1)), "UnknownSenderError"),
        ("another kind", resealed(kind=Kind.MAILBOX), "PhaseError"),
        ("to another client", resealed(recipient=CLIENTS[0].address), "WrongRecipientError"),
        ("to everybody", resealed(recipient=None), "WrongRecipientError"),
        ("another broadcast", resealed(broadcast=seed("other")), "WrongBroadcastError"),
        ("sealed by another client", resealed(CLIENTS[0]), "SignatureError"),
        ("sealed for another setup", resealed(keyed={"setup": bytes(32)}), "SignatureError"),
        ("sealed for the other direction", resealed(keyed=reflected), "SignatureError"),
        ("sealed by nobody", frame[:-16] + bytes(16), "SignatureError"),
        ("signed instead", frame[:-28] + SERVER.sign("frame", sent.pack(), seed("body")), "LeftoverError"),
        ("a bit of the body flipped", flipped(frame, 8 * HEADER_BYTES + 3), "SignatureError"),
        ("a bit of the nonce flipped", flipped(frame, 8 * (len(frame) - 20)), "SignatureError"),
        ("a bit of the tag flipped", flipped(frame, 8 * len(frame) - 100), "SignatureError"),
    ]
    return [{"kind": int(Kind.NEIGHBOURS), "reader": list(CLIENTS[1].address), **entry(*row)} for row in bad]


def bad_uploads() -> list[dict[str, Any]]:
    """What the server reads from client 7: it takes a seal and a signature."""
    body = b"upload of client seven"
    sent = header_of(Kind.UPLOAD, CLIENTS[1], SERVER.address, body)
    frame = written(sent, body, CLIENTS[1], SERVER)
    end = HEADER_BYTES + len(body)
    key = seal_key(CLIENTS[1], SERVER.public, setup=sent.setup, sender=sent.sender, recipient=SERVER.address)

    def sealed(before: bytes) -> bytes:
        return before + key.seal(before, seed("nonce")[:NONCE_BYTES])

    unsigned = frame[: end + 32] + bytes(64)
    other = header_of(Kind.UPLOAD, CLIENTS[1], SERVER.address, body, broadcast=seed("other"))
    bad = [
        ("upload: seal cut", frame[:-1], "TruncatedError"),
        ("upload: sealed alone", sealed(frame[:end]), "TruncatedError"),
        ("upload: signed alone", frame[:-28], "TruncatedError"),
        ("upload: a byte too many", frame + b"\0", "LeftoverError"),
        ("upload: sealed and not signed", sealed(unsigned), "SignatureError"),
        ("upload: signed and not sealed", frame[:-28] + bytes(28), "SignatureError"),
        ("upload: signed by another client", written(sent, body, CLIENTS[0], SERVER), "SignatureError"),
        (
            "upload: sealed with the signature of another broadcast",
            sealed(frame[: end + 32] + written(other, body, CLIENTS[1], SERVER)[end + 32 : end + 96]),
            "SignatureError",
        ),
        ("upload: sealed with another digest than signed", sealed(frame[:end] + bytes(32) + frame[end + 32 : end + 96]),
         "SignatureError"),
        ("upload: a bit of the body flipped", flipped(frame, 8 * HEADER_BYTES), "SignatureError"),
        ("upload: a bit of the digest flipped", flipped(frame, 8 * end), "SignatureError"),
        ("upload: a bit of the signature flipped", flipped(frame, 8 * (end + 40)), "SignatureError"),
        ("upload: a bit of the seal flipped", flipped(frame, 8 * len(frame) - 1), "SignatureError"),
    ]  # fmt: skip
    return [{"kind": int(Kind.UPLOAD), "reader": list(SERVER.address), **entry(*row)} for row in bad]


def bad_signed_frames() -> list[dict[str, Any]]:
    """What decryptor 2 reads from the server: a seal is no signature."""
    body = b"to decryptor two"
    sent = header_of(Kind.REQUEST, SERVER, DECRYPTORS[2].address, body)
    frame = written(sent, body, SERVER, DECRYPTORS[2])
    before = frame[:-64]
    key = seal_key(SERVER, DECRYPTORS[2].public, setup=sent.setup, sender=sent.sender, recipient=DECRYPTORS[2].address)
    seal = key.seal(before, seed("nonce")[:NONCE_BYTES])
    bad = [
        ("request: sealed instead", before + seal, "TruncatedError"),
        ("request: sealed instead, filled up", before + seal + bytes(36), "SignatureError"),
        ("request: sealed beside", frame + seal, "LeftoverError"),
        ("request: signed by a client", written(sent, body, CLIENTS[1], DECRYPTORS[2]), "SignatureError"),
        ("request: signed by nobody", before + bytes(64), "SignatureError"),
        ("request: a bit of the signature flipped", flipped(frame, 8 * len(frame) - 100), "SignatureError"),
    ]
    return [{"kind": int(Kind.REQUEST), "reader": list(DECRYPTORS[2].address), **entry(*row)} for row in bad]


def entry(why: str, frame: bytes, error: str) -> dict[str, str]:
    return {"why": why, "frame": frame.hex(), "error": error}


def rosters() -> dict[str, Any]:
    """Signed rosters as the pinned enrolment key sees them."""
    lone = Roster(SERVER.public, (CLIENTS[0].public,))
    full = ROSTER.sign(ENROLMENT)

    def entry(party: Identity) -> bytes:
        return struct.pack("<Q32s32s", party.public.number, party.public.signing, party.public.box)

    def signed(clients: list[Identity], decryptors: list[Identity], t: int, f: int, version: int = 1) -> bytes:
        body = struct.pack("<4sBHHIH", b"srro", version, t, f, len(clients), len(decryptors))
        body += b"".join(entry(party) for party in (SERVER, *clients, *decryptors))
        return body + ENROLMENT.sign("roster", body)

    a, b, c = CLIENTS
    twin = Identity("client", 8, seed("client 7 signing"), seed("twin"))
    same_box = Identity("client", 8, seed("twin"), seed("decryptor 0 box"))
    bad = [
        ("nothing", b""),
        ("header cut", full[:10]),
        ("another magic", b"S" + full[1:]),
        ("version 2", signed(CLIENTS, DECRYPTORS, 2, 0, version=2)),
        ("cut", full[:-1]),
        ("a byte too many", full + b"\0"),
        ("signed by another key", ROSTER.sign(EnrolmentKey(seed("other")))),
        ("a bit flipped", flipped(full, 8 * 200)),
        ("no clients", signed([], [], 0, 0)),
        ("a client twice", signed([a, b, b], [], 0, 0)),
        ("falling numbers", signed([b, a], [], 0, 0)),
        ("one signing key for two", signed([a, b, twin], [], 0, 0)),
        ("one box key for two", signed([a, same_box], DECRYPTORS[:1], 1, 0)),
        ("a threshold without decryptors", signed([a], [], 1, 0)),
        ("no threshold", signed([a], DECRYPTORS, 0, 0)),
        ("half is not enough", signed([a], DECRYPTORS[:2], 1, 0)),
        ("half of decryptors and corrupt ones together", signed([a], DECRYPTORS, 2, 1)),
        ("more than there are", signed([a], DECRYPTORS, 4, 0)),
        ("all corrupt", signed([a], DECRYPTORS, 3, 3)),
    ]
    good = [
        {"clients": 3, "decryptors": 3, "threshold": 2, "tolerated": 0, "roster": full.hex()},
        {"clients": 1, "decryptors": 0, "threshold": 0, "tolerated": 0, "roster": lone.sign(ENROLMENT).hex()},
        {
            "clients": 2,
            "decryptors": 3,
            "threshold": 3,
            "tolerated": 2,
            "roster": signed([a, c], DECRYPTORS, 3, 2).hex(),
        },
    ]
    return {"good": good, "bad": [{"why": w, "roster": r.hex(), "error": "RosterError"} for w, r in bad]}


def broadcasts() -> dict[str, Any]:
    """Broadcasts as client 7 reads them, with a floor of 2 survivors."""
    header = read_frame(BROADCAST.data).header

    def signed(body: bytes, signer: Identity = SERVER, **fields: Any) -> bytes:
        return written(replace(header, body_bytes=len(body), **fields), body, signer, CLIENTS[1])

    def body(survivors: int) -> bytes:
        return struct.pack("<32sI32s", seed("table"), survivors, seed("nonce"))

    good = [
        {
            "round": ROUND,
            "context": seed("table").hex(),
            "min_survivors": 2,
            "nonce": seed("nonce").hex(),
            "broadcast": BROADCAST.data.hex(),
            "digest": BROADCAST.digest.hex(),
        }
    ]
    bad = [
        ("cut", BROADCAST.data[:-1], "TruncatedError"),
        ("a byte too many", BROADCAST.data + b"\0", "LeftoverError"),
        ("a body byte too few", signed(body(2)[:-1]), "WrongLengthError"),
        ("a body byte too many", signed(body(2) + b"\0"), "WrongLengthError"),
        ("below the floor", signed(body(1)), "TooFewClientsError"),
        ("no survivors", signed(body(0)), "TooFewClientsError"),
        ("more survivors than the sum holds", signed(body(4)), "TooFewClientsError"),
        ("signed by a client", signed(body(2), CLIENTS[0]), "SignatureError"),
        ("a bit of the table's digest flipped", flipped(BROADCAST.data, 8 * HEADER_BYTES), "SignatureError"),
        ("to one client", signed(body(2), recipient=CLIENTS[1].address), "WrongRecipientError"),
        ("an answer to another", signed(body(2), broadcast=seed("other")), "FrameError"),
        ("another kind", signed(body(2), kind=Kind.SURVIVORS), "PhaseError"),
        ("another setup", signed(body(2), setup=bytes(32)), "WrongParametersError"),
    ]
    return {"good": good, "bad": [{"why": w, "broadcast": b.hex(), "error": e} for w, b, e in bad]}


def manifests() -> dict[str, Any]:
    """Manifests as decryptor 0 reads them, over uploads of 8 bytes: each client's number."""

    def upload(client: Identity, signer: Identity | None = None, **fields: Any) -> UploadRecord:
        body = struct.pack("<Q", client.public.number)
        header = replace(header_of(Kind.UPLOAD, client, SERVER.address, body), **fields)
        body_digest = hashlib.sha256(body).digest()
        return UploadRecord(body_digest, (signer or client).sign("frame", header.pack(), body_digest))

    a, b, c = CLIENTS
    uploads = {client.public.number: upload(client) for client in CLIENTS}
    manifest = Manifest(BROADCAST, uploads).to_bytes()
    at = len(BROADCAST.data)

    def listed(*entries: tuple[int, UploadRecord]) -> bytes:
        packed = b"".join(struct.pack("<Q32s64s", number, r.body_digest, r.signature) for number, r in entries)
        return BROADCAST.data + struct.pack("<I", len(entries)) + packed

    def with_second(record: UploadRecord) -> bytes:
        return listed((0, uploads[0]), (7, record))

    first, second, third = uploads.items()
    stranger = identity("client", 99)
    other = Broadcast.make(
        SERVER_SESSION, round_number=ROUND, context=seed("another table"), min_survivors=2, nonce=seed("nonce")
    )
    later = Broadcast.make(
        SERVER_SESSION, round_number=ROUND + 1, context=seed("table"), min_survivors=2, nonce=seed("nonce")
    )
    bad = [
        ("nothing", b"", "WrongLengthError"),
        ("no count", manifest[: at + 3], "WrongLengthError"),
        ("an entry cut", manifest[: at + 4 + 3 * ENTRY_BYTES - 1], "WrongLengthError"),
        ("a count beyond the cohort", manifest[:at] + b"\xff\xff\xff\xff" + manifest[at + 4 :], "TooManyClientsError"),
        ("nobody", listed(), "TooFewClientsError"),
        ("one client alone", listed(second), "TooFewClientsError"),
        ("a client twice", listed(first, second, second), "DuplicateError"),
        ("falling ids", listed(second, first), "FrameError"),
        ("one upload for two", listed(first, (7, uploads[0])), "DuplicateError"),
        ("a stranger", listed(first, (99, upload(stranger))), "UnknownSenderError"),
        ("another broadcast", other.data + manifest[at:], "WrongBroadcastError"),
        ("a broadcast of another round", later.data + manifest[at:], "WrongRoundError"),
        ("a broadcast that nobody signed", flipped(manifest, 8 * at - 5), "SignatureError"),
        (
            "an upload that nobody signed",
            with_second(UploadRecord(uploads[7].body_digest, bytes(64))),
            "SignatureError",
        ),
        ("an upload that the server signed", with_second(upload(b, SERVER)), "SignatureError"),
        ("an upload of another client", with_second(upload(c, c)), "SignatureError"),
        ("an upload for another table", with_second(upload(b, broadcast=other.digest)), "SignatureError"),
        ("an upload of another round", with_second(upload(b, round_number=ROUND + 1)), "SignatureError"),
        ("an upload of another setup", with_second(upload(b, setup=bytes(32))), "SignatureError"),
        ("an upload of another length", with_second(upload(b, body_bytes=9)), "SignatureError"),
        ("a signed message of another kind", with_second(upload(b, kind=Kind.CONFIRM)), "SignatureError"),
    ]
    good = [
        {"survivors": sorted(uploads), "manifest": manifest.hex()},
        {"survivors": [0, 7], "manifest": listed(first, second).hex()},
        {"survivors": [7, 2**63 - 1], "manifest": listed(second, third).hex()},
    ]
    return {
        "upload_bytes": 8,
        "good": good,
        "bad": [{"why": w, "manifest": m.hex(), "error": e} for w, m, e in bad],
    }


if __name__ == "__main__":
    for make in (run, frames, rosters, broadcasts, manifests):
        (FOLDER / f"{make.__name__}.json").write_text(json.dumps(make(), indent=1) + "\n")
