"""`ov-emotions thresholds`, `calibrate`, `adapt`, `evaluate`: labelled data and a model."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from msgspec import Meta

from ov_emotions.adaptation import AdaptConfig, AdaptResult, WayScore
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, UsageError, verb
from ov_emotions.cli.output import (
    check_output_folder,
    command_line,
    print_text,
    table,
    write_answer,
    write_output,
)
from ov_emotions.errors import InputError
from ov_emotions.reports.language import LanguageCode
from ov_emotions.schema import Count, Flag, InferencePrecision, to_builtins
from ov_emotions.thresholds import METHODS, Metric, ThresholdMethod

if TYPE_CHECKING:
    from ov_emotions.data.dataset import PreparedData
    from ov_emotions.evaluation.results import Result, SplitScores
    from ov_emotions.evaluation.run import Scored

_WORST = 20


@dataclass(frozen=True, kw_only=True)
class RefitOptions:
    """What is fitted on, and where the fit goes.

    :param data: labelled texts: a prepared folder or a file.
    :param write: write a bundle with the fit.
    :param output: write the figures there as JSON too.
    """

    data: Path
    write: Annotated[Path | None, Flag("FOLDER")] = None
    output: Annotated[Path | None, Flag("FILE")] = None


@dataclass(frozen=True, kw_only=True)
class ThresholdOptions:
    """How thresholds are fitted.

    :param model: bundle (shipped name, folder, Hub id), checkpoint folder or server URL.
    :param method: way to fit.
    :param metric: mean of the labels' F1 to fit for, where a way weighs labels.
    :param seed: of the folds.
    """

    model: Annotated[str, Flag(positional=True)]
    method: ThresholdMethod = "bootstrap-median"
    metric: Metric = "weighted"
    seed: Annotated[int, Meta(ge=0)] = 20261122


@verb(
    texts={
        "method": "way to fit. " + "; ".join(f"{name}: {told}" for name, told in METHODS.items())
    }
)
def thresholds(options: ThresholdOptions, refit: RefitOptions, answer: Answer) -> int:
    """Fit decision thresholds, and compare ways to.

    They are fitted on the part `thresholds` of validation. Every way is scored by nested
    cross-fitting: on rows that had no part in its thresholds.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.plain import open_data
    from ov_emotions.evaluation.run import open_source, predict_rows
    from ov_emotions.thresholds import compare_methods, sigmoid, threshold_fitter, with_thresholds

    part = "validation:thresholds"
    with open_source(options.model) as source:
        if refit.write and source.facts["backend"] != "openvino":
            raise InputError(f"{options.model} is no bundle; --write needs one (export it first)")
        data, logits = predict_rows(source, open_data(refit.data, source.labels), part)
    probabilities = sigmoid(logits)
    scores = compare_methods(probabilities, data.targets, options.metric, options.seed)
    fitted = threshold_fitter(options.method, options.metric)(probabilities, data.targets)
    values = {name: float(v) for name, v in zip(source.labels, fitted, strict=True)}
    record = {
        "method": options.method,
        "metric": options.metric,
        "seed": options.seed,
        "fitted_on": part,
        "rows": len(data),
    }
    found: dict[str, Any] = {
        **source.facts,
        "fitted": {**record, "thresholds": values},
        "cross_fitted": [score.to_dict() for score in scores],
    }
    if refit.write:
        with_thresholds(Bundle.load(options.model), refit.write, fitted, record)
    write_answer(refit.output, found)
    ways = []
    for score in scores:
        means = zip((score.weighted_f1, score.macro_f1), score.spread, strict=True)
        ways.append((score.method, *(f"{mean:.4f} ± {spread:.4f}" for mean, spread in means)))
    fits = [(label, f"{value:.4f}") for label, value in values.items()]
    return answer.give(
        found,
        f"{table([('way', 'weighted F1', 'macro F1'), *ways])}\n\n"
        f"{options.method}, for {options.metric} F1:\n{table([('label', 'threshold'), *fits])}",
    )


