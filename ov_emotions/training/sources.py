"""What a model learned from, for its card: the sets with their licences, earlier runs' too."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from ov_emotions.data.prepare import PreparedData


def training_sources(
    prepared: PreparedData,
    origins: Iterable[str],
    further: Sequence[dict[str, Any]] = (),
    earlier: Sequence[dict[str, Any]] = (),
) -> list[dict[str, Any]]:
    """List what a model learned from.

    :param prepared: the prepared data.
    :param origins: the set of each training row.
    :param further: what it learned from besides.
    :param earlier: what the model that it went on from had learned from.
    :return: name, licence, url, attribution and rows of each.
    """
    rows = Counter(origins)
    sources: list[dict[str, Any]] = [
        {key: source[key] for key in ("name", "licence", "url", "attribution")}
        | {"rows": rows[source["name"]]}
        for source in prepared.manifest["sources"]
        if source["name"] in rows
    ]
    sources += further
    # Two runs may both name a file of unlabelled texts; only the attribution tells them apart.
    known = {(source["name"], source["attribution"]) for source in sources}
    return sources + [s for s in earlier if (s["name"], s["attribution"]) not in known]
