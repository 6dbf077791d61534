"""`ov-emotions convert`, `export`: checkpoints of any known kind to bundles."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, verb
from ov_emotions.cli.output import (
    check_output_folder,
    command_line,
    make_output_folder,
    table,
)
from ov_emotions.cli.repositories import published_lines
from ov_emotions.conversion.config import ConversionConfig
from ov_emotions.schema import Flag, to_builtins
from ov_emotions.serving.repository import Published, publish


@dataclass(frozen=True)
class PublishOptions:
    """Where the bundle is published beside its folder.

    :param repository: folder of a Model Server: publish the bundle there too, as a model that takes
        raw text, as `ovms build` does.
    """

    repository: Path | None = None


@verb(config=True)
def convert(config: ConversionConfig, publishing: PublishOptions, answer: Answer) -> int:
    """Convert a fine-tuned classifier to a served INT8 model, with the evidence.

    MODEL is a folder or Hub id with a transformers sequence classification, a PEFT adapter, what
    optimum-cli wrote (OpenVINO or ONNX), or a checkpoint of `ov-emotions train`; or a TOML file
    that describes the head of a state dict. The IR is held against the original first. The model's
    tokeniser stays as it is.

    With --data the model is calibrated, its thresholds are fitted and its figures measured, on
    texts as they are and on what a speech recogniser would have written of them. Without, weights
    alone are made small and nothing is measured.
    """
    from ov_emotions.conversion.run import convert_model
    from ov_emotions.manifest import MANIFEST_NAME
    from ov_emotions.reports.run import write_report
    from ov_emotions.reports.verdict import decide
    from ov_emotions.serving.settings import TextModelConfig
    from ov_emotions.serving.text_check import checked_model

    check_output_folder(config.output, MANIFEST_NAME)
    if config.report is not None:
        make_output_folder(config.report)
    if publishing.repository is not None:
        make_output_folder(publishing.repository)
    with Bar("steps") as bar:
        made = convert_model(config, bar)
    study, files = None, []
    if made.study is not None and config.report is not None:
        study = {**to_builtins(made.study), "command": command_line()}
        files = write_report(study, config.report)
    published = None
    if publishing.repository is not None:
        model = checked_model(made.bundle, TextModelConfig())
        published = publish(model, publishing.repository)
    found = {
        **made.to_dict(),
        "command": command_line(),
        "report": [str(path) for path in files],
        "verdict": None if study is None else decide(study)["sentence"],
        "published": None if published is None else published.to_dict(),
    }
    return answer.give(found, "\n".join(told(found)))


def told(found: Mapping[str, Any]) -> list[str]:
    """Say in lines what came of a conversion, of which this is the JSON."""
    several = "several labels a text" if found["task"] == "multi_label" else "one label a text"
    lines = [
        f"{found['kind']}: {len(found['labels'])} labels, {several}",
        _parity(found["parity"]["groups"]),
    ]
    if (readings := found["readings"]) is not None:
        change = readings["difference"]
        lines.append(
            f"on texts as written weighted F1 is {readings['as_written']['value']:.4f}; stripped "
            f"to what a recogniser writes, {readings['as_recognised']['value']:.4f}: a change of "
            f"{change['value']:+.4f} ({change['low']:+.4f} to {change['high']:+.4f}) on "
            f"{readings['rows']:,} texts, probabilities move by up to "
            f"{readings['largest_change']:.2f}"
        )
    if (metrics := found["metrics"]) is not None:
        low, high = metrics["intervals_95"]["weighted_f1"]
        lines.append(
            f"weighted F1 {metrics['weighted_f1']:.4f} ({low:.3f} to {high:.3f}) on "
            f"{metrics['rows']:,} texts that nothing was fitted to"
        )
    else:
        lines.append("nothing was measured: --data FILE calibrates, fits thresholds and measures")
    lines.append(
        f"wrote {found['bundle']}: {found['precision']} weights, {found['bytes'] / 1e6:.1f} MB, "
        f"run in {found['inference_precision']}"
    )
    if found["verdict"] is not None:
        lines += [found["verdict"], "wrote " + ", ".join(found["report"])]
    if found["published"] is not None:
        lines += published_lines(Published(**found["published"]))
    return lines


def _parity(groups: Mapping[str, Mapping[str, float]]) -> str:
    rows = [(k, g["texts"], f"{g['largest_difference']:.1e}") for k, g in groups.items()]
    return table([("tokens", "texts", "largest logit difference to torch"), *rows])


@dataclass(frozen=True)
class ExportOptions:
    """What an exported bundle is called and says of itself.

    :param checkpoint: folder that `train` wrote (RUN/best).
    :param output: folder of the bundle; replaced as a whole.
    :param data: labelled texts: a prepared folder or a file.
    :param name: name of the bundle (default: the output folder's).
    :param base_model: published name of the encoder (default: what training started from).
    :param base_licence: SPDX licence of the encoder.
    :param licence: SPDX licence of the bundle.
    """

    checkpoint: Annotated[Path, Flag(positional=True)]
    output: Annotated[Path, Flag(positional=True)]
    data: Path
    name: str | None = None
    base_model: str = ""
    base_licence: str = "unknown"
    licence: str = "unknown"


@verb()
def export(options: ExportOptions, answer: Answer) -> int:
    """Convert a checkpoint to an fp32 OpenVINO bundle.

    It is checked against torch on real texts of every length group.
    """
    from ov_emotions.conversion.run import source_data, to_fp32
    from ov_emotions.manifest import MANIFEST_NAME

    check_output_folder(options.output, MANIFEST_NAME)
    source = str(options.checkpoint)
    config = ConversionConfig(
        source,
        options.output,
        name=options.name or "",
        base_model=options.base_model,
        base_licence=options.base_licence,
        licence=options.licence,
    )
    bundle, parity = to_fp32(config, source_data(source, options.data))
    found = {"bundle": str(bundle.folder), "parity": parity.to_dict()}
    return answer.give(found, f"{_parity(parity.groups)}\nwrote {bundle.folder}")
