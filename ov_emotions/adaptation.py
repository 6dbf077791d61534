"""A model adapted to some hundred labelled texts of a user's own, in minutes and without torch.

    adapted = adapt("emotions-ru-small", "mine", data="mine.csv")
    adapted.bundle  # None where nothing was better than the model as it is

Ways are tried from the simplest on: other thresholds, a temperature with them, another last layer.
Each is scored on texts that had no part in its fit, and the next is taken only if it is better on
the same texts.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ov_emotions.bundle import Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import UNKNOWN, LabelledTexts, PreparedData
from ov_emotions.data.own_labels import some
from ov_emotions.data.plain import DEFAULT_SEED, read_rows
from ov_emotions.data.prepare import stratified_parts
from ov_emotions.errors import DataError, ExportError, InputError
from ov_emotions.files import sha256_file
from ov_emotions.last_layer import (
    STRENGTHS,
    Array,
    LastLayer,
    Vectors,
    fit_layers,
    read_vectors,
    replace_last_layer,
    text_losses,
)
from ov_emotions.manifest import MANIFEST_NAME, Manifest, TrainingSource
from ov_emotions.metrics import MEANS, bootstrap_intervals, paired_comparison, score
from ov_emotions.normalize import NO_NORMALIZER, normalize
from ov_emotions.progress import Progress, Tell
from ov_emotions.schema import Flag, Schema, Task, check_fields, to_builtins
from ov_emotions.system import environment, shared_core
from ov_emotions.thresholds import (
    Metric,
    apply_thresholds,
    fit_temperatures,
    fit_thresholds,
    mapped_thresholds,
    scale_logits,
    to_probabilities,
)

_LOGGER = logging.getLogger(__name__)

Way = Literal["as it is", "thresholds", "temperature", "last layer", "new last layer"]
"""How a model is adapted; each but the first fits thresholds too."""

FEWEST_ROWS = 20
"""Texts below which no figure could tell better from worse."""

FOLDS = 5
_INNER_FOLDS = 4
_SAMPLES = 1000
_SURE = 0.1
"""Of resampled texts, the share in which a way may fail to be better than a simpler one."""

_LEAST_FALL = 1e-3
"""Of the log-loss, in nats a text, below which it is no gain: what a model is sure of and right in
could be said more surely for ever."""

_CHANGED_SHARE = 0.01
"""Decisions that may differ between the bundle as written and the layer as fitted: rounding."""

_TEMPERATURES = np.geomspace(0.1, 10, 201)


@dataclass(frozen=True)
class AdaptConfig:
    """What is adapted to which texts.

    :param model: a shipped name, a bundle's folder or a Hub id.
    :param output: folder of the bundle; replaced as a whole.
    :param data: labelled texts: files with a column of 0, 1 or nothing for each label, or one
        called labels that lists their names; or a prepared folder, whose train split is taken.
    :param labels: of the adapted model. `keep`: the model's, and new ones of the data beside them.
        `drop`: the data's alone. `auto`: the model's if all of the data's are among them, or else
        the data's.
    :param metric: mean of the labels' F1 by which ways are compared.
    :param text_column: the column with the text.
    :param name: what the model is called (default: the output folder's name).
    :param seed: of the folds and resamples.
    """

    model: Annotated[str, Flag(positional=True)]
    output: Annotated[Path, Flag(positional=True)]
    data: tuple[Path, ...]
    labels: Literal["auto", "keep", "drop"] = "auto"
    metric: Metric = "macro"
    text_column: str = "text"
    name: str | None = None
    seed: Annotated[int, Meta(ge=0)] = DEFAULT_SEED

    def __post_init__(self) -> None:
        check_fields(self, InputError)
        if not self.data:
            raise InputError("data must name at least one file with labelled texts")
        if self.name is not None and not self.name.strip():
            raise InputError("name must not be blank")


class WayScore(Schema, frozen=True, kw_only=True):
    """How a way does on texts that had no part in its fit.

    :param intervals_95: by metric, of the bootstrap over texts.
    :param log_loss: mean over texts, in nats; None where the model lacks some of the labels.
    :param gain: by metric, over the model as it is: `value`, its 95 % interval `low` and `high`,
        and `share_not_better` of resampled texts. None for the model as it is.
    """

    way: Way
    weighted_f1: float
    macro_f1: float
    intervals_95: dict[str, tuple[float, float]]
    log_loss: float | None
    gain: dict[str, dict[str, float]] | None


class AdaptResult(Schema, frozen=True, kw_only=True):
    """What was tried, and what was best.

    :param scores: of all ways that were tried. That the best of them is told is a choice made on
        the same texts, so that its figures flatter it a little.
    :param chosen: the way; `as it is` where none was better.
    :param strength: of the pull towards the layer that the fit of the last layer started from.
    :param temperature: what logits are divided by.
    """

    labels: tuple[str, ...]
    rows: int
    folds: int
    metric: Metric
    scores: tuple[WayScore, ...]
    chosen: Way
    strength: float | None
    temperature: float | None

    def score(self, way: Way) -> WayScore:
        return next(found for found in self.scores if found.way == way)


@dataclass(frozen=True)
class Adaptation:
    """The outcome of `adapt`.

    :param bundle: the adapted model; None where nothing was better than the model as it is, and
        nothing was written.
    :param result: the figures.
    """

    bundle: Bundle | None
    result: AdaptResult


def adapt(
    model: str | Path,
    output: str | Path,
    *,
    data: str | Path | Sequence[str | Path],
    **options: Any,
) -> Adaptation:
    """Adapt a bundle to labelled texts: thresholds, temperature and last layer, on the CPU.

    :param model: a shipped name, a bundle's folder or a Hub id.
    :param output: folder of the bundle; replaced as a whole.
    :param data: a file with labelled texts, files, or a prepared folder.
    :param options: other fields of `AdaptConfig`.
    :return: the bundle, None where nothing was better, and cross-validated figures.
    :raises DataError: if the data cannot be read, or are too few or too much alike.
    :raises InputError: if an option is wrong.
    :raises ExportError: if the model has no last layer of a known kind.
    :raises BundleError: if the model cannot be read, or the folder not be written.
    """
    files = (data,) if isinstance(data, str | Path) else tuple(data)
    known = AdaptConfig.__dataclass_fields__
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"adapt() has no option {unknown[0]!r}; it has {', '.join(known)}")
    return adapt_model(AdaptConfig(str(model), Path(output), tuple(map(Path, files)), **options))


def adapt_model(
    config: AdaptConfig, tell: Tell | None = None, command: str | None = None
) -> Adaptation:
    """Adapt; see `adapt`. The manifest records the command that asked for it."""
    bundle = Bundle.load(config.model)
    rows = _read(config, bundle.manifest)
    labels = _labels(config, bundle.manifest, rows)
    layer, vectors, there = read_vectors(bundle, rows.texts, tell)
    rows = rows.select(there)
    targets = _targets(rows, labels, bundle.manifest)
    base = Head.of(bundle.manifest, layer, labels)
    # The products are small: threads that share one wait for each other longer than they compute.
    with threadpool_limits(1, user_api="blas"):
        head, result = choose(
            base, vectors, targets, metric=config.metric, seed=config.seed, tell=tell
        )
    if result.chosen == "as it is":
        return Adaptation(None, result)
    with tempfile.TemporaryDirectory() as folder:
        manifest = _manifest(config, bundle, rows, head, result, command)
        draft = _write(bundle, manifest, head, Path(folder) / "draft")
        _check(draft, rows.texts, head.decide(head.logits(vectors)))
        draft.save(config.output)
    return Adaptation(Bundle.load(config.output.absolute()), result)


def _read(config: AdaptConfig, manifest: Manifest) -> LabelledTexts:
    """Read the rows, their labels those of the data."""
    if len(config.data) == 1 and not config.data[0].is_file():
        rows = PreparedData.open(config.data[0]).split("train")
    else:
        rows = read_rows(config.data, None, config.text_column)
    if manifest.normalizer != NO_NORMALIZER:
        # Texts that differ in case and commas alone are one text to this model.
        first: dict[str, int] = {}
        for i, text in enumerate(rows.texts):
            first.setdefault(normalize(text), i)
        rows = rows.select(sorted(first.values()))
    known = rows.select(np.flatnonzero((rows.targets != UNKNOWN).any(axis=1)))
    if len(known) < FEWEST_ROWS:
        raise DataError(
            f"{config.data[0]} has {len(known)} different texts with labels, and with fewer than "
            f"{FEWEST_ROWS} nothing could tell better from worse; label more"
        )
    return known


def _labels(config: AdaptConfig, manifest: Manifest, rows: LabelledTexts) -> tuple[str, ...]:
    """Decide on the labels of the adapted model."""
    own = rows.label_set.labels
    new = [label for label in own if label not in manifest.labels]
    keep = config.labels == "keep" or (config.labels == "auto" and not new)
    labels = (*manifest.labels, *new) if keep else own
    if len(labels) < 2:
        raise DataError(
            f"{config.data[0]} has one label only, {labels[0]!r}, and a model needs two; label "
            "more, or keep the model's with labels = keep"
        )
    for label in new:
        column = rows.targets[:, rows.label_set.index(label)]
        has, lacks = (column == 1).any(), (column == 0).any()
        if not (has and lacks):
            raise DataError(
                f"{label!r} is a new label, and {'every' if has else 'no'} text "
                f"of {config.data[0]} has it, so that it cannot be learned"
            )
    return labels


def _targets(rows: LabelledTexts, labels: Sequence[str], manifest: Manifest) -> NDArray[np.int8]:
    """Order the targets as the adapted model's labels, int8, shape (rows, labels).

    What all rows say alike teaches nothing, and is left out as if it were unknown.
    """
    targets = np.full((len(rows), len(labels)), UNKNOWN, dtype=np.int8)
    for i, label in enumerate(rows.label_set.labels):
        if label in labels:
            targets[:, labels.index(label)] = rows.targets[:, i]
    alike = ~((targets == 1).any(axis=0) & (targets == 0).any(axis=0))
    if alike.all():
        raise DataError(
            "all texts have the same labels, so that nothing can be learned of them; add texts "
            "with others"
        )
    if manifest.task == "single_label":
        counts = (targets == 1).sum(axis=1)
        if len(several := np.flatnonzero(counts != 1)):
            raise DataError(
                f"row {rows.rows[several[0]]} has {counts[several[0]]} labels, and "
                f"{manifest.name} gives each text one"
            )
        return np.where(targets == 1, 1, 0).astype(np.int8)
    if alike.any():
        gone = [label for label, same in zip(labels, alike, strict=True) if same]
        _LOGGER.info("no text tells %s from the others: left as they are", some(gone))
    targets[:, alike] = UNKNOWN
    return targets


@dataclass(frozen=True)
class Head:
    """How a model decides on a text, as shipped or adapted: last layer, temperature, thresholds.

    :param places: of each label among those of the model as shipped; None for a new one.
    :param layer: with nothing for new labels until it is fitted.
    :param thresholds: float32, shape (labels,); 0 for a label that has none.
    :param temperature: that logits are divided by.
    :param strength: of the pull that the layer was fitted with; None for the model's own layer.
    """

    task: Task
    labels: tuple[str, ...]
    places: tuple[int | None, ...]
    layer: LastLayer
    thresholds: NDArray[np.float32]
    temperature: float | None = None
    strength: float | None = None

    @staticmethod
    def of(manifest: Manifest, layer: LastLayer, labels: Sequence[str]) -> Head:
        """Take a model as shipped, with the labels that it will have."""
        own = manifest.labels
        places = tuple(own.index(label) if label in own else None for label in labels)
        cuts = [manifest.thresholds.get(label, 0.0) for label in labels]
        if manifest.thresholds:
            cuts = [cut or 0.5 for cut in cuts]
        thresholds = np.array(cuts, dtype=np.float32)
        return Head(manifest.task, tuple(labels), places, layer.select(places), thresholds)

    def logits(self, vectors: Vectors) -> NDArray[np.float32]:
        """Give logits of texts, float32, shape (texts, labels); -inf for a label not yet fitted."""
        if self.strength is not None:
            made = self.layer.logits(vectors.windows)
        else:
            # The model's own, which an INT8 layer rounds.
            made = np.full((len(vectors.logits), len(self.places)), -np.inf, dtype=np.float32)
            for i, place in enumerate(self.places):
                if place is not None:
                    made[:, i] = vectors.logits[:, place]
        joined = vectors.join(made, self.task)
        return joined if self.temperature is None else joined / np.float32(self.temperature)

    def decide(self, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        return apply_thresholds(to_probabilities(logits, self.task), self.thresholds, self.task)

    def fitted(
        self,
        logits: NDArray[np.float32],
        targets: NDArray[np.int8],
        otherwise: NDArray[np.float32],
        **changes: Any,
    ) -> Head:
        """Fit thresholds; labels that no text has keep others, and a model without has none."""
        if not self.thresholds.any():
            return replace(self, **changes)
        cuts = fit_thresholds(to_probabilities(logits, self.task), targets)
        cuts = np.where((targets == 1).any(axis=0), cuts, otherwise).astype(np.float32)
        return replace(self, thresholds=cuts, **changes)


Fit = Callable[[Vectors, NDArray[np.int8]], Head]


def _ways(base: Head, seed: int) -> dict[Way, Fit]:
    """Give what can be tried, the simplest first."""
    ways: dict[Way, Fit] = {"as it is": lambda _, __: base}
    if None not in base.places:
        if base.thresholds.any():
            ways["thresholds"] = lambda v, t: base.fitted(base.logits(v), t, base.thresholds)
        ways["temperature"] = partial(_fit_temperature, base)
    if any(place is not None for place in base.places):
        ways["last layer"] = partial(_fit_layer, base, base.layer, seed)
    if None in base.places:
        nothing = base.layer.select([None] * len(base.labels))
        ways["new last layer"] = partial(_fit_layer, base, nothing, seed)
    return ways


def _fit_temperature(base: Head, vectors: Vectors, targets: NDArray[np.int8]) -> Head:
    logits = base.logits(vectors)
    if base.task == "multi_label":
        temperature = float(fit_temperatures(logits, targets)[0])
        moved = mapped_thresholds(base.thresholds, np.full(len(base.labels), temperature))
    else:
        losses = [text_losses(logits / t, targets, base.task).mean() for t in _TEMPERATURES]
        temperature, moved = float(_TEMPERATURES[int(np.argmin(losses))]), base.thresholds
    return base.fitted(logits / np.float32(temperature), targets, moved, temperature=temperature)


def _fit_layer(
    base: Head, start: LastLayer, seed: int, vectors: Vectors, targets: NDArray[np.int8]
) -> Head:
    """Fit a layer; how strong the pull is, and thresholds, by folds of the same texts."""
    texts = vectors.of_texts()
    held_out = np.zeros((len(STRENGTHS), *targets.shape), dtype=np.float32)
    for held, rest in _folds(targets, _INNER_FOLDS, seed):
        unseen = vectors.select(held)
        for i, layer in enumerate(fit_layers(texts[rest], targets[rest], start, base.task)):
            held_out[i, held] = unseen.join(layer.logits(unseen.windows), base.task)
    losses = [text_losses(logits, targets, base.task).mean() for logits in held_out]
    best = int(np.argmin(losses))
    layer = fit_layers(texts, targets, start, base.task, STRENGTHS[: best + 1])[-1]
    return base.fitted(
        held_out[best], targets, base.thresholds, layer=layer, strength=STRENGTHS[best]
    )


def _folds(
    targets: NDArray[np.int8], folds: int, seed: int
) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Deal texts out so that each fold gets its share of every label: those held out, the rest."""
    shares = {str(i): 1 / folds for i in range(folds)}
    parts = stratified_parts(targets, shares, np.random.default_rng(seed)).values()
    everything = np.arange(len(targets))
    return [(np.array(part), np.setdiff1d(everything, part)) for part in parts if part]


@dataclass(frozen=True)
class _Outcome:
    """What a way says of texts that had no part in its fit.

    :param predicted: bool, shape (texts, labels).
    :param losses: float64, shape (texts,); None where the model lacks labels.
    """

    predicted: NDArray[np.bool_]
    losses: Array | None


def choose(
    base: Head,
    vectors: Vectors,
    targets: NDArray[np.int8],
    *,
    metric: Metric = "macro",
    seed: int = DEFAULT_SEED,
    tell: Tell | None = None,
) -> tuple[Head, AdaptResult]:
    """Try all ways by cross-validation, and fit the one that is taken to all texts.

    Whatever a fit needs to be chosen, the strength of its pull or thresholds, is chosen on the
    texts that it was given, by folds within the fold.

    :param targets: int8, shape (texts, labels): 1, 0 or -1 for unknown.
    :return: the model as adapted, or as it was, and the figures.
    """
    ways = _ways(base, seed)
    folds = _folds(targets, FOLDS, seed)
    steps = count()

    def told(way: Way) -> None:
        if tell is not None:
            tell(Progress(next(steps), len(folds) * len(ways) + 1, "fits", way))

    def held_out(way: Way) -> _Outcome:
        predicted = np.zeros(targets.shape, np.bool_)
        logits = np.zeros(targets.shape, np.float32)
        for held, rest in folds:
            told(way)
            head = ways[way](vectors.select(rest), targets[rest])
            logits[held] = head.logits(vectors.select(held))
            predicted[held] = head.decide(logits[held])
        whole = np.isfinite(logits).all()
        return _Outcome(predicted, text_losses(logits, targets, base.task) if whole else None)

    def gain(before: Way, after: Way) -> dict[str, dict[str, float]]:
        found = paired_comparison(
            targets,
            tried[before].predicted,
            tried[after].predicted,
            base.labels,
            samples=_SAMPLES,
            seed=seed,
        )
        return {name: found[name] for name in MEANS}

    def scored(way: Way) -> WayScore:
        predicted, losses = tried[way].predicted, tried[way].losses
        scores = score(targets, predicted, base.labels)
        return WayScore(
            way=way,
            weighted_f1=round(scores.weighted_f1, 6),
            macro_f1=round(scores.macro_f1, 6),
            intervals_95=bootstrap_intervals(targets, predicted, _SAMPLES, seed),
            log_loss=None if losses is None else round(float(losses.mean()), 6),
            gain=None if way == "as it is" else gain("as it is", way),
        )

    tried = {way: held_out(way) for way in ways}
    chosen: Way = "as it is"
    for way in list(ways)[1:]:
        f1 = gain(chosen, way)[f"{metric}_f1"]
        if _better(f1, tried[chosen].losses, tried[way].losses, seed):
            chosen = way
    told(chosen)
    final = ways[chosen](vectors, targets)
    return final, AdaptResult(
        labels=base.labels,
        rows=len(targets),
        folds=len(folds),
        metric=metric,
        scores=tuple(scored(way) for way in ways),
        chosen=chosen,
        strength=final.strength,
        temperature=final.temperature,
    )


def _better(f1: dict[str, float], before: Array | None, after: Array | None, seed: int) -> bool:
    """Tell whether a way is better than a simpler one, in nine of ten resamples of the texts.

    F1 must not be lower, and either it or the log-loss must be better: the log-loss sees a gain
    that moves few decisions.
    """
    if f1["value"] < 0:
        return False
    if f1["value"] > 0 and f1["share_not_better"] <= _SURE:
        return True
    if before is None or after is None:
        return False
    falls = before - after
    if falls.mean() < _LEAST_FALL:
        return False
    drawn = np.random.default_rng(seed).integers(0, len(falls), (_SAMPLES, len(falls)))
    return bool((falls[drawn].mean(axis=1) <= 0).mean() <= _SURE)


def _manifest(
    config: AdaptConfig,
    bundle: Bundle,
    rows: LabelledTexts,
    head: Head,
    result: AdaptResult,
    command: str | None,
) -> Manifest:
    """Say of the adapted model what it is; figures taken of the old one go."""
    manifest = bundle.manifest
    record = {
        "from": manifest.name,
        "from_manifest_sha256": sha256_file(bundle.folder / MANIFEST_NAME),
        "files": [
            {"name": path.name, "sha256": sha256_file(path)}
            for path in config.data
            if path.is_file()
        ],
        "rows": len(rows),
        "method": result.chosen,
        "strength": result.strength,
        "temperature": result.temperature,
        "labels": config.labels,
        "metric": config.metric,
        "seed": config.seed,
        "folds": result.folds,
        "before": to_builtins(result.score("as it is")),
        "after": to_builtins(result.score(result.chosen)),
        "command": command,
        "environment": environment("openvino"),
    }
    names = {**rows.label_set.russian, **manifest.label_names_ru}
    old = manifest.thresholds
    own = TrainingSource(
        name=", ".join(path.name for path in config.data),
        licence="unknown",
        url="unknown",
        attribution="texts that the model was adapted to",
        rows=len(rows),
    )
    return manifest.replace(
        name=config.name or config.output.resolve().name,
        labels=head.labels,
        label_names_ru={label: names[label] for label in head.labels if label in names},
        thresholds={
            label: old[label] if cut == np.float32(old.get(label, 0)) else float(cut)
            for label, cut in zip(head.labels, head.thresholds, strict=True)
            if cut > 0
        },
        training_data=(*manifest.training_data, own),
        metrics={},
        provenance={**manifest.provenance, "adapted": record},
        files={},
    )


def _write(bundle: Bundle, manifest: Manifest, head: Head, folder: Path) -> Bundle:
    model = shared_core().read_model(bundle.model_path)
    if head.strength is not None or head.labels != bundle.manifest.labels:
        replace_last_layer(model, head.layer)
    if head.temperature is not None:
        scale_logits(model, np.full(len(head.labels), 1 / head.temperature))
    return bundle.write_changed(folder, manifest, model)


def _check(draft: Bundle, texts: Sequence[str], expected: NDArray[np.bool_]) -> None:
    """Hold the bundle as a user runs it against the figures that it was chosen by."""
    with EmotionClassifier(draft) as classifier:
        probabilities = classifier.predict_proba(list(texts))
    manifest = draft.manifest
    found = apply_thresholds(probabilities, manifest.threshold_array(), manifest.task)
    changed = int((found != expected).sum())
    if changed > max(1, _CHANGED_SHARE * expected.size):
        raise ExportError(
            f"the adapted model decides otherwise than was fitted in {changed} of {expected.size} "
            "cases; nothing was written"
        )
