"""`ov-emotions info`, `export`, `prune`: single models."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.frame import Answer, Flag, verb
from ov_emotions.cli.output import print_json, print_text, table
from ov_emotions.system import Machine, read_machine

if TYPE_CHECKING:
    from ov_emotions.bundle import Manifest


@dataclass(frozen=True)
class InfoOptions:
    """What to show.

    :param model: a shipped name, a bundle's folder or a Hub id (default: the shipped model).
    """

    model: Annotated[str | None, Flag(positional=True)] = None


@verb()
def info(options: InfoOptions, answer: Answer) -> int:
    """Show a model's card and what this machine's CPU offers."""
    from ov_emotions.bundle import DEFAULT_MODEL, Bundle

    bundle = Bundle.load(DEFAULT_MODEL if options.model is None else options.model)
    machine = read_machine()
    runtime = _runtime()
    if answer.json:
        model = json.loads(bundle.manifest.to_json()) | {"folder": str(bundle.folder)}
        print_json({"model": model, "machine": asdict(machine) | runtime})
        return 0
    lines = [*_model_lines(bundle.manifest), f"folder          {bundle.folder}", ""]
    lines += _machine_lines(machine, runtime, bundle.manifest.inference_precision)
    print_text("\n".join(lines))
    return 0


def _runtime() -> dict[str, Any]:
    import openvino as ov

    from ov_emotions.system import shared_core

    core = shared_core()
    devices = list(core.available_devices)
    capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") if "CPU" in devices else []
    return {
        "openvino": ov.get_version(),
        "devices": devices,
        "cpu_capabilities": list(capabilities),
    }


def _model_lines(manifest: Manifest) -> list[str]:
    labels = [("label", "по-русски", "threshold")]
    for label in manifest.labels:
        name = manifest.label_names_ru.get(label, "")
        labels.append((label, name, f"{manifest.thresholds[label]:.3f}"))
    lines = [
        f"model           {manifest.name}",
        f"licence         {manifest.licence}",
        f"base model      {manifest.base_model} ({manifest.base_licence})",
        f"precision       weights {manifest.precision}, inference {manifest.inference_precision}",
        f"max length      {manifest.max_length} tokens a window",
        f"normaliser      {manifest.normalizer}",
        "",
        table(labels),
        "",
        table(
            [
                ("trained on", "rows", "licence"),
                *((s.name, s.rows, s.licence) for s in manifest.training_data),
            ]
        ),
        "",
    ]
    scores = _scores(manifest.metrics)
    return [*lines, table(scores), ""] if len(scores) > 1 else lines


def _scores(metrics: Mapping[str, Any]) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = [
        ("measured on", "precision", "rows", "weighted F1", "macro F1")
    ]
    for precision, splits in metrics.items():
        if not isinstance(splits, Mapping):
            continue
        rows += [
            (split, precision, found["rows"], *(f"{found[k]:.3f}" for k in _F1S))
            for split, found in splits.items()
            if isinstance(found, Mapping) and {"rows", *_F1S} <= found.keys()
        ]
    return rows


_F1S = ("weighted_f1", "macro_f1")


def _machine_lines(machine: Machine, runtime: dict[str, Any], precision: str) -> list[str]:
    usable = f"{machine.usable_logical_cores} of {machine.logical_cores} logical cores"
    if machine.usable_physical_cores is not None:
        usable += f", on {machine.usable_physical_cores} physical"
    if machine.cpu_quota is not None:
        usable += f", time of {machine.cpu_quota:g} (control group)"
    return [
        f"CPU             {machine.cpu}",
        f"usable          {usable}",
        f"instructions    {', '.join(machine.instructions) or 'not known'}",
        f"OpenVINO        {runtime['openvino']}",
        f"devices         {', '.join(runtime['devices']) or 'none'}",
        f"CPU runs        {', '.join(runtime['cpu_capabilities']) or 'not known'}",
        f"precision hint  {precision}, unless --precision says otherwise",
    ]
