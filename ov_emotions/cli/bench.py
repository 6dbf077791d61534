"""`ov-emotions bench`: where the time goes, and the fastest settings for this machine."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from ov_emotions.cli.bar import Bar
from ov_emotions.cli.frame import Answer, verb
from ov_emotions.cli.output import table
from ov_emotions.schema import DEFAULT_MODEL, Count, Flag

if TYPE_CHECKING:
    from ov_emotions.bundle import Bundle
    from ov_emotions.runtime.profiling import ClassifierProfile, LayerTime
    from ov_emotions.tuning.profile import TuningProfile
    from ov_emotions.tuning.search import SearchResult, Trial

_TEXTS = 1200
_QUICK_TEXTS = 300
_MAX_TEXTS = 2000


@dataclass(frozen=True)
class BenchOptions:
    """What is measured, and for what.

    :param model: a shipped name, a bundle's folder or a Hub id (default: the shipped model).
    :param texts: texts like those that will be classified, .txt, .csv, .jsonl or .parquet; the
        first 2,000 are used (default: made-up ones as long as utterances).
    :param text_column: column or field with the text.
    :param goal: what shall be fastest: one text, a list, or a list without slowing one text.
    :param cores: cores to use (default: what this machine, its cpuset and its quota give).
    :param quick: fewer rounds, for a first look.
    :param search: look for faster settings; where the time goes is shown in any case.
    :param output: write the tuning profile there.
    """

    model: Annotated[str, Flag(positional=True)] = DEFAULT_MODEL
    texts: Annotated[Path | None, Flag("FILE")] = None
    text_column: Annotated[str, Flag("NAME")] = "text"
    goal: Literal["balanced", "latency", "throughput"] = "balanced"
    cores: Count | None = None
    quick: bool = False
    search: bool = True
    output: Annotated[Path | None, Flag("FILE", short="-o")] = None


@verb()
def bench(options: BenchOptions, answer: Answer) -> int:
    """Show where the time goes, and find the fastest settings for this machine.

    The time of a classification by stage and by layer; and the streams, threads, token budget and
    chunk size that are fastest.

    Candidates take turns, and the default stays unless another beats it round by round. Run it
    where and as the model will run: on the same machine, with the same cpuset and quota, and
    nothing beside. The profile that --output writes is for EmotionClassifier(profile=FILE),
    `ov-emotions classify --profile FILE` and `ov-emotions ovms render --tuning-profile FILE`.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.system import environment

    bundle = Bundle.load(options.model)
    bar = Bar("texts", enabled=False)
    texts, bad = _texts(options, bar)
    profiles = _profiles(bundle, texts, options)
    told = [_profile_lines(name, profile) for name, profile in profiles.items()]
    facts: dict[str, Any] = {
        "model": bundle.manifest.name,
        "texts": len(texts),
        **environment("openvino", "tokenizers", "numpy"),
        "profiles": {name: profile.to_dict() for name, profile in profiles.items()},
        "search": None,
        "tuning_profile": None,
    }
    if options.search:
        found, tuned = _search(bundle, texts, options, bar)
        facts |= {"search": found.to_dict(), "tuning_profile": tuned.to_dict()}
        told.append(_search_lines(found, tuned, options.output))
        if options.output:
            tuned.write(options.output, {"search": facts["search"], "versions": facts["versions"]})
    answer.give(facts, "\n\n".join(told))
    return 1 if bad else 0


def _texts(options: BenchOptions, bar: Bar) -> tuple[list[str], int]:
    from itertools import islice

    from ov_emotions.errors import DataError
    from ov_emotions.texts import BadRow, read_texts
    from ov_emotions.tuning.search import sample_texts

    if options.texts is None:
        return sample_texts(_QUICK_TEXTS if options.quick else _TEXTS), 0
    texts, bad = [], 0
    for row in islice(read_texts(options.texts, options.text_column), _MAX_TEXTS):
        if isinstance(row, BadRow):
            bad += 1
            bar.message(f"{options.texts}: row {row.row}: {row.reason}")
        else:
            texts.append(row)
    if not texts:
        raise DataError(f"{options.texts} has no text to measure with")
    return texts, bad


