"""The study: recipes and precisions over one model, measured alike, as one JSON."""

from __future__ import annotations

import logging
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from ov_emotions.bundle import INFERENCE_PRECISIONS, MODEL_NAME, WEIGHTS_NAME, Bundle
from ov_emotions.classifier import EmotionClassifier
from ov_emotions.data.dataset import LabelledTexts
from ov_emotions.data.prepare import MANIFEST_NAME, PreparedData
from ov_emotions.errors import OvEmotionsError, QuantizationError
from ov_emotions.evaluation import BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED, read_rows
from ov_emotions.files import sha256_file
from ov_emotions.quantization.compare import Answers, compare
from ov_emotions.quantization.probe import Order, run_probe
from ov_emotions.quantization.recipe import load_recipe
from ov_emotions.quantization.run import quantize_bundle
from ov_emotions.quantization.source import find_source, fp32_bundle, model_name
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise, spread
from ov_emotions.runtime.torch import CheckpointClassifier, TorchPrecision
from ov_emotions.system import (
    available_cores,
    environment,
    peak_mb,
    require,
    reset_peak,
    shared_core,
)
from ov_emotions.thresholds import fit_thresholds

_LOGGER = logging.getLogger(__name__)

SCHEMA = 1
KIND = "ov-emotions study"
REFERENCE = "fp32/f32"
THRESHOLDS_SPLIT = "validation:thresholds"
CALIBRATION_SPLIT = "validation:calibration"
_CUDA: list[tuple[str, TorchPrecision]] = [("torch-cuda", "fp16"), ("torch-cuda", "bf16")]

Report = Callable[[int, int, str], None]
"""Told how many steps are done, of how many, and what comes next."""


@dataclass(frozen=True)
class StudyConfig:
    """What is compared, and how.

    :param source: checkpoint or fp32 bundle: folder or Hub id.
    :param recipes: names or files; fp32 is added, as the reference.
    :param precisions: inference precisions; those that the CPU multiplies fast where empty.
    :param choice_split: what the verdict is reached on.
    :param final_split: what the verdict is confirmed on; None for nothing.
    :param max_drop: weighted F1 that a model may lose to fp32.
    :param rounds: of timing; 0 for none.
    :param single_texts: classified one by one in a round.
    :param offline_texts: classified in one call in a round.
    :param seed: of the choice of texts.
    :param bundles: folder to keep the bundles in; they are deleted where None.
    """

    source: str
    recipes: tuple[str, ...]
    precisions: tuple[str, ...] = ()
    choice_split: str = "validation:selection"
    final_split: str | None = "test_goemotions"
    max_drop: float = 0.003
    rounds: int = 5
    single_texts: int = 150
    offline_texts: int = 400
    seed: int = 20261122
    bundles: Path | None = None

    def __post_init__(self) -> None:
        if self.rounds < 0 or self.single_texts < 1 or self.offline_texts < 1:
            raise QuantizationError(
                "rounds must be at least 0, single_texts and offline_texts at least 1"
            )
        if self.max_drop < 0:
            raise QuantizationError(f"max_drop must be at least 0, not {self.max_drop}")
        for precision in self.precisions:
            if precision not in INFERENCE_PRECISIONS:
                allowed = ", ".join(INFERENCE_PRECISIONS)
                raise QuantizationError(f"precisions must be of {allowed}, not {precision!r}")


@dataclass
class _Candidate:
    """One row of the study on its way."""

    facts: dict[str, Any]
    folder: Path | None = None
    answers: Answers | None = None
    rounds: list[dict[str, float]] = field(default_factory=list)

    @property
    def id(self) -> str:
        return str(self.facts["id"])

    def fail(self, error: Exception) -> None:
        """Take it out of what follows, and say why; without the reference nothing follows."""
        said = (str(error).strip() or type(error).__name__).splitlines()[0]
        if self.id == REFERENCE:
            raise QuantizationError(
                f"the fp32 reference failed, so that nothing can be compared: {said}"
            ) from error
        _LOGGER.warning("%s failed: %s", self.id, said)
        self.facts |= {"status": "failed", "error": said}
        self.folder = None


