"""What one record of an instruction file says, and what is wrong with it.

A record is an object with `conversations`, a list of turns `{"from": "human" | "gpt", "value": text}`, and mostly an
`image`, a path below the file's image root. A record whose `image` is absent, null or empty has no picture: it is
text-only. `<image>` in a turn is the place of the picture; where in the turn it stands does not matter.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

HUMAN = "human"
GPT = "gpt"
PLACEHOLDER = "<image>"
SPECIAL = ("</s>", "<unk>")
SIGNAL = "ASSISTANT: "
"""What the published code finds its way in a conversation by; a text that holds it leads that code astray."""

UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What decoding bytes that are no JSON raises; the last one where brackets are nested thousands deep."""


class Problem(enum.IntFlag):
    """What can be wrong with a record that is valid JSON. The values are part of the index's format: never renumber."""

    NO_CONVERSATIONS = 1 << 0
    UNKNOWN_SPEAKER = 1 << 1
    EMPTY_ANSWER = 1 << 2
    NOT_TEXT = 1 << 3
    IMAGE_WITHOUT_PLACEHOLDER = 1 << 4
    PLACEHOLDER_WITHOUT_IMAGE = 1 << 5
    IMAGE_LIST = 1 << 6
    IMAGE_NOT_TEXT = 1 << 7
    FIRST_TURN_GPT = 1 << 8
    NOT_AN_OBJECT = 1 << 9
    NO_ANSWER = 1 << 10
    OUT_OF_ORDER = 1 << 11
    LAST_TURN_HUMAN = 1 << 12
    SEVERAL_PLACEHOLDERS = 1 << 13
    NOT_STRICT_JSON = 1 << 14
    TEMPLATE_IN_TEXT = 1 << 15

    @property
    def label(self) -> str:
        """The problem in words for people; several are joined by commas."""
        return ", ".join(LABELS[problem] for problem in type(self)(self))


LABELS = {
    Problem.NO_CONVERSATIONS: "no conversations",
    Problem.UNKNOWN_SPEAKER: "a speaker other than human and gpt",
    Problem.EMPTY_ANSWER: "an empty answer",
    Problem.NOT_TEXT: "a turn's value is not a string",
    Problem.IMAGE_WITHOUT_PLACEHOLDER: "an image, but no <image> in any turn",
    Problem.PLACEHOLDER_WITHOUT_IMAGE: "<image> in a turn, but no image",
    Problem.IMAGE_LIST: "image is a list",
    Problem.IMAGE_NOT_TEXT: "image is not a string, or one that is no path",
    Problem.FIRST_TURN_GPT: "the first turn is by gpt",
    Problem.NOT_AN_OBJECT: "the record is not an object",
    Problem.NO_ANSWER: "nothing is answered",
    Problem.OUT_OF_ORDER: "the speakers do not take turns",
    Problem.LAST_TURN_HUMAN: "the last turn is by human",
    Problem.SEVERAL_PLACEHOLDERS: "one image, but <image> in several turns",
    Problem.NOT_STRICT_JSON: "a NaN, or half of a surrogate pair",
    Problem.TEMPLATE_IN_TEXT: "a text that looks like a part of the template",
}

FATAL = (
    Problem.NO_CONVERSATIONS
    | Problem.UNKNOWN_SPEAKER
    | Problem.NOT_TEXT
    | Problem.IMAGE_LIST
    | Problem.IMAGE_NOT_TEXT
    | Problem.NOT_AN_OBJECT
    | Problem.NO_ANSWER
    | Problem.OUT_OF_ORDER
    | Problem.SEVERAL_PLACEHOLDERS
    | Problem.NOT_STRICT_JSON
)
"""A record with one of these cannot be trained on. At most of them the published code stops with an exception; with
`NO_ANSWER` it would teach silence, with `SEVERAL_PLACEHOLDERS` it would take the next record's picture, and
`NOT_STRICT_JSON` is let pass by Python's reader only. The others are remarks: an answer left empty among others, an
image that no turn asks for (it is not seen), a literal `<image>` in a text-only record (read as text), a first turn by
gpt (it is dropped), a last turn by human (nothing answers it), a text that looks like a part of the template (the
published code gives the whole record up; ours learns it)."""

MENDED = {
    Problem.EMPTY_ANSWER: "the other answers are learnt",
    Problem.IMAGE_WITHOUT_PLACEHOLDER: "the picture is not seen",
    Problem.PLACEHOLDER_WITHOUT_IMAGE: "read as text",
    Problem.FIRST_TURN_GPT: "it is dropped",
    Problem.LAST_TURN_HUMAN: "nothing is learnt from it",
    Problem.TEMPLATE_IN_TEXT: "its answers are learnt, where the published code gives the record up",
}
"""The problems that are no reason to leave a record out, and how training reads each."""


