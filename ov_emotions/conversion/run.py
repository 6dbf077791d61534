"""From a checkpoint of any known kind to a bundle, and what that cost, in one call."""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from tokenizers import Tokenizer

from ov_emotions.bundle import SHIPPED, Bundle, resolve, write_bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.conversion.ir import Parity, ParityCheck, sample_by_length, to_ir, torch_reference
from ov_emotions.conversion.sources import Found, open_source
from ov_emotions.conversion.tokenizer import PROBES, check_words, same_reading
from ov_emotions.data.dataset import PreparedData
from ov_emotions.data.plain import PlainData, open_data
from ov_emotions.encoding import tokenize
from ov_emotions.errors import DataError, ExportError, InputError
from ov_emotions.evaluation.analysis import score_readings
from ov_emotions.evaluation.results import Readings, SplitScores
from ov_emotions.evaluation.run import evaluate, read_rows, record_metrics
from ov_emotions.manifest import BUNDLE_FILES, MANIFEST_NAME, WEIGHTS_NAME, Manifest, Precision
from ov_emotions.normalize import NO_NORMALIZER, NORMALIZER_VERSION, build_normalizer
from ov_emotions.progress import Progress, Tell
from ov_emotions.quantization.ptq import is_quantized
from ov_emotions.quantization.quantize import quantize_bundle
from ov_emotions.quantization.recipe import DEFAULT_RECIPE, Recipe, load_recipe, recipe_names
from ov_emotions.quantization.settings import StudyConfig
from ov_emotions.quantization.study import run_study
from ov_emotions.quantization.study_schema import Study
from ov_emotions.reports.choice import choose
from ov_emotions.schema import Task, to_builtins
from ov_emotions.system import environment
from ov_emotions.thresholds import fit_thresholds, with_thresholds

_LOGGER = logging.getLogger(__name__)

RECIPE_WITHOUT_DATA = "int8-weights"
"""What needs no calibration: INT8 weights that are multiplied in float."""

_PARITY_ROWS = 64
"""Texts compared in each length group."""
_LONG_TEXTS = 200
"""Longest texts that parity is checked on beside the others, for the groups of many tokens."""
_VOCABULARY_TEXTS = 300
_MEASURED_ON = "validation:selection"