def fast_precisions() -> tuple[str, ...]:
    """Name the inference precisions that this CPU computes in: f32, and bf16 where it has it."""
    capabilities = shared_core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    return ("f32", "bf16") if "BF16" in capabilities else ("f32",)


def run_study(
    config: StudyConfig, prepared: PreparedData, report: Report = lambda *_: None
) -> dict[str, Any]:
    """Quantize, score and time every candidate.

    One model is in memory at a time: candidates are scored one after the other, and timed in
    processes of their own that take turns (A B C A B C ...).

    :param config: what to compare.
    :param prepared: the prepared data.
    :param report: told how far the work is.
    :return: the study, plain values for JSON; the report and its verdict are made from it.
    :raises OvEmotionsError: if the source, the data or a recipe's file cannot be used, or the
        reference fails. Any other recipe that fails on the model, or candidate that cannot be run,
        is a failed candidate.
    """
    return _Run(config, prepared, report).run()


class _Run:
    def __init__(self, config: StudyConfig, prepared: PreparedData, report: Report) -> None:
        self.config = config
        self.prepared = prepared
        self.report = report
        names = dict.fromkeys(("fp32", *config.recipes))
        self.recipes = [load_recipe(name) for name in names]
        self.precisions = config.precisions or fast_precisions()
        if "f32" not in self.precisions:
            raise QuantizationError("precisions must hold f32: the reference is fp32 in f32")
        self.splits = {
            name: read_rows(prepared, name)
            for name in (config.choice_split, config.final_split)
            if name
        }
        self.fitting = read_rows(prepared, THRESHOLDS_SPLIT)
        self.steps: list[dict[str, Any]] = []
        self.not_measured: list[dict[str, str]] = []
        made = len(self.recipes) * len(self.precisions) + 1
        self.total = 1 + len(self.recipes) + made * (1 + config.rounds)
        self.done = 0
        self.noise: dict[str, Any] = judge_noise({}, (0, 0), (0, 0)) | {
            "sentence": "Nothing was timed."
        }

    def _tell(self, what: str) -> None:
        self.report(self.done, self.total, what)
        self.done += 1

    @contextmanager
    def _step(self, name: str) -> Iterator[None]:
        reset_peak()
        started = time.monotonic()
        yield
        self.steps.append(
            {
                "step": name,
                "seconds": round(time.monotonic() - started, 1),
                "peak_memory_mb": peak_mb(),
            }
        )

    def run(self) -> dict[str, Any]:
        folder, is_checkpoint = find_source(self.config.source)
        with ExitStack() as stack:
            if self.config.bundles:
                bundles = self.config.bundles
            else:
                bundles = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            self._tell("opening")
            with self._step("export" if is_checkpoint else "open"):
                fp32 = stack.enter_context(fp32_bundle(self.config.source, self.prepared))
            random = bool(fp32.manifest.provenance.get("random_weights"))
            candidates = self._quantized(fp32, bundles)
            candidates += self._torch(folder) if is_checkpoint else []
            self._tell_absent(is_checkpoint)
            if not random:
                self._score(candidates, fp32)
            if self.config.rounds:
                self._time(candidates)
            return {
                **self._facts(folder, fp32, random),
                "candidates": [candidate.facts for candidate in candidates],
                "steps": self.steps,
            }

    def _quantized(self, fp32: Bundle, bundles: Path) -> list[_Candidate]:
        made: list[_Candidate] = []
        for recipe in self.recipes:
            self._tell(f"quantize {recipe.name}")
            bundle: Bundle | None = None
            error = None
            try:
                with self._step(f"quantize {recipe.name}"):
                    bundle = quantize_bundle(fp32, self.prepared, bundles / recipe.name, recipe)
            except OvEmotionsError as failure:
                _LOGGER.warning("%s failed: %s", recipe.name, failure)
                error = str(failure)
            for precision in self.precisions:
                facts = _blank(
                    f"{recipe.name}/{precision}", recipe.description, recipe.weights, precision
                ) | {"recipe": recipe.name, "runtime": "openvino"}
                if bundle is None:
                    facts |= {"status": "failed", "error": error}
                else:
                    facts |= {
                        "quantization": bundle.manifest.provenance["quantization"],
                        "size_bytes": sum(
                            (bundle.folder / name).stat().st_size
                            for name in (MODEL_NAME, WEIGHTS_NAME)
                        ),
                    }
                made.append(_Candidate(facts, bundle.folder if bundle else None))
        return made

    def _torch(self, folder: Path) -> list[_Candidate]:
        kinds: list[tuple[str, TorchPrecision]] = [("torch-cpu", "fp32")]
        if require("torch", extra="train").cuda.is_available():
            kinds += _CUDA
        size = (folder / "model.safetensors").stat().st_size
        return [
            _Candidate(
                _blank(
                    f"{runtime}/{precision}",
                    "The checkpoint as it was trained, run by torch.",
                    precision,
                    precision,
                )
                | {"recipe": None, "runtime": runtime, "size_bytes": size},
                folder,
            )
            for runtime, precision in kinds
        ]

    def _tell_absent(self, is_checkpoint: bool) -> None:
        """Keep for the report which rows a reader may look for in vain."""
        cuda = [f"{runtime}/{precision}" for runtime, precision in _CUDA]
        if not is_checkpoint:
            why = "the source is a bundle, and torch runs checkpoints"
            absent = ["torch-cpu/fp32", *cuda]
        elif not require("torch", extra="train").cuda.is_available():
            why, absent = "torch sees no CUDA device here", cuda
        else:
            return
        self.not_measured += [{"id": name, "why": why} for name in absent]

    def _score(self, candidates: list[_Candidate], fp32: Bundle) -> None:
        for candidate in candidates:
            if candidate.folder is not None:
                self._tell(f"score {candidate.id}")
                with self._step(f"score {candidate.id}"):
                    try:
                        candidate.answers = self._answers(candidate.folder, candidate.facts)
                    except (OvEmotionsError, RuntimeError) as error:  # torch out of memory, too
                        candidate.fail(error)
        found = {candidate.id: candidate.answers for candidate in candidates}
        reference = found[REFERENCE]
        if reference is None:  # its recipe failed
            raise QuantizationError("the fp32 reference failed, so that nothing can be compared")
        with self._step("compare"):
            for candidate in candidates:
                if candidate.answers is not None:
                    candidate.facts["quality"] = {
                        name: self._compared(name, data, candidate.answers, reference, fp32)
                        for name, data in self.splits.items()
                    }

    def _compared(
        self, name: str, data: LabelledTexts, ours: Answers, reference: Answers, fp32: Bundle
    ) -> dict[str, Any]:
        frozen = fp32.manifest.threshold_array()
        return compare(data, name, ours, reference, frozen, BOOTSTRAP_SAMPLES, BOOTSTRAP_SEED)

    def _answers(self, folder: Path, facts: dict[str, Any]) -> Answers:
        texts = [list(data.texts) for data in (self.fitting, *self.splits.values())]
        if facts["runtime"] == "openvino":
            with EmotionClassifier(folder, precision=facts["precision"]) as classifier:
                found = [classifier.predict_proba(part) for part in texts]
        else:
            device = facts["runtime"].removeprefix("torch-")
            original = CheckpointClassifier(folder, device, facts["precision"])
            found = [original.predict_proba(part) for part in texts]
        thresholds = fit_thresholds(found[0], self.fitting.targets)
        return Answers(dict(zip(self.splits, found[1:], strict=True)), thresholds)

    def _time(self, candidates: list[_Candidate]) -> None:
        config = self.config
        texts = self.splits[config.choice_split].texts
        order = np.random.default_rng(config.seed).permutation(len(texts))
        singles = tuple(texts[i] for i in order[: config.single_texts])
        offline = tuple(texts[i] for i in order[: config.offline_texts])
        ready = [c for c in candidates if c.folder is not None]
        before = cpu_jiffies()
        with self._step("time"):
            for number in range(config.rounds):
                for candidate in ready:
                    self._tell(f"round {number + 1}: {candidate.id}")
                    asked = Order(
                        str(candidate.folder),
                        candidate.facts["runtime"],
                        candidate.facts["precision"],
                        available_cores(),
                        singles,
                        offline,
                    )
                    try:
                        candidate.rounds.append(run_probe(asked))
                    except QuantizationError as error:
                        candidate.fail(error)
                ready = [c for c in ready if c.folder is not None]
        p50 = {c.id: [r["p50_ms"] for r in c.rounds] for c in ready}
        self.noise = judge_noise(p50, before, cpu_jiffies())
        reference = next(c for c in ready if c.id == REFERENCE)
        for candidate in ready:
            candidate.facts |= _timings(candidate.rounds, reference.rounds)

    def _facts(self, folder: Path, fp32: Bundle, random: bool) -> dict[str, Any]:
        config, manifest = self.config, fp32.manifest
        splits = {
            **self.splits,
            THRESHOLDS_SPLIT: self.fitting,
            CALIBRATION_SPLIT: read_rows(self.prepared, CALIBRATION_SPLIT),
        }
        return {
            "schema": SCHEMA,
            "kind": KIND,
            "created": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "model": {
                "name": model_name(folder),
                "checkpoint": config.source,
                "weights_sha256": manifest.files[WEIGHTS_NAME],
                "labels": list(manifest.labels),
                "label_names_ru": dict(manifest.label_names_ru),
                "parameters": _parameters(fp32),
                "random_weights": random,
            },
            "data": {
                "choice_split": config.choice_split,
                "final_split": config.final_split,
                "thresholds_split": THRESHOLDS_SPLIT,
                "calibration_split": CALIBRATION_SPLIT,
                "splits": {name: {"rows": len(rows)} for name, rows in splits.items()},
                "manifest_sha256": sha256_file(self.prepared.folder / MANIFEST_NAME),
                "seed": self.prepared.manifest["seed"],
            },
            "settings": {
                "bootstrap_samples": BOOTSTRAP_SAMPLES,
                "bootstrap_seed": BOOTSTRAP_SEED,
                "seed": config.seed,
                "rounds": config.rounds,
                "single_texts": config.single_texts,
                "offline_texts": config.offline_texts,
                "starts": config.rounds,
                "max_drop": config.max_drop,
                "threads": available_cores(),
            },
            **environment(
                "openvino", "nncf", "optimum-intel", "torch", "transformers", "tokenizers", "numpy"
            ),
            "noise": self.noise,
            "not_measured": self.not_measured,
            "reference": REFERENCE,
        }


def _blank(identity: str, description: str, weights: str, precision: str) -> dict[str, Any]:
    return {
        "id": identity,
        "description": description,
        "weights": weights,
        "precision": precision,
        "status": "ok",
        "error": None,
        "quantization": None,
        "size_bytes": None,
        "quality": None,
        "start": None,
        "latency": None,
        "throughput": None,
        "ratios": None,
    }


def _timings(rounds: list[dict[str, float]], reference: list[dict[str, float]]) -> dict[str, Any]:
    def summary(*names: str) -> dict[str, Any]:
        return {name: spread([figures[name] for figures in rounds]) for name in names}

    pairs = list(zip(rounds, reference, strict=True))
    return {
        "start": summary("load_s", "first_inference_ms", "rss_mb"),
        "latency": summary("p50_ms", "p90_ms", "p99_ms"),
        "throughput": summary("texts_per_second"),
        "ratios": {
            "p50": spread([theirs["p50_ms"] / ours["p50_ms"] for ours, theirs in pairs]),
            "throughput": spread(
                [ours["texts_per_second"] / theirs["texts_per_second"] for ours, theirs in pairs]
            ),
        },
        "rounds": rounds,
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
