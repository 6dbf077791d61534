"""Invented studies to render; no figure here was measured."""

from __future__ import annotations

import copy
import random
from typing import Any

LABELS = {
    "anger": "гнев",
    "disgust": "отвращение",
    "fear": "страх",
    "joy": "радость",
    "sadness": "грусть",
    "surprise": "удивление",
    "neutral": "нейтрально",
}
F1 = {
    "anger": 0.492,
    "disgust": 0.431,
    "fear": 0.631,
    "joy": 0.776,
    "sadness": 0.556,
    "surprise": 0.493,
    "neutral": 0.640,
}
CHOICE, FINAL = "validation:selection", "test_goemotions"
ROWS = {CHOICE: 1628, FINAL: 5427, "validation:thresholds": 2713, "validation:calibration": 1085}


def spread(median: float, wide: float = 0.06) -> dict[str, float]:
    return {"median": median, "min": median * (1 - wide), "max": median * (1 + wide)}


def _interval(value: float, half: float) -> dict[str, float]:
    return {"value": value, "low": value - half, "high": value + half}


def scoring(change: float, half: float = 0.0012, flipped: float = 0.004) -> dict[str, Any]:
    f1 = 0.6437 + change
    labels = {label: min(1.0, max(0.0, value + change)) for label, value in F1.items()}
    return {
        "weighted_f1": f1,
        "macro_f1": f1 - 0.07,
        "labels": {
            label: {
                "precision": value - 0.05,
                "recall": value + 0.05,
                "f1": value,
                "support": 100 + 10 * i,
                "predicted": 120 + 10 * i,
            }
            for i, (label, value) in enumerate(labels.items())
        },
        "intervals_95": {
            "weighted_f1": [f1 - 0.0095, f1 + 0.0095],
            "macro_f1": [f1 - 0.09, f1 - 0.05],
            "labels": {label: [value - 0.03, value + 0.03] for label, value in labels.items()},
        },
        "difference": {
            "weighted_f1": _interval(change, half),
            "macro_f1": _interval(change, 2 * half),
        },
        "flipped": flipped,
        "flipped_rows": min(1.0, 5 * flipped),
    }


def quality(
    change: float, *, frozen: float | None = None, half: float = 0.0012, rows: int = 1628
) -> dict[str, Any]:
    return {
        "rows": rows,
        "frozen": scoring(change - 0.004 if frozen is None else frozen, half),
        "refitted": scoring(change, half),
        "ece": 0.021,
        "ece_labels": dict.fromkeys(LABELS, 0.02),
        "largest_changes": [
            {
                "row": 7,
                "text": "ну наконец то доехали я так рада вас всех видеть",
                "label": "joy",
                "reference": 0.81,
                "candidate": 0.64,
            }
        ],
    }


def candidate(
    id_: str,
    *,
    change: float = 0.0,
    half: float = 0.0012,
    frozen: float | None = None,
    p50: float = 8.0,
    rate: float = 200.0,
    size: float = 118.0,
    wide: float = 0.03,
    runtime: str = "openvino",
    final: float | None = None,
    base: tuple[float, float] = (8.0, 200.0),
) -> dict[str, Any]:
    weights, precision = id_.split("-")[0].split("/")[0], id_.split("/")[-1]
    reference = id_ == "fp32/f32"
    half = 0.0 if reference else half
    by_split = {CHOICE: quality(change, half=half, frozen=0.0 if reference else frozen)}
    if final is not None:
        by_split[FINAL] = quality(final, half=half, rows=5427)
    return {
        "id": id_,
        "recipe": id_.split("/")[0] if weights.startswith("int") else None,
        "runtime": runtime,
        "description": f"{weights} weights, inference in {precision}",
        "weights": weights,
        "precision": precision,
        "status": "ok",
        "error": None,
        "quantization": {
            "seconds": 41.2,
            "reverted_operations": ["/encoder/layer.0/MatMul", "/encoder/layer.2/MatMul_1"],
            "iterations": 3,
            "final_drop": 0.0009,
            "smooth_quant_alpha": 0.95,
        }
        if weights.startswith("int")
        else None,
        "size_bytes": int(size * 1e6),
        "quality": by_split,
        "start": {
            "load_s": spread(0.42),
            "first_inference_ms": spread(25.0),
            "rss_mb": spread(150 + 2 * size),
        },
        "latency": {
            "p50_ms": spread(p50, wide),
            "p90_ms": spread(1.3 * p50, wide),
            "p99_ms": spread(1.9 * p50, wide),
        },
        "throughput": {"texts_per_second": spread(rate, wide)},
        "ratios": {
            "p50": spread(base[0] / p50, 0.0 if reference else wide),
            "throughput": spread(rate / base[1], 0.0 if reference else wide),
        },
    }


def failed(
    id_: str, error: str = "QuantizationError: NNCF gave up after 3 layers"
) -> dict[str, Any]:
    made = candidate(id_)
    empty = dict.fromkeys(("quality", "start", "latency", "throughput", "ratios", "size_bytes"))
    return made | empty | {"status": "failed", "error": error, "quantization": None}


