"""A training run from prepared data to a checkpoint folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from msgspec.structs import replace as replaced
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import TrainingArguments

from ov_emotions.bundle import TrainingSource
from ov_emotions.data.dataset import MANIFEST_NAME, LabelledTexts, PreparedData
from ov_emotions.errors import DataError, InputError, TrainingError
from ov_emotions.files import sha256_file
from ov_emotions.normalize import NORMALIZER_VERSION
from ov_emotions.progress import Tell
from ov_emotions.schema import write_json
from ov_emotions.system import environment
from ov_emotions.training.checkpoint import (
    CHECKPOINT_NAME,
    CheckpointFacts,
    DataFacts,
    HeadConfig,
    check_base,
    check_labels,
    is_checkpoint,
    load_tokenizer,
    read_checkpoint_facts,
    save_checkpoint,
    token_limit,
)
from ov_emotions.training.course import (
    RUN_NAME,
    Evaluation,
    RunState,
    check_resumable,
    run_folder,
    writing,
)
from ov_emotions.training.device import Device, choose_device
from ov_emotions.training.examples import (
    Examples,
    Ids,
    chosen_rows,
    entry_weights,
    row_weights,
    tokenize,
)
from ov_emotions.training.model import EmotionModel
from ov_emotions.training.settings import (
    BEST_NAME,
    CONFIG_NAME,
    RunConfig,
    TrainConfig,
    write_settings,
)
from ov_emotions.training.teachers import DrawnTexts, draw_texts, find_teachers, teach
from ov_emotions.training.tracking import MlflowTracker
from ov_emotions.training.trainer import LabelTrainer, Validation, trainer_arguments

__all__ = ["BEST_NAME", "train"]

_UNKNOWN_SHARE = 0.5


def train(config: TrainConfig, tell: Tell | None = None) -> CheckpointFacts:
    """Fine-tune an encoder and write the best checkpoint to `output/best`.

    A run that was killed goes on where its last saved state is; the same configuration again after
    the end changes nothing. Several processes, started by `torchrun`, share the run.

    :param config: the run.
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
    data = _rows(prepared, config)
    teachers = find_teachers(config, data.label_set.labels)
    tracker = MlflowTracker(config) if config.track == "mlflow" else None
    args = trainer_arguments(config, device)
    # The others begin when the one that writes has put the folder in order.
    with run_folder(config.output, CHECKPOINT_NAME) if args.should_save else nullcontext():
        wait(args)
        state = run_state(config, args)
        if not check_resumable(config.output, state):
            _train(config, args, device, prepared, data, teachers, tracker, tell)
            finish(config, args, state)
        return read_checkpoint_facts(config.output / BEST_NAME)


def _train(
    config: TrainConfig,
    args: TrainingArguments,
    device: Device,
    prepared: PreparedData,
    data: LabelledTexts,
    teachers: list[Path],
    tracker: MlflowTracker | None,
    tell: Tell | None,
) -> None:
    labels, best = data.label_set.labels, config.output / BEST_NAME
    torch.manual_seed(config.seed)
    tokenizer = load_tokenizer(config.base)
    model, earlier = _start(config, labels)
    drawn = draw_texts(data.texts, prepared, config, tell)
    texts = [*data.texts, *drawn.texts]
    ids = tokenize(tokenizer, texts, config.max_length)
    _check_tokens(config, tokenizer, ids, model)
    taught = teach(texts, teachers, config, tell) if teachers else None
    facts = _facts(config, args, device, prepared, data, drawn, earlier)

    def part(name: str) -> tuple[list[Ids], NDArray[np.int8]]:
        rows = prepared.validation_part(name)
        return tokenize(tokenizer, list(rows.texts), config.max_length), rows.targets

    def keep(evaluation: Evaluation[NDArray[np.float32]], step: int) -> None:
        thresholds = dict(zip(labels, map(float, evaluation.found), strict=True))
        scores = evaluation.scores.to_dict()
        found = replaced(facts, thresholds=thresholds, selection=scores, step=step)
        with writing(best):
            save_checkpoint(best, model, tokenizer, found)

    trainer = LabelTrainer(
        model,
        config,
        args,
        Examples.of(data, ids, taught, config),
        tell,
        keep,
        [tracker] if tracker and args.should_save else [],
        device,
        Validation(labels, *part("thresholds"), *part("selection")),
    )
    begin(config, args)
    with tracker.tracked() if tracker and args.should_save else nullcontext():
        trainer.run()


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


def _rows(prepared: PreparedData, config: TrainConfig) -> LabelledTexts:
    """Read the training rows, and check all that is said of labels and sets by their names."""
    data = chosen_rows(prepared.split("train"), config)
    for name in ("positive_weight", "row_weight"):
        try:
            for label in getattr(config, name) or {}:
                data.label_set.index(label)
        except InputError as error:
            raise TrainingError(f"{name}: {error}") from error
    entry_weights(data, config)
    row_weights(data, config)
    return data