@dataclass(frozen=True, kw_only=True)
class CalibrateOptions:
    """How probabilities are calibrated.

    :param model: bundle: shipped name, folder or Hub id.
    :param temperature: one for all labels, or one each.
    :param html: write a page with reliability diagrams.
    :param language: of the page.
    """

    model: Annotated[str, Flag(positional=True)]
    temperature: Literal["global", "per-label"] = "global"
    html: Annotated[Path | None, Flag("FILE")] = None
    language: LanguageCode = "en"


@verb()
def calibrate(options: CalibrateOptions, refit: RefitOptions, answer: Answer) -> int:
    """Make probabilities say how often a label is there.

    Fit temperatures (Guo et al. 2017) by log-loss on the part `thresholds` of validation, and
    measure calibration before and after on the part `selection`. With --write the IR divides its
    logits by them and thresholds move along: decisions stay.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.data.plain import open_data
    from ov_emotions.evaluation.calibration import calibrate
    from ov_emotions.reports.evaluation import render_calibration

    bundle = Bundle.load(options.model)
    prepared = open_data(refit.data, bundle.manifest.labels)
    found = calibrate(bundle, prepared, options.temperature, refit.write)
    write_answer(refit.output, found)
    if options.html:
        write_output(options.html, render_calibration(found, options.language))
    return answer.give(found, table(list(_calibration_rows(found))))


def _calibration_rows(found: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    sides = found["before"], found["after"]
    yield "", "temperature", "before", "after"
    for label, temperature in found["temperatures"].items():
        eces = (_ece(side["labels"][label]["ece"]) for side in sides)
        yield f"ECE {label}", f"{temperature:.4f}", *eces
    yield "ECE, all labels", "", *(_ece(side["all"]["ece"]) for side in sides)
    yield "ECE, mean of labels", "", *(_ece(side["mean_label_ece"]) for side in sides)
    yield "log-loss", "", *(f"{side['log_loss']:.4f}" for side in sides)


def _ece(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.4f}"


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """Which models are scored, on what, and what is told of it.

    :param bundles: shipped names, bundles, Hub ids, checkpoint folders, URLs of served models
        (http://host:8000/emotions, grpc://…); text-to-text folders too.
    :param data: labelled texts: a prepared folder or a file (no default; not for --checklist).
    :param split: split, or validation:PART; repeatable (default: validation:selection).
    :param precision: instead of the model's (default: the model's).
    :param metadata_url: REST URL of a Model Server that is asked over gRPC, which tells no labels
        there.
    :param compare: compare every further model with the first by the paired bootstrap.
    :param details: add intervals by label, confusion and the correlation of labels to the figures.
    :param worst: add the N worst errors of each split (default: none; 20 on the page).
    :param output: write the figures there as JSON too.
    :param html: write a page with plots, details and the worst errors.
    :param language: of the page.
    :param checklist: score a check list instead: a table with the columns group, text, must,
        any_of, may and must_not, the last four with labels between commas.
    :param record: write the figures into this bundle's manifest and model card: its own, and those
        of the other bundles beside them by precision; of a check list, what it misreads.
    """

    bundles: Annotated[tuple[str, ...], Flag("MODEL", positional=True)]
    data: Path | None = None
    split: Annotated[tuple[str, ...], Flag("SPLIT", each=True)] = ()
    precision: InferencePrecision | None = None
    metadata_url: Annotated[str | None, Flag("URL")] = None
    compare: bool = False
    details: bool = False
    worst: Count | None = None
    output: Annotated[Path | None, Flag("FILE")] = None
    html: Annotated[Path | None, Flag("FILE")] = None
    language: LanguageCode = "en"
    checklist: Annotated[Path | None, Flag("FILE")] = None
    record: Annotated[Path | None, Flag("BUNDLE")] = None


@verb()
def evaluate(options: EvaluateOptions, answer: Answer) -> int:
    """Score models on held-out data.

    F1 with bootstrap intervals on splits of a prepared folder, at each model's own thresholds and
    precision.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.conversion.run import source_data
    from ov_emotions.evaluation.run import data_facts, record_metrics

    if options.checklist is not None:
        if options.data is not None:
            raise UsageError("--checklist goes without --data")
        return _checklist(options, options.checklist, answer)
    if options.data is None:
        raise UsageError("--data is required, or --checklist")
    if options.compare and len(options.bundles) < 2:
        raise UsageError("--compare needs two models at least")
    prepared = source_data(options.bundles[0], options.data)
    splits = list(options.split or ["validation:selection"])
    prepared.check_splits(splits)
    pairs = [_evaluate(name, prepared, splits, options) for name in options.bundles]
    results = [result for result, _ in pairs]
    found: dict[str, Any] = {"command": command_line(), **data_facts(prepared)}
    if options.compare:
        found["comparisons"] = _compare(options.bundles, pairs)
    if options.record:
        record_metrics(Bundle.load(options.record), results)
    if options.html:
        from ov_emotions.reports.evaluation import render_evaluation

        detailed = _detailed(pairs, True, options.worst or _WORST)
        page = render_evaluation({**found, "results": to_builtins(detailed)}, options.language)
        write_output(options.html, page)
    found["results"] = to_builtins(_detailed(pairs, options.details, options.worst))
    write_answer(options.output, found)
    told = [table(_score_rows(results)), *_unparseable(results)]
    for comparison in found.get("comparisons", []):
        told.append(f"\n{comparison['model']} less {comparison['reference']}")
        told.append(table(list(_difference_rows(comparison))))
    return answer.give(found, "\n".join(told))


