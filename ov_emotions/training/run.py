"""A training run from prepared data to a checkpoint folder."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor
from transformers import TrainingArguments

from ov_emotions.data.dataset import MANIFEST_NAME, LabelledTexts, PreparedData
from ov_emotions.encoding import Ids, tokenize
from ov_emotions.errors import DataError, TrainingError, first_line
from ov_emotions.files import sha256_file
from ov_emotions.manifest import TrainingSource
from ov_emotions.metrics import score
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.progress import Tell
from ov_emotions.system import environment
from ov_emotions.thresholds import apply_thresholds, fit_thresholds, sigmoid
from ov_emotions.training.checkpoint import (
    CHECKPOINT_NAME,
    MOST_UNKNOWN,
    CheckpointFacts,
    DataFacts,
    HeadConfig,
    RunFacts,
    check_base,
    check_labels,
    is_checkpoint,
    load_tokenizer,
    read_checkpoint_facts,
    token_limit,
    unknown_share,
)
from ov_emotions.training.device import Device, choose_device
from ov_emotions.training.examples import (
    Examples,
    choose_loss,
    chosen_rows,
    entry_weights,
    loss_scale,
    masked_sum,
    row_weights,
)
from ov_emotions.training.folder import run_folder, writing
from ov_emotions.training.model import EmotionModel, predict_logits, save_checkpoint
from ov_emotions.training.settings import BEST_NAME, Attention, RunConfig, TrainConfig
from ov_emotions.training.teachers import draw_texts, find_teachers, teach
from ov_emotions.training.tracking import MlflowTracker
from ov_emotions.training.trainer import Evaluation, RunTrainer, trainer_arguments

__all__ = ["BEST_NAME", "train"]

_VOCABULARY_TEXTS = 300
_COMPILER = "inductor"


def train(config: TrainConfig, tell: Tell | None = None) -> CheckpointFacts:
    """Fine-tune an encoder and write the best checkpoint to `output/best`.

    A run that was killed goes on where its last saved state is; the same configuration again after
    the end changes nothing. Several processes, started by `torchrun`, share the run.

    :param tell: told how far the run is; None for nobody.
    :return: the facts written to checkpoint.json.
    :raises TrainingError: if the run cannot start or go on.
    :raises CheckpointError: if the base cannot be used.
    :raises DataError: if the prepared folder cannot be.
    """
    device = choose_device(config.device, config.precision)
    if not is_checkpoint(config.base):
        check_base(config.base)
    prepared = open_prepared(config, ("thresholds", "selection"))
    data = chosen_rows(prepared.split("train"), config)
    # Whatever names a label or a set wrongly is told now.
    entry_weights(data, config)
    row_weights(data, config)
    teachers = find_teachers(config, data.label_set.labels)
    tracker = MlflowTracker(config) if config.track == "mlflow" else None
    args = trainer_arguments(config, device)
    with run_folder(config, args, CHECKPOINT_NAME) as has_ended:
        if not has_ended:
            tracker = tracker if args.should_save else None
            trainer = _trainer(config, args, device, prepared, data, teachers, tracker, tell)
            with tracker.tracked() if tracker else contextlib.nullcontext():
                trainer.run()
        return read_checkpoint_facts(config.output / BEST_NAME)


def _trainer(
    config: TrainConfig,
    args: TrainingArguments,
    device: Device,
    prepared: PreparedData,
    data: LabelledTexts,
    teachers: list[Path],
    tracker: MlflowTracker | None,
    tell: Tell | None,
) -> LabelTrainer:
    labels, best = data.label_set.labels, config.output / BEST_NAME
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.base)
    model, earlier = _start(config, labels, device.attention(config.attention))
    drawn = draw_texts(data.texts, prepared, config, tell)
    texts = [*data.texts, *drawn.texts]
    ids = tokenize(tokenizer, texts, config.max_length)
    _check_tokens(config, tokenizer, texts, ids, model)
    taught = teach(texts, teachers, config, tell) if teachers else None
    examples = Examples.of(data, ids, taught, config)
    facts = CheckpointFacts(
        **run_facts(config, device, prepared, data, earlier, drawn.sources(config))
        | {"training_rows": len(texts)},
        thresholds={},
        max_length=config.max_length,
        drawn_rows=drawn.counts(),
        processes=args.world_size,
    )
    fitted, selection = (prepared.validation_part(name) for name in ("thresholds", "selection"))
    scored = tokenize(tokenizer, [*fitted.texts, *selection.texts], config.max_length)

    def score_selection() -> Evaluation:
        """Fit thresholds on their part and score the selection part with them."""
        rank, count = args.process_index, args.world_size
        probabilities = np.zeros((len(scored), len(labels)), dtype=np.float32)
        mine = sigmoid(predict_logits(model, scored[rank::count], device))
        parts: list[Any] = [mine] * count
        if count > 1:
            torch.distributed.all_gather_object(parts, mine)
        for i, part in enumerate(parts):
            probabilities[i::count] = part
        thresholds = fit_thresholds(probabilities[: len(fitted)], fitted.targets)
        predicted = apply_thresholds(probabilities[len(fitted) :], thresholds)
        scores = score(selection.targets, predicted, labels)
        found = facts.replace(
            thresholds=dict(zip(labels, map(float, thresholds), strict=True)),
            selection=scores.to_dict(),
        )

        def keep(step: int) -> None:
            with writing(best):
                save_checkpoint(best, model, tokenizer, found.replace(step=step))

        return Evaluation(scores, (scores.weighted_f1 + scores.macro_f1) / 2, keep)

    return LabelTrainer(
        model,
        config,
        args,
        [len(row) for row in ids],
        partial(examples.batch, pad_id=model.pad_id),
        score_selection,
        tell,
        [tracker] if tracker else [],
    )


class LabelTrainer(RunTrainer):
    """Learns labels: the loss over those that are known, mixed with what teachers say."""

    config: TrainConfig
    loss_is_scaled = True
    _network: Any = None

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> tuple[list[Any], Any]:
        """Give a step's batches, and what their losses are divided by, over all processes."""
        batches, _ = super().get_batch_samples(*args, **kwargs)
        scales = [
            loss_scale(b["weights"], b["row_weights"], taught="teacher" in b) for b in batches
        ]
        whole = torch.stack(scales).sum().to(self.args.device)
        return batches, self.accelerator.reduce(whole, reduction="sum").clamp(min=1e-6)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return a batch's part of the step's loss."""
        if self._network is None:
            self._network = model
            if self.config.compile:
                self._network = torch.compile(model, dynamic=True, backend=_COMPILER)
        with _compiling(self.config.compile):
            logits: Tensor = self._network(inputs["input_ids"], inputs["attention_mask"])
        learned = (inputs["targets"], inputs["weights"], inputs["row_weights"])
        share, loss_of = self.config.teacher_weight, choose_loss(self.config)
        total = masked_sum(logits, *learned, inputs.get("teacher"), share, loss_of)
        # The processes' gradients are averaged, and are to be added.
        loss = total / num_items_in_batch * self.args.world_size
        return (loss, logits) if return_outputs else loss


@contextlib.contextmanager
def _compiling(compiled: bool) -> Iterator[None]:
    """Say in a sentence what torch.compile fails at, a missing C++ compiler above all."""
    try:
        yield
    except RuntimeError as error:
        if compiled and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
            raise TrainingError(
                f"torch.compile does not take this model here ({first_line(error)}); it needs a "
                "C++ compiler; leave compile out"
            ) from error
        raise


def open_prepared(config: RunConfig, parts: Sequence[str]) -> PreparedData:
    """Open the prepared folder of a run, and see that it holds what the run reads.

    :raises DataError: names what is missing, and what there is.
    """
    prepared = PreparedData.open(config.data)
    for split in ("train", "validation"):
        if split not in prepared.manifest.splits:
            there = ", ".join(prepared.manifest.splits)
            raise DataError(
                f"{config.data} has no split {split!r}, which training reads; it has {there}"
            )
    for part in parts:
        if not prepared.manifest.validation_parts.get(part):
            raise DataError(f"{config.data} has no rows in the {part} part of validation")
    return prepared


def _start(
    config: TrainConfig, labels: tuple[str, ...], attention: Attention
) -> tuple[EmotionModel, CheckpointFacts | None]:
    """Put a fresh head on a base encoder, or take up an earlier checkpoint, with its facts."""
    head = HeadConfig(
        len(labels),
        config.pooling,
        config.dropout,
        config.hidden_size,
        config.activation,
        config.hidden_dropout,
    )
    folder, earlier = Path(config.base), None
    if is_checkpoint(folder):
        earlier = read_checkpoint_facts(folder)
        check_labels(config.base, earlier.labels, labels)
        model = EmotionModel.load(folder, attention)
        for name in ("pooling", "hidden_size", *(("activation",) if head.hidden_size else ())):
            there, here = getattr(model.head, name), getattr(head, name)
            if there != here:
                raise TrainingError(f"{folder} has {name} {there}; this run has {here}")
        model.set_dropout(config.dropout, config.hidden_dropout)
    else:
        model = EmotionModel.from_base(config.base, head, attention)
    limit = token_limit(model.config.to_dict(), config.max_length)
    if config.max_length > limit:
        raise TrainingError(
            f"max_length is {config.max_length}, and {config.base} reads at most {limit} tokens"
        )
    if config.freeze_embeddings:
        model.freeze_embeddings()
    return model, earlier


def _check_tokens(
    config: TrainConfig,
    tokenizer: Tokenizer,
    texts: Sequence[str],
    ids: list[Ids],
    model: EmotionModel,
) -> None:
    """Refuse a tokeniser that belongs to another model, or that knows next to no word."""
    found = np.concatenate(ids)
    if found.max() >= model.config.vocab_size:
        raise TrainingError(
            f"the tokeniser of {config.base} has {tokenizer.get_vocab_size():,} pieces and the "
            f"model {model.config.vocab_size:,}: they do not belong together"
        )
    share = unknown_share(tokenizer, texts[:_VOCABULARY_TEXTS])
    if share > MOST_UNKNOWN:
        raise TrainingError(
            f"{share:.0%} of the words of the training texts are unknown to the tokeniser of "
            f"{config.base}, once they are in lower case: it is made for other texts"
        )


def run_facts(
    config: RunConfig,
    device: Device,
    prepared: PreparedData,
    data: LabelledTexts,
    earlier: RunFacts | None,
    further: Sequence[TrainingSource] = (),
) -> dict[str, Any]:
    """Say of a run what is known before it, in the fields of `RunFacts`.

    :param data: the rows that it learns from.
    :param earlier: of the run that it goes on from.
    :param further: sources beside the prepared folder's.
    """
    return {
        "labels": data.label_set.labels,
        "label_names_ru": dict(data.label_set.russian),
        "normalizer": NORMALIZER_VERSION,
        "base_model": config.base,
        "training": config.to_dict(),
        "earlier_training": earlier.run_facts() if earlier else None,
        "training_rows": len(data),
        "data": _data_facts(prepared, data.origins, earlier.data if earlier else None, further),
        "step": 0,
        "precision": device.precision,
        "device": device.torch_device.type,
        "provenance": environment("torch", "transformers", "tokenizers"),
    }


def _data_facts(
    prepared: PreparedData,
    origins: Iterable[str],
    earlier: DataFacts | None,
    further: Sequence[TrainingSource],
) -> DataFacts:
    """Say what a model learned from, for its card: the sets with their licences."""
    rows = Counter(origins)
    names = ("name", "licence", "url", "attribution")
    sources = [
        TrainingSource(**{key: getattr(source, key) for key in names}, rows=rows[source.name])
        for source in prepared.manifest.sources
        if source.name in rows
    ]
    sources += further
    # Two runs may both name a file of unlabelled texts; only the attribution tells them apart.
    known = {(source.name, source.attribution) for source in sources}
    before = [
        s for s in (earlier.sources if earlier else ()) if (s.name, s.attribution) not in known
    ]
    return DataFacts(
        manifest_sha256=sha256_file(prepared.folder / MANIFEST_NAME),
        seed=prepared.manifest.seed,
        sources=(*sources, *before),
    )