def _start(
    config: TrainConfig, labels: tuple[str, ...]
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
        model = EmotionModel.load(folder, config.attention)
        for name in ("pooling", "hidden_size", *(("activation",) if head.hidden_size else ())):
            there, here = getattr(model.head, name), getattr(head, name)
            if there != here:
                raise TrainingError(f"{folder} has {name} {there}; this run has {here}")
        model.set_dropout(config.dropout, config.hidden_dropout)
    else:
        model = EmotionModel.from_base(config.base, head, config.attention)
    limit = token_limit(model.config.to_dict(), config.max_length)
    if config.max_length > limit:
        raise TrainingError(
            f"max_length is {config.max_length}, and {config.base} reads at most {limit} tokens"
        )
    if config.freeze_embeddings:
        model.freeze_embeddings()
    return model, earlier


def _check_tokens(
    config: TrainConfig, tokenizer: Tokenizer, ids: list[Ids], model: EmotionModel
) -> None:
    """Refuse a tokeniser that belongs to another model, or that knows next to no word."""
    found = np.concatenate(ids)
    if found.max() >= model.config.vocab_size:
        raise TrainingError(
            f"the tokeniser of {config.base} has {tokenizer.get_vocab_size():,} pieces and the "
            f"model {model.config.vocab_size:,}: they do not belong together"
        )
    unknown = getattr(tokenizer.model, "unk_token", None) or "<unk>"
    special = {
        tokenizer.token_to_id(t.content) for t in tokenizer.get_added_tokens_decoder().values()
    }
    unknown_id = tokenizer.token_to_id(unknown)
    words = ~np.isin(found, list(special - {unknown_id}))
    share = float((found[words] == unknown_id).mean()) if words.any() else 1.0
    if share > _UNKNOWN_SHARE:
        raise TrainingError(
            f"{share:.0%} of the words of the training texts are unknown to the tokeniser of "
            f"{config.base}, once they are in lower case: it is made for other texts"
        )


def _facts(
    config: TrainConfig,
    args: TrainingArguments,
    device: Device,
    prepared: PreparedData,
    data: LabelledTexts,
    drawn: DrawnTexts,
    earlier: CheckpointFacts | None,
) -> CheckpointFacts:
    """Say of a checkpoint all that is known before it is trained."""
    unlabelled = TrainingSource(
        name="unlabelled",
        licence=config.unlabelled_licence,
        url=config.unlabelled_url,
        attribution=config.unlabelled_source,
        rows=len(drawn.unlabelled),
    )
    sources = training_sources(
        prepared,
        data.origins,
        [unlabelled] if drawn.unlabelled else [],
        earlier.data.sources if earlier else (),
    )
    return CheckpointFacts(
        labels=data.label_set.labels,
        label_names_ru=dict(data.label_set.russian),
        thresholds={},
        normalizer=NORMALIZER_VERSION,
        max_length=config.max_length,
        base_model=config.base,
        training=config.to_dict(),
        earlier_training=earlier.run_facts() if earlier else None,
        training_rows=len(data) + len(drawn.texts),
        drawn_rows={
            "unlabelled": len(drawn.unlabelled),
            "recombined": len(drawn.recombined),
            "left_out_as_held_out": drawn.held_out,
        },
        data=DataFacts(
            manifest_sha256=sha256_file(config.data / MANIFEST_NAME),
            seed=prepared.manifest.seed,
            sources=sources,
        ),
        step=0,
        precision=device.precision,
        device=device.torch_device.type,
        processes=args.world_size,
        provenance=environment("torch", "transformers", "tokenizers"),
    )


def training_sources(
    prepared: PreparedData,
    origins: Iterable[str],
    further: Sequence[TrainingSource] = (),
    earlier: Sequence[TrainingSource] = (),
) -> tuple[TrainingSource, ...]:
    """List what a model learned from, for its card: the sets with their licences."""
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
    return (*sources, *(s for s in earlier if (s.name, s.attribution) not in known))


def run_state(config: RunConfig, args: TrainingArguments) -> RunState:
    """Say what a run that goes on must agree with."""
    return RunState(
        settings=config.to_dict(),
        data=sha256_file(config.data / MANIFEST_NAME),
        processes=args.world_size,
    )


def begin(config: RunConfig, args: TrainingArguments) -> None:
    """Write the resolved settings into a run's folder, and what it must agree with to go on."""
    if args.should_save:
        with writing(config.output / CONFIG_NAME):
            write_settings(config.output, config)
            write_json(config.output / RUN_NAME, run_state(config, args))


def finish(config: RunConfig, args: TrainingArguments, state: RunState) -> None:
    """Note that a run has ended, when all its processes have."""
    wait(args)
    if args.should_save:
        with writing(config.output / RUN_NAME):
            write_json(config.output / RUN_NAME, replaced(state, finished=True))


def wait(args: TrainingArguments) -> None:
    """Wait until all processes have come this far."""
    state: Any = args.distributed_state
    if args.world_size > 1:
        state.wait_for_everyone()
