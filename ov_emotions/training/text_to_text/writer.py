"""A sequence-to-sequence model loaded for the task: texts in, label names written and read back."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from tokenizers import Tokenizer
from torch import Tensor
from transformers import AutoConfig, AutoModelForSeq2SeqLM, GenerationConfig

from ov_emotions.encoding import EncodedBatch, TextEncoder
from ov_emotions.errors import CheckpointError, InputError
from ov_emotions.normalize import normalize
from ov_emotions.system import quiet_transformers, require
from ov_emotions.training.checkpoint import TOKENIZER_NAME, plain_tokenizer
from ov_emotions.training.device import Device
from ov_emotions.training.settings import Text2TextConfig
from ov_emotions.training.text_to_text.targets import (
    OutputCounts,
    ParsedTarget,
    TargetFormat,
    Text2TextManifest,
    is_text_to_text,
)

logger = logging.getLogger(__name__)

MAX_CONSTRAINED_LABELS = 10


@dataclass(frozen=True)
class Written:
    """What a model wrote about several texts.

    :param outputs: its words, as they are; empty for a text that holds nothing to read.
    :param predicted: bool, shape (texts, labels): the labels of the most probable output.
    :param scores: float32, same shape: the share of the beams' probability that lies on outputs
        with the label; 1 or 0 with one beam.
    :param truncated: bool, shape (texts,): whether a text was cut.
    :param counts: how many outputs could be read; texts with nothing to read are not among them.
    """

    outputs: tuple[str, ...]
    predicted: NDArray[np.bool_]
    scores: NDArray[np.float32]
    truncated: NDArray[np.bool_]
    counts: OutputCounts


class LabelWriter:
    """A model and the ways to ask it.

    :param options: prefix, lengths, beams, and whether nothing but labels can be written.
    :param batch_tokens: source tokens of a batch at most, padding included.
    :raises InputError: if constrained writing is asked for and the labels are too many.
    """

    def __init__(
        self,
        model: Any,
        tokenizer: Tokenizer,
        target: TargetFormat,
        options: Text2TextConfig | Text2TextManifest,
        device: Device,
        batch_tokens: int = 4096,
    ) -> None:
        self.model = model
        self.target = target
        self.options = options
        self.device = device
        self.batch_tokens = batch_tokens
        self._tokenizer = tokenizer
        own = Tokenizer.from_str(tokenizer.to_str())
        self._encoder = TextEncoder(own, options.max_source_length, "truncate")
        self._allowed = allowed_tokens(tokenizer, target) if options.constrained else None

    def write(self, texts: Sequence[str]) -> Written:
        """Let the model write about texts."""
        normalized = [normalize(text) for text in texts]
        readable = [i for i, text in enumerate(normalized) if text]
        encoded = self._encoder.encode([self.options.prefix + normalized[i] for i in readable])
        groups = encoded.groups(self.batch_tokens)
        outputs = [""] * len(texts)
        shape = (len(texts), len(self.target.labels))
        predicted, scores = np.zeros(shape, dtype=np.bool_), np.zeros(shape, dtype=np.float32)
        truncated = np.zeros(len(texts), dtype=np.bool_)
        truncated[readable] = encoded.truncated
        best: list[ParsedTarget] = []
        for group, batch in zip(groups, encoded.batches(groups), strict=True):
            for window, (beams, shares) in zip(group, self._generate(batch), strict=True):
                row = readable[encoded.owners[window]]
                parsed = [self.target.parse(beam) for beam in beams]
                found = np.array([[x in p.labels for x in self.target.labels] for p in parsed])
                outputs[row], predicted[row] = beams[0], found[0]
                scores[row] = np.clip(shares @ found, 0, 1)
                best.append(parsed[0])
        return Written(tuple(outputs), predicted, scores, truncated, OutputCounts.of(best))

    def _generate(self, batch: EncodedBatch) -> list[tuple[list[str], NDArray[np.float32]]]:
        """Give for each row its beams' texts, the most probable first, and their shares."""
        where, beams = self.device.torch_device, self.options.beams
        search: dict[str, Any] = {}
        if beams > 1:
            # Compared by the probability of the whole output, the end token included.
            search = {"length_penalty": 0.0, "output_scores": True}
            search |= {"num_beams": beams, "num_return_sequences": beams}
        was_training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode(), self.device.context():
                answer = self.model.generate(
                    input_ids=torch.from_numpy(batch.input_ids).to(where),
                    attention_mask=torch.from_numpy(batch.attention_mask).to(where),
                    max_new_tokens=self.options.max_target_length,
                    do_sample=False,
                    prefix_allowed_tokens_fn=self._allowed,
                    return_dict_in_generate=True,
                    **search,
                )
        finally:
            self.model.train(was_training)
        texts = self._tokenizer.decode_batch(answer.sequences.tolist(), skip_special_tokens=True)
        rows = len(batch.input_ids)
        if beams == 1:
            shares = np.ones((rows, 1), dtype=np.float32)
        else:
            log = answer.sequences_scores.float().reshape(rows, beams)
            shares = torch.softmax(log, dim=1).cpu().numpy()
        return [(texts[i * beams : (i + 1) * beams], shares[i]) for i in range(rows)]


