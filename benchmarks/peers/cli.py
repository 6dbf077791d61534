"""The command line of the benchmark against peers.

    python -m benchmarks.peers setup --data prepared
    python -m benchmarks.peers run --data prepared --output benchmarks/results/peers.json
    python -m benchmarks.peers stream --data prepared --output benchmarks/results/peers-stream.json
    python -m benchmarks.peers page --write

`setup` makes the environments and the models' forms, `run` measures, `stream` follows the memory of
a long stream (it may run on a busy machine), and `page` renders benchmarks/README.md and its plots.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    RESULTS,
    ROOT,
    SEED,
    SPLIT,
    add_flags,
    run_command,
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
from ov_emotions.cli.frame import positive_int
from ov_emotions.data.dataset import MANIFEST_NAME, LabelledTexts, PreparedData
from ov_emotions.errors import DataError
from ov_emotions.files import sha256_file, write_json
from ov_emotions.metrics import score
from ov_emotions.quantization.timing import cpu_jiffies, judge_noise
from ov_emotions.system import environment

STARTS = 7


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
    texts = [text for text in (*test.texts, *utterances) if text.strip()]
    return test, shuffled(texts)


def _finish(
    work: Path, model: str, found: dict[str, Any], texts: list[str], test: LabelledTexts
) -> dict[str, Any]:
    """Turn what was measured of a model into what is written; no text stays."""
    bundle = Bundle.load(work / model / "int8")
    labels = bundle.manifest.labels
    rounds = {name: taken for name, taken in found["rounds"].items() if name not in found["failed"]}
    peers = {peer.name: peer for peer in PEERS}
    macs = [
        macs_per_text(found["facts"]["config"], token_lengths(bundle, [texts[i] for i in rows]))
        for rows in found["texts_of_rounds"]
    ]
    rates = {
        kind: [rate["macs_per_second"][kind] for rate in found["rates"]]
        for kind in ("int8", "bf16", "f32")
    }
    answer: dict[str, Any] = {"peers": {}, "failed": found["failed"], "seconds": found["seconds"]}
    for name, taken in rounds.items():
        peer = peers[name]
        row = {"about": peer.about, **found["workers"][peer.worker], **summary(taken)}
        if name in found["labels"]:
            given = [[label in told for label in labels] for told in found["labels"][name]]
            scores = score(test.targets, np.array(given), labels)
            row["weighted_f1"] = round(scores.weighted_f1, 4)
            row["macro_f1"] = round(scores.macro_f1, 4)
        answer["peers"][name] = {**row, "rounds": taken}
    rivals = [peer.name for peer in PEERS if peer.kind in ("peer", "earlier")]
    answer["goals"] = [goal.to_dict() for goal in model_goals(model, rounds, rivals)]
    answer["macs_per_text"] = [round(value) for value in macs]
    answer["rates"] = {"macs_per_second": rates, "by_shape": found["rates"][-1]["by_shape"]}
    answer["utilisation"] = {
        name: utilisation(rounds[name], macs, rates["int8"])
        for name in (OURS, LIMIT)
        if name in rounds
    }
    answer["limit_settings"] = found["limit"]
    return answer


def run(args: argparse.Namespace) -> int:
    """Measure, and write the figures."""
    work = args.work.resolve()
    test, texts = read_texts(args.data)
    if args.quality_texts is not None:
        test = test.select(range(min(args.quality_texts, len(test))))
    plans = {
        SMALL: Settings(
            rounds=args.rounds,
            texts=args.texts,
            seconds=args.seconds,
            singles=args.singles,
            quality=args.quality_texts != 0,
            budget=args.budget * 0.55 * 60,
        ),
        LARGE: Settings(
            rounds=args.rounds,
            texts=args.large_texts,
            seconds=args.seconds,
            singles=args.large_singles,
            quality=False,
            budget=args.budget * 0.4 * 60,
        ),
    }
    before, models = cpu_jiffies(), {}
    starts = measure_starts(work, SMALL, STARTS)
    for model in args.model or plans:
        found = measure_model(work, model, texts, test.texts, plans[model], args.peer)
        models[model] = _finish(work, model, found, texts, test)
    latencies = {
        f"{model} {name}": [r["p50_ms"] for r in row["rounds"]]
        for model, answer in models.items()
        for name, row in answer["peers"].items()
        if len(row["rounds"]) > 1  # one round has no spread to judge by
    }
    write_json(
        args.output,
        {
            "command": args.command,
            "seed": SEED,
            "split": SPLIT,
            "split_texts": len(test),
            "texts": len(texts),
            "texts_per_round": {SMALL: args.texts, LARGE: args.large_texts},
            "singles_per_round": {SMALL: args.singles, LARGE: args.large_singles},
            "data_manifest_sha256": sha256_file(args.data / MANIFEST_NAME),
            **environment("openvino", "tokenizers", "numpy"),
            "noise": judge_noise(latencies, before, cpu_jiffies()),
            "starts": starts,
            "start_goals": [goal.to_dict() for goal in start_goals(starts)],
            "models": models,
        },
    )
    print(f"wrote {args.output}")
    return 0


def stream(args: argparse.Namespace) -> int:
    """Follow the memory of a long stream, and write it."""
    _, texts = read_texts(args.data)
    found = measure_stream(args.work.resolve(), args.model, texts, args.texts)
    goal = memory_goal(found["resident_mb"])
    facts = {"command": args.command, **environment("openvino", "tokenizers", "numpy")}
    write_json(args.output, {**facts, **found, "goal": goal.to_dict()})
    print(f"wrote {args.output}: {goal.figure['median']:+.2f} % over {found['texts']:,} texts")
    return 0


def setup(args: argparse.Namespace) -> int:
    """Make environments and artefacts."""
    work = args.work.resolve()
    failed = make_environments(work)
    for model in (SMALL, LARGE):
        failed |= make_artefacts(work, model, args.data.resolve())
    return 1 if failed else 0


def page(args: argparse.Namespace) -> int:
    """Render the page."""
    if args.write:
        write_page()
    else:
        print(render_page(README.read_text(encoding="utf-8"))[0])
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command.

    :param arguments: those of the command line if None.
    :return: 0 fine, 1 failed, 2 wrong usage.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers", description=(__doc__ or "").splitlines()[0]
    )
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    parts = {}
    for verb, told in (
        (setup, "environments and models"),
        (run, "measure all in turns"),
        (stream, "memory over a long stream"),
        (page, "render benchmarks/README.md"),
    ):
        parts[verb] = part = verbs.add_parser(verb.__name__, help=told)
        part.set_defaults(run=verb)
        if verb is not page:
            add_flags(part, data=(Path, ..., "prepared folder"), work=(Path, WORK, ""))
    add_flags(
        parts[run],
        output=(Path, RESULTS / "peers.json", ""),
        rounds=(positive_int, 5, ""),
        budget=(float, 40.0, "minutes for both models; no round begins that would pass it"),
        texts=(positive_int, 1024, "of a round"),
        large_texts=(positive_int, 128, ""),
        singles=(positive_int, 200, ""),
        large_singles=(positive_int, 24, ""),
        seconds=(float, 1.5, "of whole passes at least"),
        quality_texts=(int, None, "of the test split; 0 for none (default: all)"),
    )
    parts[run].add_argument("--model", action="append", choices=(SMALL, LARGE), default=[])
    parts[run].add_argument("--peer", action="append", default=[], choices=[p.name for p in PEERS])
    add_flags(
        parts[stream],
        output=(Path, RESULTS / "peers-stream.json", ""),
        model=(str, SMALL, ""),
        texts=(positive_int, 1_000_000, ""),
    )
    parts[page].add_argument("--write", action="store_true")
    return run_command(parser, arguments)
