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
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from ov_emotions.bundle import (
    MANIFEST_NAME,
    Bundle,
    Manifest,
    Task,
    TrainingSource,
    write_bundle,
)
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import UNKNOWN, LabelledTexts, PreparedData
from ov_emotions.data.own_labels import some
from ov_emotions.data.plain import DEFAULT_SEED, read_rows
from ov_emotions.data.prepare import stratified_parts
from ov_emotions.errors import DataError, ExportError, InputError
from ov_emotions.files import sha256_file
from ov_emotions.last_layer import (
    STRENGTHS,
    LastLayer,
    Vectors,
    fit_layers,
    read_vectors,
    replace_last_layer,
    text_losses,
)
from ov_emotions.metrics import bootstrap_intervals, paired_comparison, score
from ov_emotions.normalize import NO_NORMALIZER, normalize
from ov_emotions.progress import Progress, Tell
from ov_emotions.schema import Schema, check_fields, to_builtins
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

    model: str
    output: Path
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

    :param labels: of the adapted model.
    :param rows: texts that were used.
    :param folds: of the cross-validation.
    :param metric: that decided.
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
        """Find the figures of a way that was tried."""
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
    """Adapt; see `adapt`.

    :param config: what to adapt, and to what.
    :param tell: told how far the work is.
    :param command: that asked for it, for the manifest.
    :return: the bundle and the figures.
    """
    bundle = Bundle.load(config.model)
    manifest = bundle.manifest
    rows = _read(config, manifest)
    labels = _labels(config, manifest, rows)
    layer, vectors, there = read_vectors(bundle, rows.texts, tell)
    rows = rows.select(there)
    targets = _targets(rows, labels, manifest)
    # The products are small: threads that share one wait for each other longer than they compute.
    with threadpool_limits(1, user_api="blas"):
        fitted, result = choose(
            Shipped.of(manifest, layer, labels),
            vectors,
            targets,
            metric=config.metric,
            seed=config.seed,
            tell=tell,
        )
    if result.chosen == "as it is":
        return Adaptation(None, result)
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
    changed = _manifest(config, manifest, rows, labels, fitted, record)
    with tempfile.TemporaryDirectory() as folder:
        draft = _write(bundle, changed, fitted, layer, Path(folder) / "draft")
        _check(draft, rows.texts, fitted.decide(vectors, manifest.task))
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
    for label in own:
        column = rows.targets[:, rows.label_set.index(label)]
        told = column[column != UNKNOWN]
        if label in new and (not (told == 1).any() or not (told == 0).any()):
            raise DataError(
                f"{label!r} is a new label, and {'no' if not (told == 1).any() else 'every'} text "
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
        several = np.flatnonzero((targets == 1).sum(axis=1) != 1)
        if len(several):
            raise DataError(
                f"row {rows.rows[several[0]]} has {int((targets[several[0]] == 1).sum())} labels, "
                f"and {manifest.name} gives each text one"
            )
        return np.where(targets == 1, 1, 0).astype(np.int8)
    if gone := [label for label, same in zip(labels, alike, strict=True) if same]:
        _LOGGER.info("no text tells %s from the others: left as they are", some(gone))
    targets[:, alike] = UNKNOWN
    return targets


@dataclass(frozen=True)
class Shipped:
    """A model before it is adapted, its labels those that it will have.

    :param task: of the model.
    :param labels: in the order of the columns.
    :param places: of each label among the model's own; None for a new one.
    :param layer: its last layer, with nothing for new labels.
    :param thresholds: float32, shape (labels,); 0 for a label that has none.
    """

    task: Task
    labels: tuple[str, ...]
    places: tuple[int | None, ...]
    layer: LastLayer
    thresholds: NDArray[np.float32]

    @staticmethod
    def of(manifest: Manifest, layer: LastLayer, labels: Sequence[str]) -> Shipped:
        """Describe a bundle.

        :param manifest: its facts.
        :param layer: its last layer.
        :param labels: that the adapted model will have.
        :return: the description.
        """
        own = manifest.labels
        places = tuple(own.index(label) if label in own else None for label in labels)
        cuts = [manifest.thresholds.get(label, 0.0) for label in labels]
        if manifest.thresholds:
            cuts = [cut or 0.5 for cut in cuts]
        return Shipped(
            manifest.task,
            tuple(labels),
            places,
            layer.select(places),
            np.array(cuts, dtype=np.float32),
        )

    @property
    def has_new(self) -> bool:
        """Whether some labels are new."""
        return None in self.places

    def logits(self, given: NDArray[np.float32]) -> NDArray[np.float32]:
        """Put the model's own logits in the order of the labels; -inf for new ones."""
        found = np.full((len(given), len(self.places)), -np.inf, dtype=np.float32)
        for i, place in enumerate(self.places):
            if place is not None:
                found[:, i] = given[:, place]
        return found


@dataclass(frozen=True)
class Fitted:
    """A model as adapted.

    :param base: before.
    :param thresholds: float32, shape (labels,); 0 for a label that has none.
    :param temperature: that its logits are divided by.
    :param layer: another last layer; None keeps the model's.
    :param strength: of the pull that the layer was fitted with.
    """

    base: Shipped
    thresholds: NDArray[np.float32]
    temperature: float | None = None
    layer: LastLayer | None = None
    strength: float | None = None

    def logits(self, vectors: Vectors) -> NDArray[np.float32]:
        """Give logits of texts, float32, shape (texts, labels)."""
        if self.layer is not None:
            made = self.layer.logits(vectors.windows)
        else:
            made = self.base.logits(vectors.logits)
        joined = vectors.join(made, self.base.task)
        return joined if self.temperature is None else joined / np.float32(self.temperature)

    def decide(self, vectors: Vectors, task: Task) -> NDArray[np.bool_]:
        """Decide on the labels of texts, bool, shape (texts, labels)."""
        return apply_thresholds(to_probabilities(self.logits(vectors), task), self.thresholds, task)


def choose(
    base: Shipped,
    vectors: Vectors,
    targets: NDArray[np.int8],
    *,
    metric: Metric = "macro",
    seed: int = DEFAULT_SEED,
    tell: Tell | None = None,
) -> tuple[Fitted, AdaptResult]:
    """Try all ways by cross-validation, and fit the one that is taken to all texts.

    Whatever a fit needs to be chosen, the strength of its pull or thresholds, is chosen on the
    texts that it was given, by folds within the fold.

    :param base: the model.
    :param vectors: of the texts.
    :param targets: int8, shape (texts, labels): 1, 0 or -1 for unknown.
    :param metric: mean of F1 that decides.
    :param seed: of folds and resamples.
    :param tell: told how far the work is.
    :return: the model as adapted, or as it was, and the figures.
    """
    ways = _ways(base, seed)
    rng = np.random.default_rng(seed)
    folds = _folds(targets, FOLDS, rng)
    decided = {way: np.zeros(targets.shape, np.bool_) for way in ways}
    logits = {way: np.zeros(targets.shape, np.float32) for way in ways}
    steps = len(folds) * len(ways)
    for number, held in enumerate(folds):
        rest = np.setdiff1d(np.arange(len(targets)), held)
        seen, unseen = vectors.select(rest), vectors.select(held)
        for place, (way, fit) in enumerate(ways.items()):
            if tell is not None:
                tell(Progress(number * len(ways) + place, steps + 1, "fits", way))
            fitted = fit(seen, targets[rest])
            decided[way][held] = fitted.decide(unseen, base.task)
            logits[way][held] = fitted.logits(unseen)
    chosen: Way = "as it is"
    for way in ways:
        if way != chosen and _better(
            targets, decided[chosen], decided[way], logits[chosen], logits[way], base, metric, seed
        ):
            chosen = way
    if tell is not None:
        tell(Progress(steps, steps + 1, "fits", chosen))
    final = ways[chosen](vectors, targets)
    return final, AdaptResult(
        labels=base.labels,
        rows=len(targets),
        folds=len(folds),
        metric=metric,
        scores=tuple(
            _way_score(way, targets, decided["as it is"], decided[way], logits[way], base, seed)
            for way in ways
        ),
        chosen=chosen,
        strength=final.strength,
        temperature=final.temperature,
    )


def _folds(
    targets: NDArray[np.int8], folds: int, rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Deal texts out so that each fold gets its share of every label."""
    parts = stratified_parts(targets, {str(i): 1 / folds for i in range(folds)}, rng)
    return [np.array(part, dtype=np.int64) for part in parts.values() if part]


Fit = Callable[[Vectors, NDArray[np.int8]], Fitted]


def _ways(base: Shipped, seed: int) -> dict[Way, Fit]:
    """Give what can be tried, the simplest first."""
    ways: dict[Way, Fit] = {"as it is": lambda _, __: Fitted(base, base.thresholds)}
    if not base.has_new:
        if base.thresholds.any():
            ways["thresholds"] = lambda v, t: _fit_thresholds(base, v, t)
        ways["temperature"] = lambda v, t: _fit_temperature(base, v, t)
    if any(place is not None for place in base.places):
        ways["last layer"] = lambda v, t: _fit_layer(base, base.layer, v, t, seed)
    if base.has_new:
        nothing = base.layer.select([None] * len(base.labels))
        ways["new last layer"] = lambda v, t: _fit_layer(base, nothing, v, t, seed)
    return ways


def _cuts(
    logits: NDArray[np.float32],
    targets: NDArray[np.int8],
    base: Shipped,
    otherwise: NDArray[np.float32],
) -> NDArray[np.float32]:
    """Fit thresholds; labels that no text has keep others, and a model without has none."""
    if not base.thresholds.any():
        return base.thresholds
    fitted = fit_thresholds(to_probabilities(logits, base.task), targets)
    return np.where((targets == 1).any(axis=0), fitted, otherwise).astype(np.float32)


def _fit_thresholds(base: Shipped, vectors: Vectors, targets: NDArray[np.int8]) -> Fitted:
    logits = vectors.join(base.logits(vectors.logits), base.task)
    return Fitted(base, _cuts(logits, targets, base, base.thresholds))


def _fit_temperature(base: Shipped, vectors: Vectors, targets: NDArray[np.int8]) -> Fitted:
    logits = vectors.join(base.logits(vectors.logits), base.task)
    if base.task == "multi_label":
        temperature = float(fit_temperatures(logits, targets)[0])
        moved = mapped_thresholds(base.thresholds, np.full(len(base.labels), temperature))
    else:
        losses = [text_losses(logits / t, targets, base.task).mean() for t in _TEMPERATURES]
        temperature, moved = float(_TEMPERATURES[int(np.argmin(losses))]), base.thresholds
    cuts = _cuts(logits / np.float32(temperature), targets, base, moved)
    return Fitted(base, cuts, temperature)


def _fit_layer(
    base: Shipped, start: LastLayer, vectors: Vectors, targets: NDArray[np.int8], seed: int
) -> Fitted:
    """Fit a layer; how strong the pull is, and thresholds, by folds of the same texts."""
    texts = vectors.of_texts()
    held_out = np.zeros((len(STRENGTHS), *targets.shape), dtype=np.float32)
    for held in _folds(targets, _INNER_FOLDS, np.random.default_rng(seed)):
        rest = np.setdiff1d(np.arange(len(targets)), held)
        unseen = vectors.select(held)
        for i, layer in enumerate(fit_layers(texts[rest], targets[rest], start, base.task)):
            held_out[i, held] = unseen.join(layer.logits(unseen.windows), base.task)
    losses = [text_losses(logits, targets, base.task).mean() for logits in held_out]
    best = int(np.argmin(losses))
    layer = fit_layers(texts, targets, start, base.task, STRENGTHS[: best + 1])[-1]
    cuts = _cuts(held_out[best], targets, base, base.thresholds)
    return Fitted(base, cuts, layer=layer, strength=STRENGTHS[best])


def _better(
    targets: NDArray[np.int8],
    before: NDArray[np.bool_],
    after: NDArray[np.bool_],
    before_logits: NDArray[np.float32],
    after_logits: NDArray[np.float32],
    base: Shipped,
    metric: Metric,
    seed: int,
) -> bool:
    """Tell whether a way is better than a simpler one, in nine of ten resamples of the texts.

    F1 must not be lower, and either it or the log-loss must be better: the log-loss sees a gain
    that moves few decisions.
    """
    compared = paired_comparison(targets, before, after, base.labels, samples=_SAMPLES, seed=seed)
    found = compared[f"{metric}_f1"]
    if found["value"] < 0:
        return False
    if found["value"] > 0 and found["share_not_better"] <= _SURE:
        return True
    if not np.isfinite(before_logits).all():
        return False  # a model has no loss where it lacks labels
    falls = text_losses(before_logits, targets, base.task) - text_losses(
        after_logits, targets, base.task
    )
    if falls.mean() < _LEAST_FALL:
        return False
    drawn = np.random.default_rng(seed).integers(0, len(falls), (_SAMPLES, len(falls)))
    return bool((falls[drawn].mean(axis=1) <= 0).mean() <= _SURE)


def _way_score(
    way: Way,
    targets: NDArray[np.int8],
    before: NDArray[np.bool_],
    decided: NDArray[np.bool_],
    logits: NDArray[np.float32],
    base: Shipped,
    seed: int,
) -> WayScore:
    scores = score(targets, decided, base.labels)
    gain = None
    if way != "as it is":
        found = paired_comparison(
            targets, before, decided, base.labels, samples=_SAMPLES, seed=seed
        )
        gain = {name: found[name] for name in ("weighted_f1", "macro_f1")}
    whole = np.isfinite(logits).all()
    return WayScore(
        way=way,
        weighted_f1=round(scores.weighted_f1, 6),
        macro_f1=round(scores.macro_f1, 6),
        intervals_95=bootstrap_intervals(targets, decided, _SAMPLES, seed),
        log_loss=round(float(text_losses(logits, targets, base.task).mean()), 6) if whole else None,
        gain=gain,
    )


def _manifest(
    config: AdaptConfig,
    manifest: Manifest,
    rows: LabelledTexts,
    labels: tuple[str, ...],
    fitted: Fitted,
    record: dict[str, Any],
) -> Manifest:
    """Say of the adapted model what it is; figures taken of the old one go."""
    names = {**rows.label_set.russian, **manifest.label_names_ru}
    old = manifest.thresholds
    thresholds = {
        label: old[label] if cut == np.float32(old.get(label, 0)) else float(cut)
        for label, cut in zip(labels, fitted.thresholds, strict=True)
        if cut > 0
    }
    own = TrainingSource(
        name=", ".join(path.name for path in config.data),
        licence="unknown",
        url="unknown",
        attribution="texts that the model was adapted to",
        rows=len(rows),
    )
    return manifest.replace(
        name=config.name or config.output.resolve().name,
        labels=labels,
        label_names_ru={label: names[label] for label in labels if label in names},
        thresholds=thresholds,
        training_data=(*manifest.training_data, own),
        metrics={},
        provenance={**manifest.provenance, "adapted": record},
        files={},
    )


def _write(
    bundle: Bundle, manifest: Manifest, fitted: Fitted, layer: LastLayer, folder: Path
) -> Bundle:
    model = shared_core().read_model(bundle.model_path)
    if fitted.layer is not None:
        replace_last_layer(model, fitted.layer)
    elif manifest.labels != bundle.manifest.labels:
        replace_last_layer(model, layer.select(fitted.base.places))
    if fitted.temperature is not None:
        scale_logits(model, np.full(len(manifest.labels), 1 / fitted.temperature))
    return write_bundle(folder, manifest, model, bundle.tokenizer().to_str())


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