def allowed_tokens(
    tokenizer: Tokenizer, target: TargetFormat
) -> Callable[[int, Tensor], list[int]]:
    """Make the rule that lets only whole target texts be written.

    :raises InputError: if there are more than `MAX_CONSTRAINED_LABELS` labels: the target texts
        are 2 to that power.
    """
    if len(target.labels) > MAX_CONSTRAINED_LABELS:
        raise InputError(
            f"constrained writing takes {MAX_CONSTRAINED_LABELS} labels at most, not "
            f"{len(target.labels)}"
        )
    following: dict[tuple[int, ...], set[int]] = {}
    end = 0
    for encoding in tokenizer.encode_batch(target.all_targets()):
        ids = tuple(encoding.ids)
        end = ids[-1]
        for i, token in enumerate(ids):
            following.setdefault(ids[:i], set()).add(token)
    lists = {prefix: sorted(tokens) for prefix, tokens in following.items()}

    def allowed(_row: int, ids: Tensor) -> list[int]:
        # The first id is the decoder's start; what is not in the table has ended already.
        return lists.get(tuple(ids.tolist()[1:]), [end])

    return allowed


def load_model(base: str) -> Any:
    """Load a sequence-to-sequence model.

    :param base: folder or Hub id.
    :return: a `transformers` model with a language-modelling head, in float32, in evaluation mode;
        whatever generation settings came with it are replaced by plain ones.
    :raises CheckpointError: if there is none, it is of another kind, or its files are damaged.
    """
    try:
        with quiet_transformers():
            config = AutoConfig.from_pretrained(base)
            if not config.is_encoder_decoder:
                raise CheckpointError(
                    f"{base} is a {config.model_type} model, which does not write text from text; "
                    "text-to-text needs a sequence-to-sequence one such as ai-forever/ruT5-base"
                )
            model, loaded = AutoModelForSeq2SeqLM.from_pretrained(
                base, dtype=torch.float32, output_loading_info=True
            )
    except (OSError, ValueError, ImportError, RuntimeError, SafetensorError) as error:
        raise CheckpointError(
            f"cannot load a sequence-to-sequence model from {base}: {error}"
        ) from error
    if absent := sorted(loaded["missing_keys"]):
        logger.warning("%s lacks %s; these weights start random", base, ", ".join(absent))
    # Beam widths, sampling or forbidden repetitions of another task shall not leak into this one.
    tokens = {}
    for name in ("decoder_start_token_id", "eos_token_id", "pad_token_id"):
        own = getattr(model.generation_config, name)
        tokens[name] = getattr(config, name, None) if own is None else own
    settings: Any = GenerationConfig  # it lacks annotations
    model.generation_config = settings(**tokens)
    return model.eval()


def load_target_tokenizer(base: str) -> Tokenizer:
    """Load a base model's tokeniser as it is, for texts that are normalised and for targets.

    :raises CheckpointError: if there is none.
    :raises MissingExtraError: if what reads a SentencePiece vocabulary is not installed.
    """
    path = Path(base) / TOKENIZER_NAME
    if not path.is_file():
        if is_text_to_text(base):
            raise CheckpointError(f"cannot load the tokeniser of {base}: {path} is missing")
        # Without them transformers asks for tiktoken, which would not help.
        for module in ("google.protobuf", "sentencepiece"):
            require(module, extra="train")
    tokenizer = plain_tokenizer(base)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer


def check_can_write(base: str, model: Any, tokenizer: Tokenizer, target: TargetFormat) -> None:
    """Check that the tokeniser fits the model and holds what the target texts need.

    :raises CheckpointError: if a label's name does not survive tokenising (a vocabulary without
        Cyrillic letters, say), a text does not end in the model's end token, or the tokeniser has
        more pieces than the model.
    """
    pieces = model.get_input_embeddings().num_embeddings
    # T5's sentinels stand at the end, in no normalised text, and in some models have no embedding.
    vocab = tokenizer.get_vocab()
    known = 1 + max((i for p, i in vocab.items() if not p.startswith("<extra_id_")), default=-1)
    if known > pieces:
        raise CheckpointError(f"{base}: the tokeniser has {known} pieces and the model {pieces}")
    end = model.generation_config.eos_token_id
    ends = set(end) if isinstance(end, list) else {end}
    for text in (*(target.write([label]) for label in target.labels), target.no_emotion):
        ids = tokenizer.encode(text).ids
        if not ids or ids[-1] not in ends:
            raise CheckpointError(f"{base}: the tokeniser does not end a text with the end token")
        back = tokenizer.decode(ids, skip_special_tokens=True)
        if target.parse(back) != target.parse(text):
            raise CheckpointError(
                f"{base}: the tokeniser cannot write {text!r}: it comes back as {back!r}; choose "
                "other names, or a base with a Russian vocabulary, whose file must be there"
            )


def save_model(folder: Path, model: Any, tokenizer: Tokenizer) -> None:
    """Write weights (float32: T5 overflows in fp16), configuration and tokeniser."""
    with quiet_transformers():
        model.save_pretrained(folder, max_shard_size="1TB")
    # Not by its own method, whose errors of a full disk are of no kind.
    (folder / TOKENIZER_NAME).write_text(tokenizer.to_str(), encoding="utf-8")