def _profiles(
    bundle: Bundle, texts: list[str], options: BenchOptions
) -> dict[str, ClassifierProfile]:
    """Profile a list, and its text of middle length alone."""
    from ov_emotions.classifier import EmotionClassifier

    one = sorted(texts, key=len)[len(texts) // 2]
    repeats = 2 if options.quick else 5
    with EmotionClassifier(bundle, threads=options.cores) as classifier:
        classifier.warm_up()
        return {
            f"{len(texts)} texts": classifier.profile(texts, repeats=repeats),
            "one text": classifier.profile([one], repeats=20 * repeats),
        }


def _search(
    bundle: Bundle, texts: list[str], options: BenchOptions, bar: Bar
) -> tuple[SearchResult, TuningProfile]:
    from ov_emotions.system import cpu_budget
    from ov_emotions.tuning.profile import TuningProfile, fingerprint, model_sha256
    from ov_emotions.tuning.search import FULL, QUICK, search

    found = search(
        bundle,
        texts,
        goal=options.goal,
        effort=QUICK if options.quick else FULL,
        cores=options.cores,
        tell=bar.message if sys.stderr.isatty() else lambda _: None,
    )
    tuned = TuningProfile(
        model=bundle.manifest.name,
        model_sha256=model_sha256(bundle.manifest),
        goal=options.goal,
        fingerprint=fingerprint(),
        cores=options.cores or cpu_budget().cores,
        settings=found.settings,
    )
    return found, tuned


def _profile_lines(name: str, profile: ClassifierProfile) -> str:
    seconds, shares = profile.to_dict()["stages"], profile.stages.shares
    stages = [(stage, f"{1e3 * seconds[stage]:.3f}", f"{shares[stage]:.1%}") for stage in shares]
    head = (
        f"{name}: {1e3 * profile.whole_s:.2f} ms, {profile.texts_per_second:,.0f} texts/s; "
        f"{profile.batches} batches, {profile.padded_tokens:,} tokens, "
        f"{profile.padding:.1%} of them padding"
    )
    layers = _layer_table("layers by type", profile.layer_types[:8])
    longest = _layer_table("longest layers", profile.top_layers[:5])
    return "\n\n".join([head, table([("stage", "ms", "share"), *stages]), layers, longest])


def _layer_table(title: str, layers: tuple[LayerTime, ...]) -> str:
    rows = [
        (x.name, x.layers, f"{1e3 * x.seconds:.3f}", f"{x.share:.1%}", " ".join(x.implementations))
        for x in layers
    ]
    return table([(title, "layers", "ms", "share", "kernels"), *rows])


def _search_lines(found: SearchResult, tuned: TuningProfile, output: Path | None) -> str:
    parts = [
        table([(stage, "one text, ms", "texts/s (min-max)"), *(_trial(stage, t) for t in trials)])
        for stage, trials in found.stages.items()
    ]
    chosen = tuned.settings
    parts.append(
        f"best for {tuned.goal}: threads={chosen.threads}, streams={chosen.streams}, "
        f"batch_tokens={chosen.batch_tokens}, chunk_size={chosen.chunk_size}"
        + (f"; written to {output}" if output else "")
    )
    return "\n\n".join(parts)


def _trial(stage: str, trial: Trial) -> tuple[object, ...]:
    plain, settings = trial.to_dict(), trial.settings
    if stage == "threads and streams":
        what = f"{settings.threads} threads, {settings.streams} streams"
    else:
        what = f"{getattr(settings, stage):,}"
    rate = plain["texts_per_second"]
    return (
        what,
        f"{plain['p50_ms']['median']:.2f}" if "p50_ms" in plain else "-",
        f"{rate['median']:,.0f} ({rate['min']:,.0f}-{rate['max']:,.0f})",
    )
