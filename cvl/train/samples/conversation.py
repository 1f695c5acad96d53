"""A record of an instruction file as the text that the model reads, by conversation template v1 (Vicuna's).

    SYSTEM USER: <image>\\nquestion ASSISTANT: answer</s>USER: question ASSISTANT: answer</s>

What a record says is read as the published code reads it. A first turn by gpt is dropped. In a record with a picture,
the turn that holds the placeholder loses it, however often it stands there, and the white space at both ends; the
picture then stands first in it. A picture whose placeholder is in no turn that remains is not seen. In a record without
a picture the placeholder is text. An empty turn is its speaker's name and a colon, without a separator.

Where the picture stands and what the answers are is known while the text is written, and is never looked for in it: a
text may hold whatever looks like a part of the template.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import msgspec

from cvl.annotations.records import FATAL, PLACEHOLDER, Problem, Record, examine
from cvl.errors import AnnotationError, UsageError

SYSTEM = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions."
)
USER = "USER"
ASSISTANT = "ASSISTANT"
UNKNOWN, BEGIN, END = SPECIAL_TOKENS = ("<unk>", "<s>", "</s>")
"""The special tokens of Llama's tokenizers as they are written; `END` is also what the template ends an answer with."""

_SPEAKERS = ((USER, " "), (ASSISTANT, END))
_ANSWERS = f" {ASSISTANT}: "


class RecordError(AnnotationError):
    """A record cannot be trained on."""


@dataclass(frozen=True)
class Prompt:
    """A conversation as text.

    Args:
        text: without the characters of the placeholder.
        picture_at: the offset in `text` where the picture's tokens go; None where no picture is seen.
        answers: the spans of `text` that are learnt, in order: each begins just after `ASSISTANT:` and ends after its
            `</s>`. An empty answer has none.
    """

    text: str
    picture_at: int | None
    answers: tuple[tuple[int, int], ...]

    @property
    def published(self) -> str:
        """The prompt as the published code writes it, with the placeholder."""
        if self.picture_at is None:
            return self.text
        return self.text[: self.picture_at] + PLACEHOLDER + self.text[self.picture_at :]


class _Turn(NamedTuple):
    """What a speaker says, and whether the picture stands before it."""

    text: str
    pictured: bool = False


def prompt_of(record: Mapping[str, Any]) -> Prompt:
    """The prompt of a record as it stands in an instruction file.

    Raises:
        RecordError: it has a problem of `cvl.annotations.records.FATAL`.
    """
    turns, pictured = _read(record)
    return _compose(_shown(text) if pictured and PLACEHOLDER in text else _Turn(text) for text in turns)


def question(text: str, history: Sequence[tuple[str, str]] = (), *, picture: bool) -> Prompt:
    """The prompt that asks for an answer to `text`: it ends with `ASSISTANT:`.

    Args:
        history: the questions asked before, with their answers.
        picture: whether the first question is about one. It is read as in a record: without placeholders, and without
            white space at its ends. In all others the placeholder is text.

    Raises:
        UsageError: a text holds half of a surrogate pair, as an argument that is not valid UTF-8 does.
    """
    first, *rest = [*chain.from_iterable(history), text]
    turns = [_shown(first) if picture else _Turn(first), *map(_Turn, rest)]
    prompt = _compose([*turns, _Turn("")])
    if _is_broken(prompt.text):
        raise UsageError("the question cannot be read as text, expected UTF-8", hint="type it anew")
    return prompt


def special_tokens_in(prompt: Prompt) -> int:
    """How many times the record's own texts write a special token (`<unk>`, `<s>` or `</s>`).

    They become the special tokens and not text, as in the published code.
    """
    return sum(map(prompt.text.count, SPECIAL_TOKENS)) - len(prompt.answers)


def published_answers(prompt: Prompt) -> tuple[tuple[int, int], ...] | None:
    """The spans that the published code learns, which finds them by what the text looks like; None if it gives up.

    It splits the text at every `</s>` and each part at ` ASSISTANT: `, expects two halves, counts their tokens, and
    gives up a whole record, with a warning, when the counts do not add up. That concerns an empty question, an empty
    last answer, a last turn by human, a literal `</s>` or `<unk>`, and ` ASSISTANT: ` in a text. A text that ends like
    the template's own signal moves a span instead: the result is neither None nor `prompt.answers`.

    The result is `prompt.answers` if and only if the published labels are right, for tokenizers with `legacy: false`
    and texts that are not cut. With the other kind the published code gives up every conversation of several answers.
    Where a text writes a special token it may move spans where None is returned, or the other way round.
    """
    *parts, rest = prompt.text.split(END)
    if rest or UNKNOWN in prompt.text:
        return None
    spans, start = [], 0
    for part in parts:
        before, signal, answer = part.partition(_ANSWERS)
        if not signal or _ANSWERS in answer:
            return None
        end = start + len(part) + len(END)
        spans.append((start + len(before) + len(signal) - 1, end))
        start = end
    return tuple(spans)


def _read(record: Mapping[str, Any]) -> tuple[list[str], bool]:
    """The texts of the turns, a human's first, and whether the record has a picture."""
    try:
        parsed = msgspec.convert(record, Record)
    except msgspec.ValidationError as error:
        raise _refused(record, str(error)) from error
    problems = Problem(examine(parsed).problems)
    turns = parsed.conversations or []
    if not problems & FATAL and any(_is_broken(turn.value) for turn in turns):
        problems |= Problem.NOT_STRICT_JSON
    if problems & FATAL:
        raise _refused(record, (problems & FATAL).label)
    dropped = 1 if problems & Problem.FIRST_TURN_GPT else 0
    return [turn.value for turn in turns[dropped:]], bool(parsed.image)


def _refused(record: Mapping[str, Any], problem: str) -> RecordError:
    name = record.get("id") if isinstance(record, Mapping) else None
    message = f"record{f' with id {name!r}' if name is not None else ''}: {problem}"
    return RecordError(message, hint="mend the record, or leave it out of the instruction file")


def _is_broken(text: str) -> bool:
    """Whether there is half of a surrogate pair in a text, which is no Unicode that a tokenizer would take."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False


def _shown(text: str) -> _Turn:
    rest = text.replace(PLACEHOLDER, "").strip()
    return _Turn(f"\n{rest}" if rest else "", pictured=True)


def _compose(turns: Iterable[_Turn]) -> Prompt:
    parts = [SYSTEM, " "]
    length = len(SYSTEM) + 1
    picture_at = None
    answers = []
    for number, turn in enumerate(turns):
        name, separator = _SPEAKERS[number % 2]
        start = length + len(name) + 1
        if turn.pictured:
            picture_at = start + 1
        written = f"{name}: {turn.text}{separator}" if turn.text or turn.pictured else f"{name}:"
        parts.append(written)
        length += len(written)
        if name == ASSISTANT and length > start:
            answers.append((start, length))
    return Prompt("".join(parts), picture_at, tuple(answers))
