"""`ov-emotions ovms`: serving with OpenVINO Model Server."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ov_emotions.cli import ovms_build, ovms_check
from ov_emotions.cli.shared import (
    Subparsers,
    add_json_flag,
    check_output_folder,
    positive_int,
    print_json,
    utf8_stdout,
)
from ov_emotions.errors import InputError

if TYPE_CHECKING:
    from ov_emotions.bundle import Bundle
    from ov_emotions.serving.profile import Goal, ServingProfile
    from ov_emotions.tuning.profile import TuningProfile


def add_parser(subparsers: Subparsers) -> None:
    """Add the verb to the parser.

    :param subparsers: what `add_subparsers` returned.
    """
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "ovms",
        help="serve with OpenVINO Model Server",
        description="Build, configure and check what OpenVINO Model Server serves.",
    )
    group = parser.add_subparsers(metavar="WHAT", required=True)
    ovms_build.add_parser(group)
    _add_render(group)
    _add_validate(group)
    ovms_check.add_parser(group)


def _add_render(group: Subparsers) -> None:
    parser: argparse.ArgumentParser = group.add_parser(
        "render",
        help="write config.json, and why each value is what it is",
        description="Write config.json and config.md, which says why each value is what it is; "
        "with --deployment the files for Docker, Kubernetes and KServe as well.",
    )
    parser.set_defaults(run=run_render)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--profile",
        choices=("latency", "throughput"),
        help="what matters: the time of one request, or how many are answered (default: latency)",
    )
    parser.add_argument(
        "--cores",
        type=positive_int,
        metavar="N",
        help="cores of the container (default: what this machine, its cpuset and its quota give)",
    )
    parser.add_argument(
        "--tuning-profile",
        type=Path,
        metavar="FILE",
        help="streams, threads, cores and goal as `ov-emotions bench` measured them on the machine "
        "that will serve",
    )
    parser.add_argument(
        "--bundle", metavar="MODEL", help="whose precision to serve at (default: the shipped model)"
    )
    parser.add_argument(
        "--concurrency", type=positive_int, metavar="N", help="requests that clients keep in flight"
    )
    parser.add_argument(
        "--exclusive-cores",
        action="store_true",
        help="the cores are this container's alone: pin threads to them",
    )
    parser.add_argument(
        "--name", default="emotions", help="of the model in URLs (default: emotions)"
    )
    parser.add_argument(
        "--base-path",
        metavar="PATH",
        help="the model's folder as the server sees it, or s3://... (default: /models/NAME)",
    )
    parser.add_argument(
        "--versions",
        default="latest:1",
        metavar="POLICY",
        help="latest:COUNT, specific:VERSION,... or all (default: latest:1)",
    )
    parser.add_argument("--no-metrics", action="store_true", help="do not expose /metrics")
    parser.add_argument(
        "--cache", action="store_true", help="keep compiled models in /opt/cache of the container"
    )
    parser.add_argument(
        "--deployment", action="store_true", help="write the deployment files as well"
    )
    add_json_flag(parser, "print what was written as JSON")


def run_render(args: argparse.Namespace) -> int:
    """Write the files.

    :param args: the parsed arguments.
    :return: 0.
    """
    from ov_emotions.errors import DataError
    from ov_emotions.serving.deploy import write_deployment
    from ov_emotions.serving.render import NOTES_NAME, write_config

    profile, budget = _profile(args)
    if args.deployment:  # they have a README.md and more, which nobody's own shall give way to
        check_output_folder(args.output, NOTES_NAME)
    write = write_deployment if args.deployment else write_config
    try:
        written = write(args.output, profile, budget)
    except OSError as error:
        raise DataError(f"{args.output} cannot be written: {error.strerror}") from error
    if args.json:
        print_json({"files": [str(path) for path in written], "profile": asdict(profile)})
        return 0
    lines = [
        f"profile    {profile.goal}, {profile.cores} core(s) ({budget})",
        f"streams    {profile.streams}, {profile.infer_requests} requests inside the server",
        f"precision  {profile.precision}",
        *(f"wrote      {path}" for path in written),
    ]
    print("\n".join(lines), file=utf8_stdout())
    return 0


def _profile(args: argparse.Namespace) -> tuple[ServingProfile, str]:
    from ov_emotions.bundle import DEFAULT_MODEL, Bundle
    from ov_emotions.serving.profile import ServingProfile, VersionPolicy
    from ov_emotions.system import CpuBudget, cpu_budget

    bundle = Bundle.load(DEFAULT_MODEL if args.bundle is None else args.bundle)
    tuned = _tuned(args, bundle)
    if args.cores:
        budget = CpuBudget(args.cores, "given")
    elif tuned is not None:
        source = f"measured on {tuned.fingerprint.cpu} with OpenVINO {tuned.fingerprint.openvino}"
        budget = CpuBudget(tuned.cores, source)
    else:
        budget = cpu_budget()
    settings = None if tuned is None else tuned.settings
    measured_goal: Goal = (
        "throughput" if tuned is not None and tuned.goal == "throughput" else "latency"
    )
    profile = ServingProfile(
        goal=args.profile or measured_goal,
        cores=budget.cores,
        precision=bundle.manifest.inference_precision,
        concurrency=args.concurrency,
        exclusive_cores=args.exclusive_cores,
        name=args.name,
        base_path=args.base_path or f"/models/{args.name}",
        versions=VersionPolicy.parse(args.versions),
        metrics=not args.no_metrics,
        cache=args.cache,
        tuned_streams=None if settings is None else settings.streams,
        tuned_threads=None if settings is None else settings.threads,
    )
    return profile, budget.source


def _tuned(args: argparse.Namespace, bundle: Bundle) -> TuningProfile | None:
    from ov_emotions.tuning.profile import TuningProfile

    if args.tuning_profile is None:
        return None
    tuned = TuningProfile.read(args.tuning_profile)
    tuned.check_model(bundle.manifest)
    if args.cores and args.cores != tuned.cores:
        raise InputError(
            f"{args.tuning_profile} was measured on {tuned.cores} core(s), not on {args.cores}; "
            "leave --cores out, or run `ov-emotions bench` on a machine like the server's"
        )
    return tuned


def _add_validate(group: Subparsers) -> None:
    parser: argparse.ArgumentParser = group.add_parser(
        "validate",
        help="check a config.json as the server would, and beyond",
        description="Say what the server would refuse (errors) and what it accepts without a word "
        "though it should not (warnings). Exit code 1 for errors, and for warnings with --strict.",
    )
    parser.set_defaults(run=run_validate)
    parser.add_argument("config", type=Path, metavar="FILE", help="config.json")
    parser.add_argument(
        "--mount",
        action="append",
        default=[],
        type=_mount,
        metavar="PATH=DIR",
        help="look into DIR of this machine for what the server sees as PATH, /models=models say; "
        "repeatable",
    )
    parser.add_argument(
        "--check-paths", action="store_true", help="look for the folders on this machine as named"
    )
    parser.add_argument(
        "--device",
        action="append",
        metavar="NAME",
        help="a device of the server; repeatable (default: CPU)",
    )
    parser.add_argument("--strict", action="store_true", help="let warnings fail as well")
    add_json_flag(parser)


def run_validate(args: argparse.Namespace) -> int:
    """Check the file.

    :param args: the parsed arguments.
    :return: 0 if the server takes it, else 1; with --strict, 1 for warnings too.
    """
    from ov_emotions.errors import DataError
    from ov_emotions.serving.config_files import LocalFiles
    from ov_emotions.serving.validate import ServerTraits, validate_file

    look = args.check_paths or args.mount
    files = LocalFiles(dict(args.mount), args.config.resolve().parent) if look else None
    traits = ServerTraits(devices=tuple(args.device or ("CPU",)))
    try:
        findings = validate_file(args.config, traits, files)
    except OSError as error:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from error
    errors = sum(finding.severity == "error" for finding in findings)
    failed = errors > 0 or (args.strict and bool(findings))
    if args.json:
        print_json({"valid": errors == 0, "findings": [asdict(found) for found in findings]})
    else:
        lines = [str(found) for found in findings]
        lines.append(f"{args.config}: {_verdict(errors, len(findings) - errors, look)}")
        print("\n".join(lines), file=utf8_stdout())
    return 1 if failed else 0


def _verdict(errors: int, warnings: int, looked: Any) -> str:
    if errors:
        return f"the server refuses it; errors: {errors}, warnings: {warnings}"
    verdict = f"the server takes it; warnings: {warnings}"
    return verdict if looked else verdict + "; its folders were not looked at (--mount)"


def _mount(text: str) -> tuple[str, Path]:
    inside, equals, outside = text.partition("=")
    if not equals or not inside.startswith("/") or not outside:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not of the form /PATH=DIR, /models=models say"
        )
    return inside, Path(outside)
