"""`ov-emotions info`, `prune`: single models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, Flag, UsageError, verb
from ov_emotions.cli.output import check_output_folder, print_json, print_text, table
from ov_emotions.progress import counted
from ov_emotions.system import Machine, read_machine
from ov_emotions.texts import BadRow, open_table, read_texts

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


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """Which encoder loses which part of its vocabulary.

    :param base: folder of the base encoder.
    :param output: folder to write as a whole.
    :param text: text files of the corpus, one text a line (.txt, .txt.gz).
    :param data: a prepared folder, whose train and validation texts join the corpus.
    :param keep_cyrillic: keep unused pieces of Cyrillic letters and digits (the default).
    :param keep_digits: of unused pieces, keep only those of digits.
    """

    base: Annotated[Path, Flag(positional=True)]
    output: Annotated[Path, Flag(positional=True)]
    text: Annotated[tuple[Path, ...], Flag("FILE")] = ()
    data: Annotated[Path | None, Flag("PREPARED")] = None
    keep_cyrillic: bool = False
    keep_digits: bool = False


@verb()
def prune(options: PruneOptions, answer: Answer) -> int:
    """Make a base encoder ready for fine-tuning, with a smaller vocabulary.

    Write a copy with the normaliser inside its tokeniser and without the vocabulary that a corpus
    of normalised Russian never uses.
    """
    from ov_emotions.training.prune import PruneConfig, prune_base

    if options.keep_cyrillic and options.keep_digits:
        raise UsageError("--keep-cyrillic and --keep-digits exclude each other")
    if not options.text and options.data is None:
        raise UsageError("a corpus is needed: give --text, --data or both")
    check_output_folder(options.output, "tokenizer.json")
    with Bar("texts") as bar:
        config = PruneConfig(
            base=options.base,
            output=options.output,
            keep="digits" if options.keep_digits else "cyrillic",
        )
        sizes = prune_base(config, _corpus(options, bar))
    if answer.json:
        print_json({"vocabulary": sizes, "output": str(options.output)})
    else:
        told = f"vocabulary {sizes['before']:,} -> {sizes['after']:,}"
        print_text(f"{told}, written to {options.output}")
    return 0


def _corpus(options: PruneOptions, bar: Bar) -> Iterator[str]:
    """Open everything before the first text, then give the texts one by one."""
    from ov_emotions.data.dataset import PreparedData

    for path in options.text:
        open_table(path)
    prepared = None if options.data is None else PreparedData.open(options.data)

    def texts() -> Iterator[str]:
        for path in options.text:
            left_out = 0
            for row in read_texts(path):
                if isinstance(row, BadRow):
                    left_out += 1
                else:
                    yield row
            if left_out:
                bar.message(f"{path}: {left_out} lines without a usable text were left out")
        if prepared is not None:
            for split in ("train", "validation"):
                yield from prepared.split(split).texts

    return counted(texts(), bar, unit="texts")
