"""`ov-emotions bench`: where the time goes, and the fastest settings for this machine."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ov_emotions.cli.progress import Progress
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    positive_int,
    print_json,
    table,
    utf8_stdout,
)

if TYPE_CHECKING:
    from ov_emotions.bundle import Bundle
    from ov_emotions.runtime.profiling import ClassifierProfile, LayerTime
    from ov_emotions.tuning.profile import TuningProfile
    from ov_emotions.tuning.search import SearchResult

_EPILOG = """\
Candidates take turns, and the default stays unless another beats it round by round. Run it where
and as the model will run: on the same machine, with the same cpuset and quota, and nothing beside.
The profile that --output writes is for EmotionClassifier(profile=FILE), `ov-emotions classify
--profile FILE` and `ov-emotions ovms render --tuning-profile FILE`.
"""
_TEXTS = 1200
_QUICK_TEXTS = 300
_MAX_TEXTS = 2000


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "bench",
        help="show where the time goes, and find the fastest settings for this machine",
        description="Show where the time of a classification goes, by stage and by layer, and find "
        "the streams, threads, token budget and chunk size that are fastest on this machine.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "model",
        nargs="?",
        metavar="MODEL",
        help="a shipped name, a bundle's folder or a Hub id (default: the shipped model)",
    )
    parser.add_argument(
        "--texts",
        type=Path,
        metavar="FILE",
        help="texts like those that will be classified, .txt, .csv, .jsonl or .parquet (default: "
        f"made-up ones as long as utterances); the first {_MAX_TEXTS:,} are used",
    )
    parser.add_argument(
        "--text-column",
        default="text",
        metavar="NAME",
        help="column or field with the text (default: text)",
    )
    parser.add_argument(
        "--goal",
        choices=("balanced", "latency", "throughput"),
        default="balanced",
        help="what shall be fastest: one text, a list, or a list without slowing one text "
        "(default: balanced)",
    )
    parser.add_argument(
        "--cores",
        type=positive_int,
        metavar="N",
        help="cores to use (default: what this machine, its cpuset and its quota give)",
    )
    parser.add_argument("--quick", action="store_true", help="fewer rounds, for a first look")
    parser.add_argument(
        "--no-search", action="store_true", help="only show where the time goes; change nothing"
    )
    parser.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="write the tuning profile there"
    )
    add_json_flag(parser)


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the profile if asked to.

    :param args: the parsed arguments.
    :return: 0, or 1 if rows of the file were left out.
    """
    from ov_emotions.bundle import DEFAULT_MODEL, Bundle
    from ov_emotions.system import environment

    bundle = Bundle.load(DEFAULT_MODEL if args.model is None else args.model)
    with Progress("texts", enabled=not args.json and sys.stderr.isatty()) as progress:
        texts, bad = _texts(args, progress)
        profiles = _profiles(bundle, texts, args)
        found = None if args.no_search else _search(bundle, texts, args, progress)
    tuned = None if found is None else _tuned(bundle, found, args)
    answer = {
        "model": bundle.manifest.name,
        "texts": len(texts),
        **environment("openvino", "tokenizers", "numpy"),
        "profiles": {name: profile.to_dict() for name, profile in profiles.items()},
        "search": None if found is None else found.to_dict(),
        "tuning_profile": None if tuned is None else tuned.to_dict(),
    }
    if args.output and tuned is not None:
        tuned.write(args.output, {"search": answer["search"], "versions": answer["versions"]})
    if args.json:
        print_json(answer)
    else:
        lines = [_profile_lines(name, profile) for name, profile in profiles.items()]
        if found is not None and tuned is not None:
            lines.append(_search_lines(found, tuned, args.output))
        print("\n\n".join(lines), file=utf8_stdout())
    return 1 if bad else 0


def _texts(args: argparse.Namespace, progress: Progress) -> tuple[list[str], int]:
    from itertools import islice

    from ov_emotions.errors import DataError
    from ov_emotions.texts import BadRow, check_text_file, read_texts
    from ov_emotions.tuning.sample import sample_texts

    if args.texts is None:
        return sample_texts(_QUICK_TEXTS if args.quick else _TEXTS), 0
    check_text_file(args.texts, args.text_column)
    texts, bad = [], 0
    for row in islice(read_texts(args.texts, args.text_column), _MAX_TEXTS):
        if isinstance(row, BadRow):
            bad += 1
            progress.message(f"{args.texts}: row {row.row}: {row.reason}")
        else:
            texts.append(row)
    if not texts:
        raise DataError(f"{args.texts} has no text to measure with")
    return texts, bad


