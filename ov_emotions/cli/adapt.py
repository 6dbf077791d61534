"""`ov-emotions adapt`: a bundle fitted to a user's own labelled texts."""

from __future__ import annotations

import sys

from ov_emotions.adaptation import AdaptConfig, AdaptResult, WayScore
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, verb
from ov_emotions.cli.output import check_output_folder, command_line, print_text, table
from ov_emotions.schema import to_builtins

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
