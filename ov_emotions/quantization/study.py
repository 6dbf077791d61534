"""The study: recipes and precisions over one model, measured alike, as one JSON."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import MANIFEST_NAME, PreparedData
from ov_emotions.errors import OvEmotionsError, QuantizationError, first_line
from ov_emotions.evaluation.results import Readings
from ov_emotions.evaluation.run import BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED, read_rows
from ov_emotions.files import sha256_file
from ov_emotions.manifest import MODEL_NAME, WEIGHTS_NAME
from ov_emotions.progress import Progress, Tell
from ov_emotions.quantization.compare import Answers, compare
from ov_emotions.quantization.quantize import quantize_bundle
from ov_emotions.quantization.recipe import load_recipe, recipe_names, with_subset_size
from ov_emotions.quantization.settings import StudyConfig
from ov_emotions.quantization.study_schema import (
    KIND,
    SCHEMA,
    Absent,
    Candidate,
    Data,
    Latency,
    Model,
    Noise,
    Ratios,
    Split,
    Spread,
    Start,
    Step,
    Study,
    Throughput,
)
from ov_emotions.quantization.timing import (
    Order,
    cpu_jiffies,
    judge_noise,
    open_candidate,
    run_probe,
    spread,
)
from ov_emotions.schema import InferencePrecision
from ov_emotions.system import (
    available_cores,
    environment,
    peak_mb,
    require,
    reset_peak,
    shared_core,
)
from ov_emotions.thresholds import FOLDS, apply_thresholds, cross_fit, fit_thresholds

_LOGGER = logging.getLogger(__name__)

REFERENCE = "fp32/f32"
CHOICE_SPLIT = "validation"
CALIBRATION_SPLIT = "validation:calibration"
_TOLD = ("seed", "subset_size", "rounds", "single_texts", "offline_texts", "max_drop")
_CUDA: list[tuple[Any, str]] = [("torch-cuda", "fp16"), ("torch-cuda", "bf16")]


@dataclass
class _Row:
    """A candidate on its way: what is known of it, and what it answered."""

    facts: Candidate
    folder: Path | None = None
    answers: dict[str, Answers] = field(default_factory=dict)
    rounds: list[dict[str, float]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.facts.id

    def know(self, **facts: Any) -> None:
        self.facts = self.facts.replace(**facts)

    def fail(self, error: Exception) -> None:
        """Take it out of what follows, and say why; without the reference nothing follows."""
        said = first_line(error)
        if self.id == REFERENCE:
            raise QuantizationError(
                f"the fp32 reference failed, so that nothing can be compared: {said}"
            ) from error
        _LOGGER.warning("%s failed: %s", self.id, said)
        self.know(status="failed", error=said)
        self.folder = None


def fast_precisions() -> tuple[InferencePrecision, ...]:
    """Name the inference precisions that this CPU computes in: f32, and bf16 where it has it."""
    capabilities = shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", "bf16") if "BF16" in capabilities else ("f32",)


def run_study(
    config: StudyConfig,
    bundle: Bundle,
    data: PreparedData,
    *,
    checkpoint: Path | None = None,
    readings: Readings | None = None,
    tell: Tell = lambda _: None,
) -> Study:
    """Quantize, score and time every candidate.

    The choice is made on all of validation: each row is decided at thresholds that were fitted on
    other rows (cross-fitting), so that none is lost to the fitting. One model is in memory at a
    time: candidates are scored one after the other, and timed in processes of their own that take
    turns (A B C A B C ...).

    :param bundle: the model with fp32 weights.
    :param checkpoint: of ours, which torch is measured with too; None leaves torch out.
    :param readings: to put into the study: F1 as written and as recognised.
    :raises OvEmotionsError: if the data or a recipe's file cannot be used, or the reference fails.
        Any other recipe that fails on the model, or candidate that cannot be run, is a failed
        candidate.
    """
    run = _Run(config, bundle, data, checkpoint, tell)
    with tempfile.TemporaryDirectory() as temporary:
        rows = run.quantized(config.bundles or Path(temporary)) + run.torch()
        if not run.random:
            run.score(rows)
        if config.rounds:
            run.time(rows)
    return run.study(tuple(row.facts for row in rows), readings)


class _Run:
    def __init__(
        self,
        config: StudyConfig,
        bundle: Bundle,
        data: PreparedData,
        checkpoint: Path | None,
        tell: Tell,
    ) -> None:
        self.config, self.bundle, self.data = config, bundle, data
        self.checkpoint, self.tell = checkpoint, tell
        names = dict.fromkeys(("fp32", *(config.recipes or recipe_names())))
        size = config.subset_size
        self.recipes = [
            with_subset_size(recipe, size) if size and recipe.ptq else recipe
            for recipe in map(load_recipe, names)
        ]
        self.precisions = config.precisions or fast_precisions()
        chosen = (CHOICE_SPLIT, *([config.final_split] if config.final_split else []))
        self.splits = {name: read_rows(data, name) for name in chosen}
        self.random = bool(bundle.manifest.provenance.get("random_weights"))
        self.steps: list[Step] = []
        self.not_measured: list[Absent] = []
        self.noise = Noise(noisy=False, sentence="Nothing was timed.")
        made = len(self.recipes) * len(self.precisions) + (checkpoint is not None)
        self.total = len(self.recipes) + made * (1 + config.rounds)
        self.done = 0

    def _tell(self, what: str) -> None:
        self.tell(Progress(min(self.done, self.total), self.total, "steps", what))
        self.done += 1

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        reset_peak()
        started = time.monotonic()
        yield
        seconds = round(time.monotonic() - started, 1)
        self.steps.append(Step(step=name, seconds=seconds, peak_memory_mb=peak_mb()))

    def quantized(self, folder: Path) -> list[_Row]:
        made = []
        for recipe in self.recipes:
            self._tell(f"quantize {recipe.name}")
            made_in: Path | None = None
            facts: dict[str, Any]
            try:
                with self._step(f"quantize {recipe.name}"):
                    # Thresholds are fitted to each candidate as it is scored; those in the bundle
                    # matter only to who keeps it.
                    bundle = quantize_bundle(
                        self.bundle,
                        self.data,
                        folder / recipe.name,
                        recipe,
                        fit=self.config.bundles is not None,
                    )
            except OvEmotionsError as failure:
                _LOGGER.warning("%s failed: %s", recipe.name, failure)
                facts = {"status": "failed", "error": str(failure)}
            else:
                made_in = bundle.folder
                files = [bundle.folder / name for name in (MODEL_NAME, WEIGHTS_NAME)]
                facts = {
                    "status": "ok",
                    "quantization": bundle.manifest.provenance["quantization"],
                    "size_bytes": sum(path.stat().st_size for path in files),
                }
            for precision in self.precisions:
                candidate = Candidate(
                    id=f"{recipe.name}/{precision}",
                    recipe=recipe.name,
                    runtime="openvino",
                    description=recipe.description,
                    weights=recipe.weights,
                    precision=precision,
                    **facts,
                )
                made.append(_Row(candidate, made_in))
        return made

    def torch(self) -> list[_Row]:
        """Measure the checkpoint in torch, and keep which rows a reader may look for in vain."""
        cuda = [f"{runtime}/{precision}" for runtime, precision in _CUDA]
        if self.checkpoint is None:
            why = "only checkpoints of `ov-emotions train` are run in torch"
            self.not_measured += [Absent(id=name, why=why) for name in ("torch-cpu/fp32", *cuda)]
            return []
        kinds: list[tuple[Any, str]] = [("torch-cpu", "fp32")]
        if require("torch", extra="train").cuda.is_available():
            kinds += _CUDA
        else:
            why = "torch sees no CUDA device here"
            self.not_measured += [Absent(id=name, why=why) for name in cuda]
        size = (self.checkpoint / "model.safetensors").stat().st_size
        return [
            _Row(
                Candidate(
                    id=f"{runtime}/{precision}",
                    runtime=runtime,
                    description="The checkpoint as it was trained, run by torch.",
                    weights=precision,
                    precision=precision,
                    status="ok",
                    size_bytes=size,
                ),
                self.checkpoint,
            )
            for runtime, precision in kinds
        ]

    def score(self, rows: list[_Row]) -> None:
        for row in rows:
            if row.folder is not None:
                self._tell(f"score {row.id}")
                with self._step(f"score {row.id}"):
                    try:
                        row.answers = self._answers(row.facts, row.folder)
                    except (OvEmotionsError, RuntimeError) as error:  # torch out of memory, too
                        row.fail(error)
        reference = rows[0].answers
        if not reference:  # its recipe failed
            raise QuantizationError("the fp32 reference failed, so that nothing can be compared")
        with self._step("compare"):
            for row in rows:
                if row.answers:
                    quality = {
                        name: compare(
                            data,
                            row.answers[name],
                            reference[name],
                            samples=BOOTSTRAP_SAMPLES,
                            seed=BOOTSTRAP_SEED,
                            folds=FOLDS if name == CHOICE_SPLIT else 0,
                        )
                        for name, data in self.splits.items()
                    }
                    row.know(quality=quality)

    def _answers(self, facts: Candidate, folder: Path) -> dict[str, Answers]:
        """Decide every split's rows at the reference's thresholds, and at some of their own."""
        with open_candidate(folder, facts.runtime, facts.precision) as classifier:
            found = {
                name: classifier.predict_proba(list(data.texts))
                for name, data in self.splits.items()
            }
        task, cuts = self.bundle.manifest.task, self.bundle.manifest.threshold_array()
        targets = self.splits[CHOICE_SPLIT].targets
        answers = {}
        for name, probabilities in found.items():
            frozen = apply_thresholds(probabilities, cuts, task)
            if task == "single_label":
                refitted = frozen
            elif name == CHOICE_SPLIT:
                refitted = cross_fit(probabilities, targets, fit_thresholds, self.config.seed)
            else:
                own = fit_thresholds(found[CHOICE_SPLIT], targets)
                refitted = apply_thresholds(probabilities, own)
            answers[name] = Answers(probabilities, frozen, refitted)
        return answers

    def time(self, rows: list[_Row]) -> None:
        config = self.config
        texts = self.splits[CHOICE_SPLIT].texts
        order = np.random.default_rng(config.seed).permutation(len(texts))
        singles = tuple(texts[i] for i in order[: config.single_texts])
        offline = tuple(texts[i] for i in order[: config.offline_texts])
        ready = [row for row in rows if row.folder is not None]
        before = cpu_jiffies()
        with self._step("time"):
            for number in range(config.rounds):
                for row in ready:
                    self._tell(f"round {number + 1}: {row.id}")
                    what = (str(row.folder), row.facts.runtime, row.facts.precision)
                    try:
                        row.rounds.append(
                            run_probe(Order(*what, available_cores(), singles, offline))
                        )
                    except QuantizationError as error:
                        row.fail(error)
                ready = [row for row in ready if row.folder is not None]
        p50 = {row.id: [r["p50_ms"] for r in row.rounds] for row in ready}
        self.noise = Noise(**judge_noise(p50, before, cpu_jiffies()))
        for row in ready:
            row.know(**_timings(row.rounds, ready[0].rounds))

    def study(self, candidates: tuple[Candidate, ...], readings: Readings | None) -> Study:
        config, manifest = self.config, self.bundle.manifest
        splits = {**self.splits, CALIBRATION_SPLIT: read_rows(self.data, CALIBRATION_SPLIT)}
        prepared = self.data.folder / MANIFEST_NAME
        return Study(
            schema=SCHEMA,
            kind=KIND,
            created=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            model=Model(
                name=manifest.name,
                checkpoint=config.source,
                weights_sha256=manifest.files[WEIGHTS_NAME],
                labels=manifest.labels,
                label_names_ru=dict(manifest.label_names_ru),
                parameters=_parameters(self.bundle),
                random_weights=self.random,
                task=manifest.task,
                normalizer=manifest.normalizer,
            ),
            data=Data(
                choice_split=CHOICE_SPLIT,
                final_split=config.final_split,
                thresholds_split=f"the other of its {FOLDS} folds",
                calibration_split=CALIBRATION_SPLIT,
                splits={name: Split(rows=len(rows)) for name, rows in splits.items()},
                manifest_sha256=sha256_file(prepared if prepared.is_file() else self.data.folder),
                seed=self.data.manifest.seed,
            ),
            settings={
                "bootstrap_samples": BOOTSTRAP_SAMPLES,
                "bootstrap_seed": BOOTSTRAP_SEED,
                "folds": FOLDS,
                **{name: getattr(config, name) for name in _TOLD},
                "starts": config.rounds,
                "threads": available_cores(),
            },
            **environment(
                "openvino", "nncf", "optimum-intel", "torch", "transformers", "tokenizers", "numpy"
            ),
            noise=self.noise,
            not_measured=tuple(self.not_measured),
            reference=REFERENCE,
            candidates=candidates,
            steps=tuple(self.steps),
            readings=readings,
            parity=manifest.provenance.get("parity"),
        )


def _timings(rounds: list[dict[str, float]], reference: list[dict[str, float]]) -> dict[str, Any]:
    figures = {name: Spread(**spread([one[name] for one in rounds])) for name in rounds[0]}
    pairs = list(zip(rounds, reference, strict=True))
    faster = [theirs["p50_ms"] / ours["p50_ms"] for ours, theirs in pairs]
    more = [ours["texts_per_second"] / theirs["texts_per_second"] for ours, theirs in pairs]
    return {
        "start": Start(**{n: figures[n] for n in ("load_s", "first_inference_ms", "rss_mb")}),
        "latency": Latency(**{name: figures[name] for name in ("p50_ms", "p90_ms", "p99_ms")}),
        "throughput": Throughput(texts_per_second=figures["texts_per_second"]),
        "ratios": Ratios(p50=Spread(**spread(faster)), throughput=Spread(**spread(more))),
        "rounds": tuple(rounds),
    }


def _parameters(bundle: Bundle) -> int:
    """Count the weights: the float constants of an fp32 IR that are no scalars."""
    model = shared_core().read_model(bundle.model_path)
    return sum(
        int(np.prod(node.get_output_shape(0)))
        for node in model.get_ops()
        if node.get_type_name() == "Constant"
        and node.get_output_element_type(0).is_real()
        and len(node.get_output_shape(0)) > 0
    )