@dataclass(frozen=True)
class Conversion:
    """What came of it.

    :param kind: of checkpoint that was found.
    :param parity: how far the fp32 IR is from the original.
    :param readings: F1 on texts as written and as recognised; None without data.
    :param metrics: of the bundle, on rows that nothing was fitted to; None without data.
    :param study: what --report found; None without it.
    """

    bundle: Bundle
    kind: str
    parity: Parity
    readings: Readings | None = None
    metrics: SplitScores | None = None
    study: Study | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON."""
        manifest = self.bundle.manifest
        return {
            "bundle": str(self.bundle.folder),
            "kind": self.kind,
            "task": manifest.task,
            "labels": list(manifest.labels),
            "normalizer": manifest.normalizer,
            "precision": manifest.precision,
            "inference_precision": manifest.inference_precision,
            "bytes": (self.bundle.folder / WEIGHTS_NAME).stat().st_size,
            "thresholds": dict(manifest.thresholds),
            "parity": self.parity.to_dict(),
            "readings": to_builtins(self.readings),
            "metrics": to_builtins(self.metrics),
        }


def convert(
    model: str | Path,
    output: str | Path,
    *,
    data: str | Path | Sequence[str | Path] = (),
    **options: Any,
) -> Conversion:
    """Convert a fine-tuned classifier to an OpenVINO bundle.

    The IR is held against the original's own forward before anything else happens.

    :param model: Hub id, folder, or a TOML file that describes the head of a state dict.
    :param output: folder of the bundle; replaced as a whole.
    :param data: labelled texts: a file, files, or a prepared folder.
    :param options: other fields of `ConversionConfig`.
    :return: the bundle, and what was found on the way.
    :raises CheckpointError: if the checkpoint cannot be converted.
    :raises ExportError: if the IR is not exact.
    :raises DataError: if the data cannot be used.
    :raises InputError: if an option is wrong.
    """
    files = (data,) if isinstance(data, str | Path) else tuple(data)
    known = ConversionConfig.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"convert() has no option {unknown[0]!r}; it has {', '.join(known)}")
    return convert_model(
        ConversionConfig(str(model), Path(output), tuple(map(Path, files)), **options)
    )


def convert_model(config: ConversionConfig, tell: Tell = lambda _: None) -> Conversion:
    """Convert; see `convert`."""
    found = open_source(config)
    recipe = _recipe(config)
    data = None
    if config.data:
        data = open_data(config.data, found.labels, config.seed, config.text_column)
    found = _decided(found, data)
    steps = ["convert", "measure"] if data is not None else ["convert"]
    with tempfile.TemporaryDirectory() as temporary:
        tell(Progress(0, len(steps) + 1, "steps", "convert"))
        draft, parity = _fp32(found, data, config, Path(temporary) / "fp32")
        readings = None
        if data is not None:
            tell(Progress(1, len(steps) + 1, "steps", "measure"))
            draft, readings = _fitted(draft, found, data, Path(temporary))
        tell(Progress(len(steps), len(steps) + 1, "steps", "make small"))
        if config.report is not None:
            assert data is not None  # the config refuses it
            study, bundle = _studied(config, draft, data, found, readings, tell)
        else:
            study, bundle = None, _quantized(config, draft, data, recipe)
        metrics = None
        if data is not None:
            result = evaluate(bundle, data, [_MEASURED_ON])
            metrics = result.splits[_MEASURED_ON]
            bundle = record_metrics(bundle, [result])
    return Conversion(bundle, found.kind, parity, readings, metrics, study)


def to_fp32(config: ConversionConfig, data: PreparedData | None) -> tuple[Bundle, Parity]:
    """Convert, and stop at the bundle with fp32 weights.

    :param data: gives the texts that the IR is compared on.
    :return: the bundle in the config's output, and how far it is from the original.
    """
    found = _decided(open_source(config), data)
    if data is not None and data.label_set.labels != found.labels:
        raise DataError(
            f"{data.folder} has the labels {', '.join(data.label_set.labels)}, {config.model} has "
            f"{', '.join(found.labels)}"
        )
    return _fp32(found, data, config, config.output)


@contextmanager
def open_fp32(source: str, data: PreparedData | None) -> Iterator[tuple[Bundle, Path | None]]:
    """Open the bundle with fp32 weights that a source is, or that it converts to.

    :param source: a bundle, or whatever `convert` takes.
    :param data: gives the texts that the IR is compared on.
    :return: yields the bundle, and the folder of a checkpoint of our own; what was converted is
        gone after the block.
    """
    folder = Path(source)
    if source not in SHIPPED and not folder.exists():
        folder = resolve(source, files=BUNDLE_FILES)
    if source in SHIPPED or (folder / MANIFEST_NAME).is_file():
        yield Bundle.load(source), None
        return
    with tempfile.TemporaryDirectory() as temporary:
        config = ConversionConfig(source, Path(temporary) / "fp32", name=model_name(folder))
        bundle, _ = to_fp32(config, data)
        own = (folder / "checkpoint.json").is_file()
        yield bundle, folder if own else None


def model_name(folder: Path) -> str:
    """Say what a model is called whose folder says nothing but where it lies."""
    resolved = folder.resolve()
    return resolved.parent.name if resolved.name == "best" else resolved.name


def labels_of(source: str) -> tuple[str, ...]:
    """Name a model's labels without reading its weights.

    :param source: a bundle, the URL of a served model, or whatever `convert` takes.
    """
    if "://" in source:
        with EmotionClassifier.from_server(source) as served:
            return served.labels
    if source in SHIPPED or (Path(source) / MANIFEST_NAME).is_file():
        return Bundle.load(source).manifest.labels
    return open_source(ConversionConfig(source, Path())).labels


def source_data(source: str, data: Path) -> PreparedData:
    """Open a prepared folder, or a file whose labels are read as a model's."""
    return open_data(data, labels_of(source)) if data.is_file() else PreparedData.open(data)