def study(candidates: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    made: dict[str, Any] = {
        "schema": 1,
        "kind": "ov-emotions study",
        "command": "ov-emotions report fp32 --data prepared --output report",
        "created": "2026-11-22T21:00:00Z",
        "model": {
            "name": "emotions-example",
            "checkpoint": "runs/example/best",
            "weights_sha256": "ab" * 32,
            "labels": list(LABELS),
            "label_names_ru": dict(LABELS),
            "parameters": 29_400_000,
            "random_weights": False,
        },
        "data": {
            "choice_split": CHOICE,
            "final_split": None,
            "thresholds_split": "validation:thresholds",
            "calibration_split": "validation:calibration",
            "splits": {name: {"rows": rows} for name, rows in ROWS.items()},
            "manifest_sha256": "cd" * 32,
            "seed": 20261122,
        },
        "settings": {
            "bootstrap_samples": 2000,
            "bootstrap_seed": 20261122,
            "seed": 7,
            "rounds": 7,
            "single_texts": 200,
            "offline_texts": 1000,
            "starts": 3,
            "max_drop": 0.003,
            "threads": 2,
        },
        "machine": {"cpu": "AMD EPYC", "cores": 2, "flags": ["avx2", "avx512_vnni"]},
        "versions": {"ov_emotions": "0.1.0", "python": "3.11.7", "openvino": "2026.4.1"},
        "noise": {
            "noisy": False,
            "spread": 0.04,
            "limit": 0.15,
            "sentence": "The reference's rounds spread by 4 %, within the limit of 15 %.",
        },
        "reference": "fp32/f32",
        "candidates": copy.deepcopy(candidates),
        "steps": [
            {"step": "quantize int8-mixed", "seconds": 201.0, "peak_memory_mb": 2410.0},
            {"step": "timings", "seconds": 3905.0, "peak_memory_mb": 900.0},
        ],
    }
    return made | changes


REFERENCE = candidate("fp32/f32", final=0.0)
MIXED = candidate("int8-mixed/bf16", change=-0.0006, p50=3.0, rate=570, size=31, final=-0.0009)
PTQ = candidate("int8-ptq/bf16", change=-0.0064, frozen=-0.0121, p50=2.8, rate=610, size=30)


def three() -> dict[str, Any]:
    return study([REFERENCE, MIXED, PTQ])


def eight() -> dict[str, Any]:
    """All kinds at once, with a final split."""
    made = study(
        [
            REFERENCE,
            candidate("fp32/bf16", change=-0.0002, p50=4.9, rate=390, final=-0.0001),
            candidate("fp16/f32", change=0.0, half=0.0002, p50=8.1, rate=198, size=59, final=0.0),
            MIXED,
            candidate("int8-mixed/f32", change=-0.0004, p50=4.1, rate=480, size=31, final=0.0003),
            PTQ,
            candidate("int4-weights/f32", change=-0.214, half=0.012, p50=7.0, rate=230, size=19),
            candidate("torch/fp32", p50=24.5, rate=163, runtime="torch-cpu"),
            failed("int8-smooth/f32"),
        ]
    )
    made["data"]["final_split"] = FINAL
    return made


def sixteen() -> dict[str, Any]:
    """Many, close together, some with long names."""
    rng = random.Random(3)
    made = [REFERENCE, candidate("torch/fp32", p50=24.5, rate=163, runtime="torch-cpu")]
    recipes = ("int8-ptq", "int8-mixed", "int8-smoothquant-alpha-0.95-bias-corrected")
    recipes += ("int8-accuracy-control-on-weighted-f1", "int8-first-and-last-layer-in-float")
    recipes += ("fp32", "fp16")
    for recipe in recipes:
        for precision in ("f32", "bf16"):
            if (recipe, precision) == ("fp32", "f32"):
                continue
            fast = 3.0 if recipe.startswith("int8") else 7.0
            made.append(
                candidate(
                    f"{recipe}/{precision}",
                    change=rng.uniform(-0.005, 0.001),
                    half=rng.uniform(0.0006, 0.003),
                    p50=fast * rng.uniform(0.95, 1.2) * (0.8 if precision == "bf16" else 1),
                    rate=1800 / fast * rng.uniform(0.9, 1.1),
                    size=30.5 if recipe.startswith("int8") else 118,
                )
            )
    made.append(candidate("int4-weights/f32", change=-0.03, half=0.004, p50=6.1, rate=210, size=19))
    return study(made)


def random_weights() -> dict[str, Any]:
    made = eight()
    made["model"] |= {"random_weights": True, "name": "RoBERTa-large-shaped"}
    made["data"]["final_split"] = None
    made["candidates"] = [c | {"quality": None} for c in made["candidates"]]
    return made


def noisy() -> dict[str, Any]:
    sentence = "The reference's rounds spread by 41 %, more than 15 %: the machine was too noisy."
    noise = {"noisy": True, "spread": 0.41, "limit": 0.15, "sentence": sentence}
    wide = [
        candidate(
            c["id"],
            change=c["quality"][CHOICE]["refitted"]["difference"]["weighted_f1"]["value"],
            p50=c["latency"]["p50_ms"]["median"],
            wide=0.4,
            rate=c["throughput"]["texts_per_second"]["median"],
            size=c["size_bytes"] / 1e6,
        )
        for c in (REFERENCE, MIXED, PTQ)
    ]
    return study(wide, noise=noise)


def refused() -> dict[str, Any]:
    """Nothing but the reference keeps the accuracy."""
    return study(
        [
            REFERENCE,
            PTQ,
            candidate("int8-mixed/f32", change=-0.002, half=0.02, p50=4, rate=480, size=31),
        ]
    )


def broken() -> dict[str, Any]:
    """Every quantized candidate failed."""
    return study([REFERENCE, failed("int8-a/f32", "out of memory"), failed("int8-b/f32")])


EXAMPLES = {
    made.__name__: made for made in (three, eight, sixteen, random_weights, noisy, refused, broken)
}
