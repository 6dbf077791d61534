"""`ov-emotions info`, `prune`: single models."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from ov_emotions.cli.bar import Bar, usable_texts
from ov_emotions.cli.frame import Answer, UsageError, verb
from ov_emotions.cli.output import check_output_folder, table
from ov_emotions.progress import counted
from ov_emotions.schema import DEFAULT_MODEL, Flag
from ov_emotions.system import Machine, read_machine, shared_core
from ov_emotions.texts import open_table
from ov_emotions.training.settings import PruneConfig

if TYPE_CHECKING:
    from ov_emotions.manifest import Manifest


@dataclass(frozen=True)
class InfoOptions:
    """What to show.

    :param model: a shipped name, a bundle's folder or a Hub id (default: the shipped model).
    """

    model: Annotated[str, Flag(positional=True)] = DEFAULT_MODEL


@verb()
def info(options: InfoOptions, answer: Answer) -> int:
    """Show a model's card and what this machine's CPU offers."""
    import openvino as ov

    from ov_emotions.bundle import Bundle

    bundle = Bundle.load(options.model)
    machine, core = read_machine(), shared_core()
    devices = list(core.available_devices)
    runtime = {
        "openvino": ov.get_version(),
        "devices": devices,
        "cpu_capabilities": list(
            core.get_property("CPU", "OPTIMIZATION_CAPABILITIES") if "CPU" in devices else []
        ),
    }
    model = json.loads(bundle.manifest.to_json()) | {"folder": str(bundle.folder)}
    lines = [
        *_model_lines(bundle.manifest),
        f"folder          {bundle.folder}",
        "",
        *_machine_lines(machine),
        f"OpenVINO        {runtime['openvino']}",
        f"devices         {', '.join(devices) or 'none'}",
        f"CPU runs        {', '.join(runtime['cpu_capabilities']) or 'not known'}",
        f"precision hint  {bundle.manifest.inference_precision}, unless --precision says otherwise",
    ]
    found = {"model": model, "machine": asdict(machine) | runtime}
    return answer.give(found, "\n".join(lines))


def _model_lines(manifest: Manifest) -> list[str]:
    labels = [
        (label, manifest.label_names_ru.get(label, ""), f"{manifest.thresholds[label]:.3f}")
        for label in manifest.labels
    ]
    data = [(s.name, s.rows, s.licence) for s in manifest.training_data]
    lines = [
        f"model           {manifest.name}",
        f"licence         {manifest.licence}",
        f"base model      {manifest.base_model} ({manifest.base_licence})",
        f"precision       weights {manifest.precision}, inference {manifest.inference_precision}",
        f"max length      {manifest.max_length} tokens a window",
        f"normaliser      {manifest.normalizer}",
        "",
        table([("label", "по-русски", "threshold"), *labels]),
        "",
        table([("trained on", "rows", "licence"), *data]),
        "",
    ]
    if scores := list(_scores(manifest.metrics)):
        header = ("measured on", "precision", "rows", *_F1S.values())
        lines += [table([header, *scores]), ""]
    return lines


_F1S = {"weighted_f1": "weighted F1", "macro_f1": "macro F1"}


def _scores(metrics: Mapping[str, Any]) -> Iterator[tuple[object, ...]]:
    """Find the scores of splits by precision, among what else a manifest holds."""
    for precision, splits in metrics.items():
        for split, found in splits.items() if isinstance(splits, Mapping) else ():
            if isinstance(found, Mapping) and {"rows", *_F1S} <= found.keys():
                yield split, precision, found["rows"], *(f"{found[name]:.3f}" for name in _F1S)


_INT8 = {"avx512_vnni", "avx_vnni", "amx_int8"}
"""Instructions that multiply INT8 faster than floats."""


def _machine_lines(machine: Machine) -> list[str]:
    usable = f"{machine.usable_logical_cores} of {machine.logical_cores} logical cores"
    if machine.usable_physical_cores is not None:
        usable += f", on {machine.usable_physical_cores} physical"
    if machine.cpu_quota is not None:
        usable += f", time of {machine.cpu_quota:g} (control group)"
    lines = [
        f"CPU             {machine.cpu}",
        f"usable          {usable}",
        f"instructions    {', '.join(machine.instructions) or 'not known'}",
    ]
    if machine.instructions and _INT8.isdisjoint(machine.instructions):
        lines.append(
            "                no VNNI and no AMX: INT8 saves memory on this CPU, and no time"
        )
    return lines


@dataclass(frozen=True, kw_only=True)
class PruneOptions:
    """Of which texts the vocabulary stays.

    :param text: text files of the corpus, one text a line (.txt, .txt.gz).
    :param data: a prepared folder, whose train and validation texts join the corpus.
    :param keep_cyrillic: keep unused pieces of Cyrillic letters and digits (the default).
    :param keep_digits: of unused pieces, keep only those of digits.
    """

    text: Annotated[tuple[Path, ...], Flag("FILE")] = ()
    data: Annotated[Path | None, Flag("PREPARED")] = None
    keep_cyrillic: bool = False
    keep_digits: bool = False


@verb(without=("keep", "max_positions"))
def prune(config: PruneConfig, options: PruneOptions, answer: Answer) -> int:
    """Make a base encoder ready for fine-tuning, with a smaller vocabulary.

    Write a copy with the normaliser inside its tokeniser and without the vocabulary that a corpus
    of normalised Russian never uses.
    """
    from ov_emotions.training.prune import prune_base

    if options.keep_cyrillic and options.keep_digits:
        raise UsageError("--keep-cyrillic and --keep-digits exclude each other")
    if not options.text and options.data is None:
        raise UsageError("a corpus is needed: give --text, --data or both")
    check_output_folder(config.output, "tokenizer.json")
    if options.keep_digits:
        config = replace(config, keep="digits")
    with Bar("texts") as bar:
        sizes = prune_base(config, _corpus(options, bar))
    told = f"vocabulary {sizes['before']:,} -> {sizes['after']:,}, written to {config.output}"
    return answer.give({"vocabulary": sizes, "output": config.output}, told)


def _corpus(options: PruneOptions, bar: Bar) -> Iterator[str]:
    """Open everything before the first text, then give the texts one by one."""
    from ov_emotions.data.dataset import PreparedData

    for path in options.text:
        open_table(path)
    texts = [usable_texts(path, bar, "lines") for path in options.text]
    if options.data is not None:
        prepared = PreparedData.open(options.data)
        splits = ("train", "validation")
        texts.append(text for split in splits for text in prepared.split(split).texts)
    return counted(chain.from_iterable(texts), bar, unit="texts")