def _checklist(options: EvaluateOptions, path: Path, answer: Answer) -> int:
    from ov_emotions.bundle import Bundle
    from ov_emotions.evaluation.checklist import run_checklist
    from ov_emotions.evaluation.run import open_source, record_checklist
    from ov_emotions.system import environment

    if options.html and len(options.bundles) > 1:
        raise UsageError("a page of a check list shows one model")
    if options.record and len(options.bundles) > 1:
        raise UsageError("--record writes what a check list says of one model")
    results = []
    for name in options.bundles:
        with open_source(name, options.precision, options.metadata_url) as source:
            results.append(run_checklist(path, source.classifier, source.facts["model"]))
        if options.record:
            record_checklist(Bundle.load(options.record), source, results[-1])
    found = {
        "command": command_line(),
        **environment("openvino", "tokenizers", "numpy"),
        "checklists": to_builtins(results),
    }
    write_answer(options.output, found)
    if options.html:
        from ov_emotions.reports.checklist import render_checklist

        write_output(options.html, render_checklist(results[0], options.language))
    told = []
    for result in results:
        share = f"{result.passed / result.lines:.1%}"
        told.append(f"{result.model}: {result.passed:,} of {result.lines:,} lines pass ({share})")
        rows = [(g.name, g.passed, g.lines, f"{g.passed / g.lines:.0%}") for g in result.groups]
        told.append(table([("group", "passed", "of", "share"), *rows]))
    return answer.give(found, "\n".join(told))


Pair = tuple["Result", "list[Scored] | None"]
"""The figures of a model, and its decisions where it gives probabilities."""


def _evaluate(
    source: str, prepared: PreparedData, splits: list[str], options: EvaluateOptions
) -> Pair:
    from ov_emotions.training.text_to_text.targets import is_text_to_text

    if is_text_to_text(source):
        from ov_emotions.training.text_to_text.classifier import evaluate_text_to_text

        return evaluate_text_to_text(Path(source), prepared, splits, options.precision), None
    from ov_emotions.evaluation.run import evaluate_source, open_source

    with open_source(source, options.precision, options.metadata_url) as opened:
        return evaluate_source(opened, prepared, splits)


def _detailed(pairs: list[Pair], details: bool, worst: int | None) -> list[Result]:
    from ov_emotions.evaluation.analysis import analyse, worst_errors

    answer = []
    for result, found in pairs:
        splits = dict(result.splits)
        for scored in found or []:
            more = analyse(scored) if details else {}
            if worst:
                more["worst"] = worst_errors(scored, worst)
            splits[scored.name] = splits[scored.name].replace(**more)
        answer.append(result.replace(splits=splits))
    return answer


def _compare(names: tuple[str, ...], pairs: list[Pair]) -> list[dict[str, Any]]:
    from ov_emotions.evaluation.analysis import compare_scored

    kept = []
    for name, (_, found) in zip(names, pairs, strict=True):
        if found is None:
            raise InputError(f"{name} is a text-to-text model, which --compare does not take yet")
        kept.append(found)
    return [
        {"reference": names[0], "model": name, "splits": compare_scored(kept[0], found)}
        for name, found in zip(names[1:], kept[1:], strict=True)
    ]