def _recipe(config: ConversionConfig) -> Recipe:
    """Read the recipe before the model, so that a wrong one is told at once."""
    default = DEFAULT_RECIPE if config.data else RECIPE_WITHOUT_DATA
    recipe = load_recipe(config.recipe or default)
    if recipe.ptq and not config.data:
        raise InputError(
            f"{recipe.name} calibrates, which needs --data; without, {RECIPE_WITHOUT_DATA}, fp32 "
            "and fp16 can be made"
        )
    return recipe


def _decided(found: Found, data: PreparedData | None) -> Found:
    """Let the data say whether a text has several labels, where config.json does not."""
    if found.task_is_said:
        return found
    task: Task = "single_label"
    if data is not None and (data.split("validation").targets == 1).sum(axis=1).max() > 1:
        task = "multi_label"
    _LOGGER.warning(
        "config.json does not say whether a text has one label or several: it is taken for %s%s; "
        "say it with --task",
        task.replace("_", "-"),
        " by the data" if data is not None else ", as transformers' pipeline does",
    )
    return replace(found, task=task)


def _fp32(
    found: Found, data: PreparedData | None, config: ConversionConfig, folder: Path
) -> tuple[Bundle, Parity]:
    """Convert, hold against the original, and write the bundle with fp32 weights."""
    tokenizer = found.tokenizer
    texts = _parity_texts(data)
    if found.tokenizer_folder is not None:
        if data is not None:
            check_words(found.path, tokenizer, texts[:_VOCABULARY_TEXTS])
        tokenizer = same_reading(found.tokenizer_folder, tokenizer, texts[:_VOCABULARY_TEXTS])
    ids = tokenize(tokenizer, texts, min(2 * found.max_length, found.positions))
    groups = sample_by_length(ids, _PARITY_ROWS, config.seed)
    if not groups:
        raise ExportError("there are no texts to check the conversion with")
    model, parity = _exact_ir(found, groups)
    precision: Precision = "int8" if is_quantized(model) else "fp32"
    manifest = Manifest(
        name=config.name or config.output.resolve().name,
        task=found.task,
        labels=found.labels,
        label_names_ru=found.label_names_ru,
        thresholds=found.thresholds
        or ({} if found.task == "single_label" else dict.fromkeys(found.labels, 0.5)),
        normalizer=found.normalizer,
        max_length=found.max_length,
        precision=precision,
        inference_precision="f32",
        base_model=config.base_model or found.base_model,
        base_licence=config.base_licence,
        licence=config.licence,
        training_data=found.training_data,
        metrics={},
        provenance={
            **found.facts,
            "export_environment": environment("torch", "transformers", "optimum-intel", "openvino"),
            "parity": parity.to_dict(),
        },
    )
    return write_bundle(folder, manifest, model, _tokenizer_json(found, tokenizer)), parity


def _exact_ir(found: Found, groups: dict[str, list[NDArray[np.int32]]]) -> tuple[ov.Model, Parity]:
    if found.ir is not None:
        model, reference = found.ir()
        check = ParityCheck(reference, groups, found.pad_id, str(found.path))
        return model, check(model, "as it was")
    assert found.load is not None  # a kind has one of the two
    original = found.load()
    check = ParityCheck(torch_reference(original), groups, found.pad_id, str(found.path))
    accepted: list[Parity] = []
    model = to_ir(original, found.positions, lambda ir, way: accepted.append(check(ir, way)))
    return model, accepted[-1]


