"""A party as a Flower ClientApp: each message is one letter, and so is its reply."""

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from securerec.federation.parties.exchange import Party
from securerec.federation.parties.letters import MAX_LETTER_BYTES, LetterError

ACTION = "securerec"
MESSAGE_TYPE = f"query.{ACTION}"
_PIECE, _BYTES = "letter.{:04d}", "bytes"
PIECE_BYTES = 16 << 20
"""Each piece of a message is a request of its own, so there are few."""


def content_of(letter: bytes) -> RecordDict:
    """A letter as a Flower message carries it: its bytes, in a few pieces where it is long."""
    pieces = [letter[at : at + PIECE_BYTES] for at in range(0, len(letter), PIECE_BYTES)] or [b""]
    return RecordDict({_PIECE.format(n): ConfigRecord({_BYTES: piece}) for n, piece in enumerate(pieces)})


def letter_of(content: RecordDict) -> bytes:
    """The letter in a message's content. Raises LetterError for anything else."""
    if len(content) > 1 + MAX_LETTER_BYTES // PIECE_BYTES:
        raise LetterError(f"A Flower message of {len(content)} pieces is refused.")
    pieces = []
    for number in range(len(content)):
        record = content.get(_PIECE.format(number))
        piece = record.get(_BYTES) if isinstance(record, ConfigRecord) and len(record) == 1 else None
        if not isinstance(piece, bytes):
            raise LetterError("A Flower message is refused: its content is not the pieces of one letter.")
        pieces.append(piece)
    size = sum(map(len, pieces))
    if not pieces or size > MAX_LETTER_BYTES:
        raise LetterError(f"A letter of {size} bytes is refused: {MAX_LETTER_BYTES} are the most.")
    return b"".join(pieces)


def client_app(party: Party) -> ClientApp:
    """The app of a party that lives in this process. It answers letters and knows no other message.

    Bytes that are no letter get a reply that says so and no more: no exception of the party travels.
    """
    app = ClientApp()

    @app.query(ACTION)
    def answer(message: Message, context: Context) -> Message:
        try:
            return Message(content_of(party.answer(letter_of(message.content))), reply_to=message)
        except LetterError as error:
            return Message(refusal_of(str(error)), reply_to=message)

    return app


def refusal_of(sentence: str) -> RecordDict:
    """Why a message was not read, for whoever sent it."""
    return RecordDict({"refused": ConfigRecord({"because": sentence})})