def _difference_rows(comparison: dict[str, Any]) -> Iterator[tuple[object, ...]]:
    yield "F1", "split", "difference", "95 %", "not better"
    for split, found in comparison["splits"].items():
        means = {"weighted": found["weighted_f1"], "macro": found["macro_f1"]}
        for name, entry in {**means, **found["labels"]}.items():
            span = f"{entry['low']:+.4f} to {entry['high']:+.4f}"
            yield name, split, f"{entry['value']:+.4f}", span, f"{entry['share_not_better']:.1%}"


def _unparseable(results: list[Result]) -> list[str]:
    return [
        f"{result.model} on {split}: {outputs['unparseable']:,} of {outputs['outputs']:,} "
        f"outputs ({outputs['unparseable_share']:.1%}) name no label and count as none"
        for result in results
        for split, scores in result.splits.items()
        if (outputs := scores.outputs)
    ]


def _score_rows(results: list[Result]) -> list[tuple[object, ...]]:
    def mean(scores: SplitScores, name: str) -> str:
        low, high = scores.intervals_95[name]
        return f"{getattr(scores, name):.4f} ({low:.3f} to {high:.3f})"

    rows: list[tuple[object, ...]] = [
        ("model", "weights", "run in", "split", "rows", "weighted F1", "macro F1")
    ]
    for result in results:
        told = (result.model, result.weights, result.inference_precision)
        rows += [
            (*told, split, scores.rows, mean(scores, "weighted_f1"), mean(scores, "macro_f1"))
            for split, scores in result.splits.items()
        ]
    return rows


_NAMES = {
    "as it is": "as it is",
    "thresholds": "thresholds",
    "temperature": "temperature, thresholds",
    "last layer": "last layer, from the old one",
    "new last layer": "new last layer",
}


@verb(config=True)
def adapt(config: AdaptConfig, answer: Answer) -> int:
    """Fit a model to a few hundred labelled texts of your own, in minutes on a CPU.

    Other thresholds, a temperature and another last layer are tried in turn, each scored by
    cross-validation on texts that it was not fitted to, and the simplest is taken that none
    improves on. Where nothing is better than the model as it is, nothing is written, and the exit
    code is 1. An empty cell of a label says that it is unknown. Labels may be others than the
    model's.
    """
    from ov_emotions.adaptation import adapt_model
    from ov_emotions.manifest import MANIFEST_NAME

    check_output_folder(config.output, MANIFEST_NAME)
    with Bar("fits") as bar:
        made = adapt_model(config, bar, command_line())
    folder = None if made.bundle is None else str(made.bundle.folder)
    answer.give({"bundle": folder, **to_builtins(made.result)}, _told(made.result))
    if folder is None:
        print(
            f"error: nothing was better than {config.model} as it is, so nothing was written",
            file=sys.stderr,
        )
        return 1
    if not answer.json:
        print_text(f"{_NAMES[made.result.chosen]}: wrote {folder}")
    return 0


def _told(result: AdaptResult) -> str:
    head = (
        f"{result.rows:,} texts, {len(result.labels)} labels; each text decided by a fit to the "
        f"others, {result.folds} folds (95 % intervals)"
    )
    names = ("", "macro F1", "weighted F1", "log-loss", f"gain in {result.metric} F1")
    return f"{head}\n{table([names, *(_row(way, result.metric) for way in result.scores)])}"


def _row(way: WayScore, metric: str) -> tuple[str, ...]:
    f1s = (
        f"{value:.3f} ({low:.3f} to {high:.3f})"
        for value, (low, high) in (
            (way.macro_f1, way.intervals_95["macro_f1"]),
            (way.weighted_f1, way.intervals_95["weighted_f1"]),
        )
    )
    loss = "" if way.log_loss is None else f"{way.log_loss:.3f}"
    if way.gain is None:
        return (_NAMES[way.way], *f1s, loss, "")
    gain = way.gain[f"{metric}_f1"]
    told = f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
    return (_NAMES[way.way], *f1s, loss, told)
