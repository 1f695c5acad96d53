"""What lies in a checkpoint's folder beside its tensors.

config.json                 ConvLlavaConfig; a folder without it is no checkpoint
model*.safetensors          the tensors, in shards with an index if they are many
tokenizer.model …           as they came with the language model
preprocessor_config.json    how pictures become pixel values, at the model's resolution
generation_config.json      the special tokens that end an answer
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from cvl.errors import CheckpointError
from cvl.train.model.configuration import ConvLlavaConfig

CONFIG = "config.json"
PREPROCESSOR = "preprocessor_config.json"
GENERATION = "generation_config.json"
TOKENIZER_CONFIG = "tokenizer_config.json"
SPECIAL_TOKENS = "special_tokens_map.json"
VOCABULARIES = ("tokenizer.model", "tokenizer.json")
TOKENIZER = (*VOCABULARIES, TOKENIZER_CONFIG, SPECIAL_TOKENS, "added_tokens.json")


def is_ours(folder: Path) -> bool:
    """Whether a folder is a checkpoint in cvl's own format. Such a folder is whole: it appears in one step."""
    return _model_type(folder) == ConvLlavaConfig.model_type


def _model_type(folder: Path) -> object:
    try:
        return json.loads((folder / CONFIG).read_bytes()).get("model_type")
    except (OSError, ValueError, AttributeError):
        return None


def read_config(folder: Path) -> ConvLlavaConfig:
    """The config of a checkpoint of ours.

    Raises:
        CheckpointError: it is none.
    """
    if not is_ours(folder):
        raise CheckpointError(f"{folder} is no checkpoint of cvl's own format")
    return ConvLlavaConfig.from_pretrained(folder)


def read_json(path: Path) -> dict[str, Any]:
    """The object that a JSON file holds.

    Raises:
        CheckpointError: there is no such file, or it holds something else.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError as error:
        raise CheckpointError(f"{path} is missing", hint=f"look at what `ls {path.parent}` shows") from error
    except ValueError as error:
        raise CheckpointError(f"{path} is not JSON: {error}") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} holds a {type(content).__name__}, expected an object")
    return content


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write an object as transformers writes its own: two spaces, keys in order."""
    path.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def copy_tokenizer(source: Path, target: Path, max_length: int) -> None:
    """Copy a tokenizer's files, with the settings that training and the published code use.

    These are: padding with the unknown token, on the right, and a maximum length.

    Raises:
        CheckpointError: `source` has no tokenizer.
    """
    if not any((source / name).is_file() for name in VOCABULARIES):
        raise CheckpointError(f"{source} has no tokenizer, expected {' or '.join(VOCABULARIES)}")
    for name in TOKENIZER:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    config = read_json(target / TOKENIZER_CONFIG)
    unknown = config.get("unk_token")
    padding = unknown["content"] if isinstance(unknown, dict) else unknown
    config |= {"pad_token": padding, "padding_side": "right", "model_max_length": max_length}
    write_json(target / TOKENIZER_CONFIG, config)
    if (target / SPECIAL_TOKENS).is_file():
        write_json(target / SPECIAL_TOKENS, read_json(target / SPECIAL_TOKENS) | {"pad_token": padding})


def copy_preprocessor(source: Path, target: Path, resolution: int) -> None:
    """Copy how an encoder wants its pictures, set to squares of `resolution` pixels.

    Raises:
        CheckpointError: `source` does not say it.
    """
    sizes = {"size": {"shortest_edge": resolution}, "crop_size": {"height": resolution, "width": resolution}}
    write_json(target / PREPROCESSOR, read_json(source / PREPROCESSOR) | sizes)


def generation_tokens(config: ConvLlavaConfig) -> dict[str, Any]:
    """The ids of the tokens that begin and end an answer, and of padding: the unknown token where none is set.

    How answers are chosen is the user's affair. (Vicuna's own file asks for a temperature without sampling, which
    transformers refuses to save.)
    """
    text = config.text_config
    padding = text.pad_token_id if text.pad_token_id is not None else 0
    return {"bos_token_id": text.bos_token_id, "eos_token_id": text.eos_token_id, "pad_token_id": padding}


def write_companions(folder: Path, config: ConvLlavaConfig, tokenizer: Path, preprocessor: Path) -> None:
    """Put beside a model's tensors what a checkpoint needs but for its config.json.

    Args:
        folder: of the checkpoint.
        config: of the model, which says the resolution and the longest sequence.
        tokenizer: the folder that the tokenizer's files are copied from.
        preprocessor: the folder that preprocessor_config.json is copied from.

    Raises:
        CheckpointError: one of the folders has no such files.
    """
    copy_tokenizer(tokenizer, folder, config.max_length)
    copy_preprocessor(preprocessor, folder, config.resolution)
    write_json(folder / GENERATION, generation_tokens(config))
