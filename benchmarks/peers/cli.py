"""The benchmark against peers.

    python -m benchmarks.peers setup --data prepared
    python -m benchmarks.peers run --data prepared --output benchmarks/results/peers.json
    python -m benchmarks.peers stream --data prepared --output benchmarks/results/peers-stream.json
    python -m benchmarks.peers page --write

`setup` makes the environments and the models' forms, `run` measures, `stream` follows the memory of
a long stream (it may run on a busy machine), and `page` renders benchmarks/README.md and its plots.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from benchmarks.common import (
    RESULTS,
    ROOT,
    SEED,
    SPLIT,
    Natural,
    command,
    record,
    shuffled,
    summary,
    token_lengths,
)
from benchmarks.peers.goals import (
    LIMIT,
    OURS,
    macs_per_text,
    memory_goal,
    model_goals,
    start_goals,
    utilisation,
)
from benchmarks.peers.measure import Settings, measure_model
from benchmarks.peers.page import README, render_page, write_page
from benchmarks.peers.plan import LARGE, PEERS, SMALL, WORK
from benchmarks.peers.setup import make_artefacts, make_environments
from benchmarks.peers.starts import measure_starts, measure_stream
from ov_emotions.bundle import Bundle
from ov_emotions.data.dataset import MANIFEST_NAME, LabelledTexts, PreparedData
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file
from ov_emotions.metrics import score
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise
from ov_emotions.schema import Count

STARTS = 7
PACKAGES = "openvino tokenizers numpy"
Model = Literal["emotions-ru-small", "roberta-large-random"]


def read_texts(data: Path) -> tuple[LabelledTexts, list[str]]:
    """Read GoEmotions-ru test, and its texts and the utterances of the target domain, shuffled.

    :raises DataError: if the utterances are not there.
    """
    test = PreparedData.open(data).split(SPLIT)
    shared = Path(os.environ.get("OV_EMOTIONS_SHARED", ROOT.parent / "shared"))
    path = shared / "data" / "asr_unlabelled" / "texts.txt"
    if not path.is_file():
        raise DataError(f"{path} is missing; OV_EMOTIONS_SHARED says where the shared material is")
    utterances = path.read_text(encoding="utf-8").splitlines()
    return test, shuffled([text for text in (*test.texts, *utterances) if text.strip()])


def _finish(
    work: Path, model: str, found: dict[str, Any], texts: list[str], test: LabelledTexts
) -> dict[str, Any]:
    """Turn what was measured of a model into what is written; no text stays."""
    bundle = Bundle.load(work / model / "int8")
    labels = bundle.manifest.labels
    rounds = {name: taken for name, taken in found["rounds"].items() if name not in found["failed"]}
    macs = [
        macs_per_text(found["facts"]["config"], token_lengths(bundle, [texts[i] for i in rows]))
        for rows in found["texts_of_rounds"]
    ]
    rates = {
        kind: [rate["macs_per_second"][kind] for rate in found["rates"]]
        for kind in ("int8", "bf16", "f32")
    }
    peers = {}
    for peer in PEERS:
        if peer.name not in rounds:
            continue
        row = {"about": peer.about, **found["workers"][peer.worker], **summary(rounds[peer.name])}
        if peer.name in found["labels"]:
            given = [[label in told for label in labels] for told in found["labels"][peer.name]]
            scores = score(test.targets, np.array(given), labels)
            row["weighted_f1"] = round(scores.weighted_f1, 4)
            row["macro_f1"] = round(scores.macro_f1, 4)
        peers[peer.name] = {**row, "rounds": rounds[peer.name]}
    rivals = [peer.name for peer in PEERS if peer.kind in ("peer", "earlier")]
    return {
        "peers": peers,
        "failed": found["failed"],
        "seconds": found["seconds"],
        "goals": [goal.to_dict() for goal in model_goals(model, rounds, rivals)],
        "macs_per_text": [round(value) for value in macs],
        "rates": {"macs_per_second": rates, "by_shape": found["rates"][-1]["by_shape"]},
        "utilisation": {
            name: utilisation(rounds[name], macs, rates["int8"])
            for name in (OURS, LIMIT)
            if name in rounds
        },
        "limit_settings": found["limit"],
    }


def setup(*, data: Path, work: Path = WORK) -> int:
    """Make environments and the forms of the models."""
    work = work.resolve()
    failed = make_environments(work)
    for model in (SMALL, LARGE):
        failed |= make_artefacts(work, model, data.resolve())
    return 1 if failed else 0


def run(
    *,
    data: Path,
    work: Path = WORK,
    output: Path = RESULTS / "peers.json",
    model: tuple[Model, ...] = (SMALL, LARGE),
    peer: tuple[str, ...] = (),
    rounds: Count = 5,
    budget: float = 40.0,
    texts: Count = 1024,
    large_texts: Count = 128,
    singles: Count = 200,
    large_singles: Count = 24,
    seconds: float = 1.5,
    quality_texts: Natural | None = None,
) -> None:
    """Measure all in turns, and write the figures.

    :param model: what is measured.
    :param peer: names of rows; all where none is named.
    :param budget: minutes for both models; no round begins that would pass it.
    :param texts: of a round.
    :param large_texts: of a round of the large model.
    :param large_singles: likewise, one by one.
    :param seconds: of whole passes at least.
    :param quality_texts: of the test split; 0 for none (default: all).
    """
    if unknown := set(peer) - {one.name for one in PEERS}:
        raise DataError(f"there is no peer {min(unknown)!r}")
    work = work.resolve()
    test, pool = read_texts(data)
    if quality_texts is not None:
        test = test.select(range(min(quality_texts, len(test))))
    quality, minute = quality_texts != 0, 60 * budget
    plans = {
        SMALL: Settings(rounds, texts, seconds, singles, quality, 0.55 * minute),
        LARGE: Settings(rounds, large_texts, seconds, large_singles, False, 0.4 * minute),
    }
    before, models = cpu_jiffies(), {}
    starts = measure_starts(work, SMALL, STARTS)
    for name in model:
        found = measure_model(work, name, pool, test.texts, plans[name], peer)
        models[name] = _finish(work, name, found, pool, test)
    latencies = {
        f"{name} {row}": [one["p50_ms"] for one in figures["rounds"]]
        for name, answer in models.items()
        for row, figures in answer["peers"].items()
        if len(figures["rounds"]) > 1  # one round has no spread to judge by
    }
    record(
        output,
        PACKAGES,
        seed=SEED,
        split=SPLIT,
        split_texts=len(test),
        texts=len(pool),
        texts_per_round={SMALL: texts, LARGE: large_texts},
        singles_per_round={SMALL: singles, LARGE: large_singles},
        data_manifest_sha256=sha256_file(data / MANIFEST_NAME),
        noise=judge_noise(latencies, before, cpu_jiffies()),
        starts=starts,
        start_goals=[goal.to_dict() for goal in start_goals(starts)],
        models=models,
    )


def stream(
    *,
    data: Path,
    work: Path = WORK,
    output: Path = RESULTS / "peers-stream.json",
    model: str = SMALL,
    texts: Count = 1_000_000,
) -> None:
    """Follow the memory of a long stream, and write it."""
    _, pool = read_texts(data)
    found = measure_stream(work.resolve(), model, pool, texts)
    record(output, PACKAGES, **found, goal=memory_goal(found["resident_mb"]).to_dict())


def page(*, write: bool = False) -> None:
    """Render benchmarks/README.md."""
    if write:
        write_page()
    else:
        print(render_page(README.read_text(encoding="utf-8"))[0])


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; see `benchmarks.common.command`."""
    return command("benchmarks.peers", setup, run, stream, page, given=arguments)
