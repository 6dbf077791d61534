"""`ov-emotions quantize` and `report`: recipes followed, and compared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, Given, UsageError, verb
from ov_emotions.cli.output import (
    check_output_folder,
    command_line,
    make_output_folder,
    write_answer,
)
from ov_emotions.progress import Progress
from ov_emotions.quantization.recipe import (
    DEFAULT_RECIPE,
    load_recipe,
    recipe_names,
    with_subset_size,
)
from ov_emotions.quantization.settings import StudyConfig
from ov_emotions.reports.language import LanguageCode
from ov_emotions.schema import Count, Flag, InferencePrecision, to_builtins


@dataclass(frozen=True, kw_only=True)
class QuantizeOptions:
    """Which model is made smaller, and how.

    :param source: fp32 bundle or checkpoint: a folder or a Hub id.
    :param output: folder of the new bundle; replaced as a whole.
    :param data: labelled texts: a prepared folder or a file (no default; not for --recipes).
    :param recipe: name of one that comes with the library, or a .toml file.
    :param precision: inference precision that the thresholds are fitted at and the bundle is
        approved at (default: the source's).
    :param subset_size: calibration texts (default: the recipe's); for own data that have fewer.
    :param record: JSON file for the command, what was done and found, versions and machine.
    :param recipes: list the recipes and do nothing.
    """

    source: Annotated[str | None, Flag(positional=True)] = None
    output: Annotated[Path | None, Flag(positional=True)] = None
    data: Path | None = None
    recipe: str = DEFAULT_RECIPE
    precision: InferencePrecision | None = None
    subset_size: Count | None = None
    record: Annotated[Path | None, Flag("FILE")] = None
    recipes: bool = False


@verb(texts={"recipe": f"{', '.join(recipe_names())}, or a .toml file"})
def quantize(options: QuantizeOptions, answer: Answer) -> int:
    """Make a model smaller and faster by a recipe.

    Follow a recipe on a model with fp32 weights (INT8 with NNCF, calibrated on the validation set,
    unless another is named) and refit its thresholds on the result.

    `ov-emotions quantize --recipes` says what each recipe does.
    """
    if options.recipes:
        recipes = [load_recipe(name) for name in recipe_names()]
        lines = [f"{x.name} ({x.weights})\n    {x.description}" for x in recipes]
        return answer.give([recipe.to_dict() for recipe in recipes], "\n".join(lines))
    if options.source is None or options.output is None or options.data is None:
        raise UsageError("a source, an output folder and --data are required")
    from ov_emotions.conversion.run import open_fp32, source_data
    from ov_emotions.manifest import MANIFEST_NAME, WEIGHTS_NAME
    from ov_emotions.quantization.quantize import quantize_bundle
    from ov_emotions.system import environment

    check_output_folder(options.output, MANIFEST_NAME)
    if options.record is not None and not options.record.parent.is_dir():
        raise UsageError(f"--record: there is no folder {options.record.parent}")
    recipe = load_recipe(options.recipe)
    if options.subset_size is not None:
        recipe = with_subset_size(recipe, options.subset_size)
    prepared = source_data(options.source, options.data)
    with open_fp32(options.source, prepared) as (source, _), Bar("texts") as bar:
        bundle = quantize_bundle(source, prepared, options.output, recipe, options.precision, bar)
        sizes = [(b.folder / WEIGHTS_NAME).stat().st_size for b in (source, bundle)]
    record = bundle.manifest.provenance["quantization"]
    if options.record is not None:
        facts = {
            "command": command_line(),
            "bytes": {"fp32": sizes[0], "made": sizes[1]},
            "quantization": record,
            "environment": environment("openvino", "nncf", "numpy"),
        }
        write_answer(options.record, facts)
    lines = []
    if (reverted := record.get("reverted_operations")) is not None:
        within = "within" if record["reached"] else "NOT within"
        lines.append(
            f"accuracy control: {len(reverted)} operations back in float, weighted F1 drop "
            f"{record['plain_drop']:+.4f} before and {record['final_drop']:+.4f} after, {within} "
            f"{record['max_drop']}, on {record['validation_texts']:,} texts"
        )
    if "served_drop" in record:
        lines.append(
            f"drop at {record['served_precision']}, as served: {record['served_drop']:+.4f}"
        )
    lines.append(f"wrote {bundle.folder}: {sizes[0] / 1e6:.1f} MB to {sizes[1] / 1e6:.1f} MB")
    found = {"bundle": str(bundle.folder), "bytes": sizes[1], "quantization": record}
    return answer.give(found, "\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class ReportOptions:
    """What is measured on, and where the report goes.

    :param output: folder of the report.
    :param data: labelled texts: a prepared folder or a file (no default; not for --from-study).
    :param from_study: render an earlier study again.
    :param language: of report.md, report.html, the plot and what is printed.
    """

    output: Annotated[Path, Flag(positional=True)]
    data: Path | None = None
    from_study: Annotated[Path | None, Flag("JSON")] = None
    language: LanguageCode = "en"


@verb(
    without=("seed",),
    texts={
        "json": "print the study as JSON",
        "rounds": "of timing",
        "final_split": "split that confirms the choice, which validation makes; none for no such "
        "split (default: the first test split of the prepared folder, if it has one)",
    },
    defaults={"source": None, "recipe": ()},
    config=True,
)
def report(study: Given[StudyConfig], options: ReportOptions, answer: Answer) -> int:
    """Compare recipes by accuracy and latency, and say which to ship.

    Quantize a model by several recipes, score and time them beside fp32 and torch, and write
    study.json, report.md, report.html and pareto.svg. Run it on a machine that does nothing else.
    """
    from ov_emotions.reports.run import read_study, write_report
    from ov_emotions.reports.verdict import decide

    if options.from_study is not None:
        if "source" in study or options.data is not None:
            raise UsageError("--from-study goes without a source and --data")
        make_output_folder(options.output)
        made = read_study(options.from_study)
    else:
        if "source" not in study or options.data is None:
            raise UsageError("a source and --data are required, or --from-study")
        if study.get("rounds") == 0:
            raise UsageError("--rounds: must be at least 1, not 0")
        make_output_folder(options.output)
        made = _study(study, options.data)
    files = write_report(made, options.output, options.language)
    verdict = decide(made, options.language)
    lines = [
        verdict["sentence"],
        *(f"- {reason}" for reason in verdict["reasons"]),
        "wrote " + ", ".join(map(str, files)),
    ]
    return answer.give({**made, "verdict": decide(made)}, "\n".join(lines))


def _study(given: Given[StudyConfig], data: Path) -> dict[str, Any]:
    from ov_emotions.conversion.run import open_fp32, source_data
    from ov_emotions.quantization.study import run_study

    source = given["source"]
    prepared = source_data(source, data)
    final = given.get("final_split", prepared.test_split)
    if final not in (None, "none"):
        prepared.check_splits([final])
    chosen = {"final_split": None if final == "none" else final}
    config = StudyConfig(**{"recipes": recipe_names(), **given, **chosen})
    with Bar("steps") as bar:
        bar(Progress(0, None, "steps", "opening"))
        with open_fp32(source, prepared) as (bundle, checkpoint):
            study = run_study(config, bundle, prepared, checkpoint=checkpoint, tell=bar)
    return {**to_builtins(study), "command": command_line()}
