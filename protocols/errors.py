"""Everything a secure sum can refuse, each by its own name. Messages are whole sentences for people."""


class ProtocolError(Exception):
    """Base of all refusals of this package."""

    exit_code = 8


class SpecError(ProtocolError):
    """A sum was specified with numbers that make no sense, or that no parameter set can carry."""


class ValuesError(ProtocolError):
    """A client's own values have the wrong type, length or range."""


class FrameError(ProtocolError):
    """Bytes that are no frame of this package, or not the kind of frame expected here."""


class TruncatedError(FrameError):
    """A frame ends before its header or body does."""


class LeftoverError(FrameError):
    """Bytes follow the end of a frame, or bits that must be zero are not."""


class UnknownVersionError(FrameError):
    """A frame of a version that this program does not speak."""


class WrongProtocolError(ProtocolError):
    """A frame of another protocol, or a protocol that is not known."""


class WrongParametersError(ProtocolError):
    """A frame made for another specification of the sum or other cryptographic parameters."""


class WrongKeyError(ProtocolError):
    """A frame made under another key."""


class WrongRunError(ProtocolError):
    """A frame that belongs to another run."""


class WrongRoundError(ProtocolError):
    """A frame that belongs to another round."""


class WrongLengthError(ProtocolError):
    """A complete frame whose body is not as long as the parameters demand."""


class ResidueError(ProtocolError):
    """A body holds a number outside the range of its modulus."""


class DuplicateError(ProtocolError):
    """A client counted twice in one round."""


class TooManyClientsError(ProtocolError):
    """More contributors than the fields and the noise were sized for."""


class TooFewClientsError(ProtocolError):
    """Fewer contributors than the decryptor opens a sum for."""


class SpentRoundError(ProtocolError):
    """The decryptor has answered for this round, or as often as its key allows."""


class NoiseError(ProtocolError):
    """A decrypted sum lies too far from the exact grid: damaged, tampered with, or of another key."""


class RangeError(ProtocolError):
    """An opened sum holds a number that honest clients cannot produce."""


class IdentityError(ProtocolError):
    """Bytes that are no identity or key, or a key that agrees on nothing."""


class RosterError(ProtocolError):
    """A roster that is not signed by the pinned enrolment key, contradicts itself, or does not name its holder."""


class SetupError(ProtocolError):
    """A setup that is malformed, or whose public keys their owner did not sign."""


class SignatureError(ProtocolError):
    """A message, or an upload named in a manifest, without a valid signature of the party it names."""


class UnknownSenderError(ProtocolError):
    """A message from a party that the roster, or the round's cohort, does not name, or whose role may not send it."""


class WrongRecipientError(ProtocolError):
    """A message that was signed for another party."""


class WrongBroadcastError(ProtocolError):
    """A message that answers another broadcast of the same round: its maker saw another table."""


class PhaseError(ProtocolError):
    """A message, or a call, that has no place in the round's present phase."""


class RoundAborted(ProtocolError):
    """A round that cannot be opened any more; the message says what it lacked."""


class SurvivorsError(ProtocolError):
    """A set of survivors that contradicts what the client it was sent to knows."""