class Turn(msgspec.Struct, rename={"speaker": "from"}, gc=False):
    """One turn as it stands in the file. `Any`: a wrong type is to be a problem of its record, not an exception."""

    speaker: Any = None
    value: Any = None


class Record(msgspec.Struct, gc=False):
    """The fields of a record that the index needs; all others are skipped without being decoded."""

    image: Any = None
    conversations: list[Turn] | None = None


class Findings(NamedTuple):
    """What the index needs of a record.

    Attributes:
        image: the path as written, "" for a record without one (text-only, or one with an image problem).
        texts: the values of all turns, those left out that are not strings.
        turns: how many, those included that are dropped in training.
        problems: of `Problem`, as a bit mask.
    """

    image: str
    texts: list[str]
    turns: int
    problems: int


_DECODER = msgspec.json.Decoder(Record)


def decode(raw: bytes | bytearray | memoryview) -> Record | None:
    """The record in these bytes; None if they hold some other JSON value than an object.

    Raises:
        one of `UNREADABLE`: the bytes are no JSON.
    """
    try:
        return _DECODER.decode(raw)
    except msgspec.ValidationError:
        return _of_any_shape(msgspec.json.decode(raw))


def examine(record: Record | None) -> Findings:
    """What the index needs of a record as `decode` gives it."""
    # Flags are only joined where there is a problem: that costs a microsecond, and there are millions of records.
    if record is None:
        return Findings("", [], 0, int(Problem.NOT_AN_OBJECT))
    image_problem = _image_problem(record.image)
    image = record.image if isinstance(record.image, str) and not image_problem else ""
    turns = record.conversations
    if not turns:
        return Findings(image, [], 0, int(image_problem | Problem.NO_CONVERSATIONS))
    speakers = [turn.speaker for turn in turns]
    values = [turn.value for turn in turns]
    texts = [value for value in values if isinstance(value, str)]
    problems = (
        (image_problem or _placeholder_problem(image, texts))
        | (0 if len(texts) == len(values) else Problem.NOT_TEXT)
        | _order_problems(speakers)
        | _answer_problems(speakers, values)
        | _template_problem(texts)
    )
    return Findings(image, texts, len(turns), int(problems))


def _of_any_shape(value: object) -> Record | None:
    """The record in a value that did not fit `Record`."""
    if not isinstance(value, dict):
        return None
    turns = value.get("conversations")
    return Record(value.get("image"), [_turn(turn) for turn in turns] if isinstance(turns, list) else None)


def _turn(value: object) -> Turn:
    return Turn(value.get("from"), value.get("value")) if isinstance(value, dict) else Turn()


def _image_problem(image: object) -> int:
    if image is None or (isinstance(image, str) and "\0" not in image):
        return 0
    return Problem.IMAGE_LIST if isinstance(image, list) else Problem.IMAGE_NOT_TEXT


def _placeholder_problem(image: str, texts: Sequence[str]) -> int:
    holding = sum([PLACEHOLDER in text for text in texts])
    if not image:
        return Problem.PLACEHOLDER_WITHOUT_IMAGE if holding else 0
    if holding == 1:
        return 0
    return Problem.SEVERAL_PLACEHOLDERS if holding else Problem.IMAGE_WITHOUT_PLACEHOLDER


def _template_problem(texts: Sequence[str]) -> int:
    for text in texts:
        # One letter is looked for first: that is a hundred times as quick, and most often enough.
        if ("<" in text and any(special in text for special in SPECIAL)) or ("N" in text and SIGNAL in text):
            return Problem.TEMPLATE_IN_TEXT
    return 0


def _order_problems(speakers: list[object]) -> int:
    if len(speakers) % 2 == 0 and _take_turns(speakers):
        return 0
    if speakers.count(HUMAN) + speakers.count(GPT) < len(speakers):
        return Problem.UNKNOWN_SPEAKER
    problems = 0
    if speakers[0] == GPT:
        problems |= Problem.FIRST_TURN_GPT
        speakers = speakers[1:]
    if not _take_turns(speakers):
        problems |= Problem.OUT_OF_ORDER
    if speakers and speakers[-1] == HUMAN:
        problems |= Problem.LAST_TURN_HUMAN
    return problems


def _take_turns(speakers: list[object]) -> bool:
    return speakers[::2].count(HUMAN) + speakers[1::2].count(GPT) == len(speakers)


def _answer_problems(speakers: list[object], values: list[object]) -> int:
    """Looks at what gpt says to somebody: its leading turn is dropped in training, so it answers nothing."""
    first = 1 if speakers[0] == GPT else 0
    answers = [value for speaker, value in zip(speakers[first:], values[first:], strict=True) if speaker == GPT]
    blank = sum([answer == "" or (isinstance(answer, str) and answer.isspace()) for answer in answers])
    problems = Problem.EMPTY_ANSWER if blank else 0
    return problems if len(answers) > blank else problems | Problem.NO_ANSWER
