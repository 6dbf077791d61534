"""`ov-emotions adapt`: a bundle fitted to a user's own labelled texts."""

from __future__ import annotations

import sys

from ov_emotions.adaptation import Adaptation, AdaptConfig, AdaptResult, WayScore
from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, verb
from ov_emotions.cli.output import (
    check_output_folder,
    command_line,
    print_json,
    print_text,
    table,
)

_NAMES = {
    "as it is": "as it is",
    "thresholds": "thresholds",
    "temperature": "temperature, thresholds",
    "last layer": "last layer, from the old one",
    "new last layer": "new last layer",
}


@verb(positional=("model", "output"), config=True)
def adapt(config: AdaptConfig, answer: Answer) -> int:
    """Fit a model to a few hundred labelled texts of your own, in minutes on a CPU.

    Other thresholds, a temperature and another last layer are tried in turn, each scored by
    cross-validation on texts that it was not fitted to, and the simplest is taken that none
    improves on. Where nothing is better than the model as it is, nothing is written, and the exit
    code is 1. An empty cell of a label says that it is unknown. Labels may be others than the
    model's.
    """
    from ov_emotions.adaptation import adapt_model
    from ov_emotions.bundle import MANIFEST_NAME

    check_output_folder(config.output, MANIFEST_NAME)
    with Bar("fits") as bar:
        made = adapt_model(config, bar, command_line())
    if answer.json:
        folder = None if made.bundle is None else str(made.bundle.folder)
        print_json({"bundle": folder, **_plain(made)})
    else:
        print_text(_told(made.result))
    if made.bundle is None:
        print(
            f"error: nothing was better than {config.model} as it is, so nothing was written",
            file=sys.stderr,
        )
        return 1
    if not answer.json:
        print_text(f"{_NAMES[made.result.chosen]}: wrote {made.bundle.folder}")
    return 0


def _plain(made: Adaptation) -> dict[str, object]:
    from ov_emotions.schema import to_builtins

    found: dict[str, object] = to_builtins(made.result)
    return found


def _told(result: AdaptResult) -> str:
    rows: list[tuple[object, ...]] = [
        ("", "macro F1", "weighted F1", "log-loss", f"gain in {result.metric} F1")
    ]
    rows += [(_NAMES[s.way], *_f1s(s), _loss(s), _gain(s, result.metric)) for s in result.scores]
    head = (
        f"{result.rows:,} texts, {len(result.labels)} labels; each text decided by a fit to the "
        f"others, {result.folds} folds (95 % intervals)"
    )
    return f"{head}\n{table(rows)}"


def _f1s(scores: WayScore) -> tuple[str, str]:
    macro, weighted = (scores.intervals_95[name] for name in ("macro_f1", "weighted_f1"))
    return (
        f"{scores.macro_f1:.3f} ({macro[0]:.3f} to {macro[1]:.3f})",
        f"{scores.weighted_f1:.3f} ({weighted[0]:.3f} to {weighted[1]:.3f})",
    )


def _loss(scores: WayScore) -> str:
    return "" if scores.log_loss is None else f"{scores.log_loss:.3f}"


def _gain(scores: WayScore, metric: str) -> str:
    if scores.gain is None:
        return ""
    gain = scores.gain[f"{metric}_f1"]
    return f"{gain['value']:+.3f} ({gain['low']:+.3f} to {gain['high']:+.3f})"
