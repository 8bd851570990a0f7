import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocols import Address, EnrolmentKey, Identity, PublicIdentity
from protocols.errors import IdentityError, SignatureError
from protocols.identity import verify_enrolment
from protocols.transcript import digest, transcript

ANNE, BILL = Identity.generate("client", 1), Identity.generate("decryptor", 1)

PARTS = st.lists(st.binary(max_size=5), max_size=4)


@given(PARTS, PARTS, st.sampled_from(["a", "ab", "b"]), st.sampled_from(["a", "ab", "b"]))
def test_transcripts_are_equal_only_if_labels_and_parts_are(
    one: list[bytes], two: list[bytes], label: str, other: str
) -> None:
    same = (label, one) == (other, two)
    assert (transcript(label, *one) == transcript(other, *two)) == same
    assert (digest(label, *one) == digest(other, *two)) == same


def test_a_signature_holds_for_its_label_and_its_parts_only() -> None:
    signature = ANNE.sign("label", b"one", b"two")
    ANNE.public.verify(signature, "label", b"one", b"two")
    assert ANNE.sign("label", b"one", b"two") == signature
    for label, parts in (("other", (b"one", b"two")), ("label", (b"onet", b"wo")), ("label", (b"one",))):
        with pytest.raises(SignatureError, match="client 1"):
            ANNE.public.verify(signature, label, *parts)
    with pytest.raises(SignatureError):
        BILL.public.verify(signature, "label", b"one", b"two")
    for short in (b"", signature[:-1], signature + b"\0"):
        with pytest.raises(SignatureError):
            ANNE.public.verify(short, "label", b"one", b"two")


def test_two_parties_agree_on_one_secret_and_a_third_does_not() -> None:
    third = Identity.generate("client", 2)
    assert ANNE.shared_key(BILL.public) == BILL.shared_key(ANNE.public) == ANNE.shared_key(BILL.public)
    assert third.shared_key(BILL.public) != ANNE.shared_key(BILL.public)
    assert len(ANNE.shared_key(BILL.public)) == 32


def test_a_box_key_that_agrees_on_nothing_is_refused() -> None:
    for weak in (bytes(32), b"\1" + bytes(31)):
        with pytest.raises(IdentityError, match="box key of client 9 is weak"):
            ANNE.shared_key(PublicIdentity("client", 9, ANNE.public.signing, weak))


def test_identities_survive_storage() -> None:
    again = Identity.from_bytes(ANNE.to_bytes())
    assert again == ANNE and again.public == ANNE.public and hash(again) == hash(ANNE)
    assert again != BILL and again != "client 1"
    assert again.sign("label", b"x") == ANNE.sign("label", b"x")
    assert again.shared_key(BILL.public) == ANNE.shared_key(BILL.public)


@pytest.mark.parametrize(
    "change",
    [lambda d: b"", lambda d: d[:-1], lambda d: d + b"\0", lambda d: b"x" + d[1:], lambda d: d[:4] + b"\7" + d[5:],
     lambda d: d[:5] + b"\0" + d[6:], lambda d: d[:5] + b"\4" + d[6:], lambda d: d[:13] + b"\xff" + d[14:]],
)  # fmt: skip
def test_bytes_that_are_no_identity_are_refused_without_being_repeated(change) -> None:  # type: ignore[no-untyped-def]
    data = change(ANNE.to_bytes())
    with pytest.raises(IdentityError, match="[.]$") as refusal:
        Identity.from_bytes(data)
    assert ANNE.to_bytes()[-8:].hex() not in str(refusal.value)


def test_private_keys_are_not_printed() -> None:
    key = EnrolmentKey.generate()
    private = ANNE.to_bytes()
    for text in (repr(ANNE), str(ANNE), repr(key), str(key), repr(ANNE.public)):
        for secret in (private[14:46], private[46:], key.to_bytes()):
            assert secret.hex() not in text and repr(secret)[2:-1] not in text


def test_an_enrolment_key_signs_for_its_public_part_alone() -> None:
    key, other = EnrolmentKey.generate(), EnrolmentKey.generate()
    signature = key.sign("roster", b"body")
    verify_enrolment(key.public, signature, "roster", b"body")
    assert EnrolmentKey(key.to_bytes()).public == key.public
    for public, label in ((other.public, "roster"), (key.public, "other")):
        with pytest.raises(SignatureError):
            verify_enrolment(public, signature, label, b"body")
    with pytest.raises(IdentityError, match="32 bytes, not 3"):
        verify_enrolment(b"abc", signature, "roster", b"body")
    with pytest.raises(IdentityError, match="32 bytes, not 3"):
        EnrolmentKey(b"abc")


@pytest.mark.parametrize(
    "fields",
    [("king", 0, bytes(32), bytes(32)), ("client", -1, bytes(32), bytes(32)), ("client", 1 << 63, bytes(32), bytes(32)),
     ("client", 0, bytes(31), bytes(32)), ("client", 0, bytes(32), bytes(33))],
)  # fmt: skip
def test_parties_that_cannot_be_are_refused(fields: tuple[str, int, bytes, bytes]) -> None:
    with pytest.raises(IdentityError):
        PublicIdentity(*fields)  # type: ignore[arg-type]


def test_addresses_are_plain_tuples_with_a_name() -> None:
    assert Address("client", 7) == ("client", 7) and str(Address("client", 7)) == "client 7"
    assert str(Address("server", 0)) == "the server"