def _tokenizer_json(found: Found, tokenizer: Tokenizer) -> str:
    """Give the tokeniser as a bundle holds it, with the normaliser that was asked for."""
    made = Tokenizer.from_str(tokenizer.to_str())
    if found.normalizer == NORMALIZER_VERSION:
        made.normalizer = build_normalizer()
    named = made.id_to_token(found.pad_id)
    if made.padding is None and named not in ("[PAD]", "<pad>", None):
        # Models that look for padding among the ids need theirs, and no other reader would know.
        made.enable_padding(pad_id=found.pad_id, pad_token=named)
    return str(made.to_str())


def _parity_texts(data: PreparedData | None) -> list[str]:
    """Give the texts that a conversion is checked on: none of them chooses anything.

    :return: the selection part of validation and the longest texts there are, since validation
        seldom has a text for every length group; a few sentences of our own without data.
    """
    joined = " ".join(PROBES)
    starts = [" ".join(text.split()[:n]) for text in PROBES for n in (1, 2, 4)]
    if data is None:
        parts = [" ".join(joined.split()[:n]) for n in (8, 12, 16, 20, 24, 30)]
        return [*PROBES, *starts, *parts, joined, joined * 4, joined * 12]
    split = "validation" if isinstance(data, PlainData) else "train"
    longest = sorted(data.split(split).texts, key=len, reverse=True)
    texts = [*data.validation_part("selection").texts, *longest[:_LONG_TEXTS], *starts]
    # Few sets have texts of hundreds of tokens.
    return texts + [" ".join(texts[i : i + n]) for n in (3, 10, 30) for i in range(0, 90, 30)]


def _fitted(
    draft: Bundle, found: Found, data: PreparedData, temporary: Path
) -> tuple[Bundle, Readings | None]:
    """Fit thresholds where the checkpoint brings none, and score both readings."""
    manifest = draft.manifest
    if found.task == "multi_label" and not found.thresholds:
        part = data.validation_part("thresholds")
        with EmotionClassifier(draft) as classifier:
            probabilities = classifier.predict_proba(list(part.texts))
        absent = [
            label for i, label in enumerate(manifest.labels) if not (part.targets[:, i] == 1).any()
        ]
        if absent:
            _LOGGER.warning(
                "no text that thresholds are fitted on has %s: 0.5 is taken", ", ".join(absent)
            )
        fitted = fit_thresholds(probabilities, part.targets)
        record = {"method": "bootstrap-median", "fitted_on": "validation:thresholds"}
        draft = with_thresholds(draft, temporary / "fitted", fitted, {**record, "rows": len(part)})
    if manifest.normalizer != NO_NORMALIZER:
        return draft, None
    with EmotionClassifier(draft) as classifier:
        readings = score_readings(classifier, read_rows(data, "validation"), "validation")
    return draft, readings


def _quantized(
    config: ConversionConfig, draft: Bundle, data: PreparedData | None, recipe: Recipe
) -> Bundle:
    if draft.manifest.precision != "fp32":
        if config.recipe is not None:
            raise InputError(
                f"{config.model} has {draft.manifest.precision} weights already; leave out --recipe"
            )
        draft.save(config.output)
        return Bundle.load(config.output)
    return quantize_bundle(draft, data, config.output, recipe, config.precision)


def _studied(
    config: ConversionConfig,
    draft: Bundle,
    data: PreparedData,
    found: Found,
    readings: Readings | None,
    tell: Tell,
) -> tuple[Study, Bundle]:
    """Let the study decide which bundle is written."""
    settings = StudyConfig(
        source=config.model,
        recipes=(config.recipe,) if config.recipe else recipe_names(),
        final_split=data.test_split,
        rounds=config.rounds,
        seed=config.seed,
    )
    study = run_study(
        settings, draft, data, checkpoint=found.checkpoint, readings=readings, tell=tell
    )
    ships = choose(study).chosen or study.reference
    chosen = study.candidate(ships)
    recipe = load_recipe(str(chosen.recipe))
    return study, quantize_bundle(draft, data, config.output, recipe, chosen.precision)