def _profiles(
    bundle: Bundle, texts: list[str], args: argparse.Namespace
) -> dict[str, ClassifierProfile]:
    """Profile a list, and its text of middle length alone."""
    from ov_emotions.classifier import EmotionClassifier

    one = sorted(texts, key=len)[len(texts) // 2]
    repeats = 2 if args.quick else 5
    with EmotionClassifier(bundle, threads=args.cores) as classifier:
        classifier.warm_up()
        return {
            f"{len(texts)} texts": classifier.profile(texts, repeats=repeats),
            "one text": classifier.profile([one], repeats=20 * repeats),
        }


def _search(
    bundle: Bundle, texts: list[str], args: argparse.Namespace, progress: Progress
) -> SearchResult:
    from ov_emotions.tuning.search import FULL, QUICK, search

    return search(
        bundle,
        texts,
        goal=args.goal,
        effort=QUICK if args.quick else FULL,
        cores=args.cores,
        tell=progress.message if sys.stderr.isatty() else lambda _: None,
    )


def _tuned(bundle: Bundle, found: SearchResult, args: argparse.Namespace) -> TuningProfile:
    from ov_emotions.system import cpu_budget
    from ov_emotions.tuning.profile import TuningProfile, fingerprint, model_sha256

    return TuningProfile(
        model=bundle.manifest.name,
        model_sha256=model_sha256(bundle.manifest),
        goal=args.goal,
        fingerprint=fingerprint(),
        cores=args.cores or cpu_budget().cores,
        settings=found.settings,
    )


def _profile_lines(name: str, profile: ClassifierProfile) -> str:
    stages = profile.stages.shares
    seconds = profile.to_dict()["stages"]
    rows: list[tuple[object, ...]] = [("stage", "ms", "share")]
    rows += [(stage, f"{1e3 * seconds[stage]:.3f}", f"{stages[stage]:.1%}") for stage in stages]
    head = (
        f"{name}: {1e3 * profile.whole_s:.2f} ms, {profile.texts_per_second:,.0f} texts/s; "
        f"{profile.batches} batches, {profile.padded_tokens:,} tokens, "
        f"{profile.padding:.1%} of them padding"
    )
    layers = _layer_rows("layers by type", profile.layer_types[:8])
    longest = _layer_rows("longest layers", profile.top_layers[:5])
    return "\n\n".join([head, table(rows), layers, longest])


def _layer_rows(title: str, layers: tuple[LayerTime, ...]) -> str:
    rows: list[tuple[object, ...]] = [(title, "layers", "ms", "share", "kernels")]
    rows += [
        (
            layer.name,
            layer.layers,
            f"{1e3 * layer.seconds:.3f}",
            f"{layer.share:.1%}",
            " ".join(layer.implementations),
        )
        for layer in layers
    ]
    return table(rows)


def _search_lines(found: SearchResult, tuned: TuningProfile, output: Path | None) -> str:
    parts = []
    for name, trials in found.stages.items():
        rows: list[tuple[object, ...]] = [(name, "one text, ms", "texts/s (min-max)")]
        for trial in trials:
            plain = trial.to_dict()
            p50 = f"{plain['p50_ms']['median']:.2f}" if "p50_ms" in plain else "-"
            rate = plain["texts_per_second"]
            rates = f"{rate['median']:,.0f} ({rate['min']:,.0f}-{rate['max']:,.0f})"
            settings = trial.settings
            what = {
                "threads and streams": f"{settings.threads} threads, {settings.streams} streams",
                "batch_tokens": settings.batch_tokens,
                "chunk_size": settings.chunk_size,
            }[name]
            rows.append((what if isinstance(what, str) else f"{what:,}", p50, rates))
        parts.append(table(rows))
    chosen = tuned.settings
    parts.append(
        f"best for {tuned.goal}: threads={chosen.threads}, streams={chosen.streams}, "
        f"batch_tokens={chosen.batch_tokens}, chunk_size={chosen.chunk_size}"
        + (f"; written to {output}" if output else "")
    )
    return "\n\n".join(parts)
