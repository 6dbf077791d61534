"""What both ways to a prepared folder print: counts, drops, where it lies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ov_emotions.cli.shared import table


def summary(manifest: dict[str, Any], output: Path) -> str:
    """Lay out what a prepared folder holds, and what was left out of it.

    :param manifest: of the folder.
    :param output: the folder.
    :return: lines without an end.
    """
    labels = manifest["labels"]
    splits = manifest["splits"]
    # A split a column, because there may be many labels.
    counts = [
        ["rows", *(split["rows"] for split in splits.values())],
        *(
            [label, *(split["labels"][label]["present"] for split in splits.values())]
            for label in labels
        ),
    ]
    drops = manifest["dropped"]
    reasons = list(next(iter(drops.values()), {}))
    bad = [
        [f"{source['name']} {split}: unusable rows", len(rows)]
        for source in manifest["sources"]
        for split, rows in source["bad_rows"].items()
        if rows
    ]
    dropped = [
        [f"{split}: {reason.replace('_', ' ')}", found[reason]]
        for split, found in drops.items()
        for reason in reasons
    ]
    return "\n\n".join(
        [
            table([["", *splits], *counts]),
            table([["dropped", "rows"], *bad, *dropped]),
            f"written to {output}, seed {manifest['seed']}",
        ]
    )
