"""`cvl train --inspect N`: samples as the model will see them, before an hour is spent on them."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from transformers import PreTrainedTokenizerFast

from cvl.manifest import Catalog
from cvl.root import Root
from cvl.train.batch import batching
from cvl.train.checkpoint.published import open_published
from cvl.train.job import Job
from cvl.train.origin import Origin, origin_of
from cvl.train.progress import Inspected, Piece
from cvl.train.samples.collate import expand
from cvl.train.samples.conversation import Prompt, prompt_of, published_answers, special_tokens_in
from cvl.train.samples.damage import Damaged
from cvl.train.samples.dataset import SampleDataset
from cvl.train.samples.mix import read_mix
from cvl.train.samples.pictures import Preprocessing
from cvl.train.samples.tokens import IGNORED, PICTURE, Tokens, load_tokenizer
from cvl.train.trainer import order_of

_ENDLESS = 2**31


def inspect(catalog: Catalog, root: Root, job: Job, count: int) -> list[Inspected]:
    """The first `count` samples of the run, in the order in which they will come.

    Raises:
        UsageError: data or start weights are not here.
    """
    stage, model = job.stage, catalog.models[job.model]
    origin = origin_of(catalog, root, job)
    tokenizer_folder, picture_folder = _folders(origin)
    tokenizer = load_tokenizer(tokenizer_folder, stage.scripts.max_length)
    mix = read_mix(catalog, root, job.number, bad_records=stage.run.bad_records)
    found = Preprocessing.from_folder(picture_folder)
    dataset = SampleDataset(mix, tokenizer, Preprocessing(model.resolution, found.mean, found.std))
    order = order_of(mix, stage, batching(stage.document.batch_size, 1, stage.run.micro_batch))
    sizes = (model.visual_tokens, stage.scripts.max_length)
    return [_look(dataset, index, tokenizer, sizes) for index in islice(order, count)]


def _look(dataset: SampleDataset, index: int, tokenizer: PreTrainedTokenizerFast, sizes: tuple[int, int]) -> Inspected:
    """One sample, expanded and cut as `sizes` say: the tokens of a picture, and the longest sequence."""
    visual_tokens, max_length = sizes
    part, number = dataset.mix.locate(index)
    image = part.index.image(number)
    picture = part.images / image if image is not None else None
    sample = dataset[index]
    if isinstance(sample, Damaged):
        return Inspected(part.name, number, picture, (), 0, damaged=sample.reason)
    whole = expand(sample.tokens, visual_tokens, _ENDLESS)
    cut = expand(sample.tokens, visual_tokens, max_length)
    dropped = len(whole.input_ids) - len(cut.input_ids)
    remarks = tuple(_remarks(prompt_of(part.index.record(number))))
    return Inspected(part.name, number, picture, _pieces(cut, tokenizer), dropped, remarks)


def _remarks(prompt: Prompt) -> Iterator[str]:
    """What is odd about a sample, that its tokens do not show."""
    if count := special_tokens_in(prompt):
        yield f"its texts write {count} special tokens, which are read as such"
    published = published_answers(prompt)
    if published is None:
        yield "the published code gives this record up: here its answers are learnt"
    elif published != prompt.answers:
        yield "the published code learns other parts of this record"


def _folders(origin: Origin) -> tuple[Path, Path]:
    """Where tokenizer and preprocessing are, also before the weights were put together."""
    if not origin.has_to_be_made:
        return origin.folder, origin.folder
    if origin.parts is not None:
        return origin.parts
    source = open_published(origin.published or "", origin.vision_tower).source
    return source.tokenizer, source.preprocessor


def _pieces(tokens: Tokens, tokenizer: PreTrainedTokenizerFast) -> tuple[Piece, ...]:
    pieces: list[Piece] = []
    ids, labels = tokens.input_ids.tolist(), tokens.labels.tolist()
    start = 0
    for end in range(1, len(ids) + 1):
        kind = (labels[start] != IGNORED, ids[start] == PICTURE)
        if end < len(ids) and (labels[end] != IGNORED, ids[end] == PICTURE) == kind:
            continue
        text = "" if kind[1] else str(tokenizer.decode(ids[start:end]))
        pieces.append(Piece(text, end - start, *kind))
        start = end
    return tuple(pieces)
