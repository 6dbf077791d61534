"""`ov-emotions ovms` and `triton`: what the servers of others serve."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from ov_emotions.cli.bar import Bar, usable_texts
from ov_emotions.cli.frame import Answer, Given, UsageError, verb
from ov_emotions.cli.output import check_output_folder
from ov_emotions.errors import DataError, OvEmotionsError
from ov_emotions.files import write_text
from ov_emotions.progress import counted
from ov_emotions.schema import DEFAULT_MODEL, Count, Flag
from ov_emotions.serving.profile import ServingProfile, VersionPolicy, make_profile
from ov_emotions.serving.repository import Published, default_name
from ov_emotions.serving.settings import TextModelConfig, TritonConfig
from ov_emotions.serving.validate import ServerTraits

if TYPE_CHECKING:
    from ov_emotions.serving.text_check import Comparison


@dataclass(frozen=True)
class PlaceOptions:
    """Which bundle is published, and where.

    :param bundle: a shipped name, a bundle's folder or a Hub id.
    :param repository: the server's folder; made if need be.
    """

    bundle: Annotated[str, Flag(positional=True)]
    repository: Annotated[Path, Flag(positional=True)]


_NAME = "of the model on the server (default: emotions; emotions-tokens with --token-in)"


@dataclass(frozen=True)
class BuildOptions:
    """What is kept, and what is looked at before.

    :param name: of the model on the server (default: emotions; emotions-tokens with --token-in).
    :param keep: versions to keep, the new one included; older ones are removed (default: all).
    :param check: compare with the classifier on the texts of this file too (.txt, .csv, .tsv,
        .jsonl or .parquet), and list every text that differs, with the reason.
    """

    name: str | None = None
    keep: Count | None = None
    check: Annotated[Path | None, Flag("FILE")] = None


@verb(without=("few_widths",))
def ovms_build(
    place: PlaceOptions, model: TextModelConfig, options: BuildOptions, answer: Answer
) -> int:
    """Publish a bundle as a model that takes raw text.

    Build one model that takes raw text and gives probabilities and the names of the emotions, check
    it against the classifier, and publish it as the next version of a model repository. A text
    longer than the model reads is cut off at its end.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.serving.repository import publish
    from ov_emotions.serving.text_check import checked_model, compare, require_parity
    from ov_emotions.texts import open_table

    if options.check is not None:
        open_table(options.check)
    bundle = Bundle.load(place.bundle)
    built = checked_model(bundle, model)
    lines, comparison = [], None
    if options.check is not None:
        with Bar("texts") as bar:
            texts = counted(usable_texts(options.check, bar), bar, unit="texts")
            comparison = compare(bundle, built, model, texts)
        require_parity(comparison, bundle)
        lines += _comparison_lines(comparison)
    name = default_name(model.token_in) if options.name is None else options.name
    published = publish(built, place.repository, name, keep=options.keep)
    lines += published_lines(published)
    if not model.token_in:
        length = bundle.manifest.max_length
        lines.append(f"long texts are cut off after {length} tokens (long_texts='truncate')")
    found = {
        "model": name,
        **published.to_dict(),
        "long_texts": None if model.token_in else "truncate",
        "comparison": None if comparison is None else comparison.to_dict(),
    }
    return answer.give(found, "\n".join(lines))


def _comparison_lines(comparison: Comparison) -> list[str]:
    return [
        f"compared with the classifier on {comparison.texts:,} texts: "
        f"{len(comparison.differences)} differ, {comparison.other_names} in their names; largest "
        f"difference of a probability {comparison.largest:.4f}",
        *(
            f"  {found.reason}: {found.text[:80]!r}: {found.served!r} for {found.expected!r}, "
            f"{found.detail}"
            for found in comparison.differences
        ),
    ]


def published_lines(published: Published) -> list[str]:
    """Say what became of a publication."""
    if not published.changed:
        return [f"version {published.version} is this model already; nothing was changed"]
    lines = [f"published {published.folder}"]
    if published.pruned:
        lines.append(f"removed versions: {', '.join(map(str, published.pruned))}")
    return lines


@dataclass(frozen=True, kw_only=True)
class RenderOptions:
    """Which files are written, and for what.

    :param output: folder to write.
    :param bundle: whose precision to serve at (default: the shipped model).
    :param tuning_profile: streams, threads, cores and goal as `ov-emotions bench` measured them on
        the machine that will serve.
    :param policy: latest:COUNT, specific:VERSION,... or all.
    :param deployment: write the deployment files as well.
    """

    output: Annotated[Path, Flag("DIR")]
    bundle: Annotated[str, Flag("MODEL")] = DEFAULT_MODEL
    tuning_profile: Annotated[Path | None, Flag("FILE")] = None
    policy: Annotated[str, Flag("POLICY", name="versions")] = "latest:1"
    deployment: bool = False


@verb(
    without=("precision", "versions", "tuned_streams", "tuned_threads"),
    texts={"json": "print what was written as JSON"},
    defaults={
        "profile": "latency, or what --tuning-profile was measured for",
        "cores": "what this machine, its cpuset and its quota give",
        "base_path": "/models/NAME",
    },
)
def ovms_render(options: RenderOptions, given: Given[ServingProfile], answer: Answer) -> int:
    """Write config.json and config.md, which says why each value is what it is.

    With --deployment the files for Docker, Kubernetes and KServe as well.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.serving.deploy import render_deployment
    from ov_emotions.serving.render import NOTES_NAME, render_files

    versions = VersionPolicy.parse(options.policy)
    manifest = Bundle.load(options.bundle).manifest
    profile, budget = make_profile(manifest, options.tuning_profile, versions=versions, **given)
    if options.deployment:  # they have a README.md and more, which nobody's own shall give way to
        check_output_folder(options.output, NOTES_NAME)
    render = render_deployment if options.deployment else render_files
    texts = {options.output / name: text for name, text in render(profile, budget).items()}
    try:
        for path, text in texts.items():
            write_text(path, text)
    except OSError as error:
        raise DataError(f"{options.output} cannot be written: {error.strerror}") from error
    lines = [
        f"profile    {profile.goal}, {profile.cores} core(s) ({budget})",
        f"streams    {profile.streams}, {profile.infer_requests} requests inside the server",
        f"batch      {profile.batch} texts of one request at most",
        f"memory     {profile.memory_mib} MiB",
        f"precision  {profile.precision}",
        *(f"wrote      {path}" for path in texts),
    ]
    return answer.give({"files": list(texts), "profile": profile}, "\n".join(lines))


@dataclass(frozen=True, kw_only=True)
class ValidateOptions:
    """Which configuration is checked, and with which eyes.

    :param config: config.json.
    :param mount: look into DIR of this machine for what the server sees as PATH, /models=models
        say; repeatable.
    :param check_paths: look for the folders on this machine as named.
    :param strict: let warnings fail as well.
    """

    config: Annotated[Path, Flag("FILE", positional=True)]
    mount: Annotated[tuple[str, ...], Flag("PATH=DIR", each=True)] = ()
    check_paths: bool = False
    strict: bool = False


@verb(without=("mediapipe",))
def ovms_validate(options: ValidateOptions, traits: ServerTraits, answer: Answer) -> int:
    """Say what a server does with a config.json, at its start and when it reloads the file.

    Errors are what the server refuses, at a start or at a reload; warnings are what it accepts
    without a word though it should not. The two differ: an unknown metric or batch_size 0 ends a
    start, and a reload takes it. Exit code 1 for errors, and for warnings with --strict.
    """
    from ov_emotions.serving.config_files import LocalFiles
    from ov_emotions.serving.validate import reload_status, start_verdict, validate_file

    look = options.check_paths or options.mount
    mounts = dict(_mount(text) for text in options.mount)
    files = LocalFiles(mounts, options.config.resolve().parent) if look else None
    findings = validate_file(options.config, traits, files)
    errors = sum(finding.severity == "error" for finding in findings)
    start, status = start_verdict(findings), reload_status(findings)
    starts = {
        "serves": "a start serves every model",
        "unserved": "a server starts, but a model is not served or refuses a single text",
        "exits": "a start ends with an error",
    }
    reloads = {200: "a reload takes it", None: "a reload refuses it"}
    lines = [
        *map(str, findings),
        f"{options.config}: {starts[start]}; "
        f"{reloads.get(status, f'a reload refuses it with status {status}')}; "
        f"errors: {errors}, warnings: {len(findings) - errors}",
    ]
    if not look:
        lines.append("the folders that it names were not looked at (--mount)")
    found = {
        "valid": errors == 0,
        "start": start,
        "reload_status": status,
        "findings": findings,
    }
    answer.give(found, "\n".join(lines))
    return 1 if errors or (options.strict and findings) else 0


def _mount(text: str) -> tuple[str, Path]:
    inside, equals, outside = text.partition("=")
    if not equals or not inside.startswith("/") or not outside:
        raise UsageError(f"--mount: {text!r} is not of the form /PATH=DIR, /models=models say")
    return inside, Path(outside)


@dataclass(frozen=True, kw_only=True)
class CheckOptions:
    """Which server is looked at, and how it is reached.

    :param url: of the served model.
    :param model: what should be served (a shipped name, a bundle's folder or a Hub id); its answers
        are compared too.
    :param metadata_url: REST URL of the same server.
    :param timeout: seconds a request.
    :param requests: to time.
    :param header: sent with every request; may be given several times.
    :param ca_file: certificates to trust (default: the system's).
    :param cert_file: the client's certificate.
    :param key_file: its private key.
    """

    url: Annotated[str, Flag(positional=True)]
    model: Annotated[str | None, Flag("MODEL", short="-m")] = None
    metadata_url: Annotated[str | None, Flag("URL")] = None
    timeout: float = 10.0
    requests: Count = 20
    header: Annotated[tuple[str, ...], Flag("NAME=VALUE", each=True)] = ()
    ca_file: Annotated[Path | None, Flag("PEM")] = None
    cert_file: Annotated[Path | None, Flag("PEM")] = None
    key_file: Annotated[Path | None, Flag("PEM")] = None


@verb()
def ovms_check(options: CheckOptions, answer: Answer) -> int:
    """See whether a server is live, ready, serves the right model, answers, and how fast.

    URL is grpc://HOST:9000/MODEL or http://HOST:8000/MODEL (grpcs:// and https:// with TLS), also
    of NVIDIA Triton; tfs+grpc:// or tfs+http:// for OpenVINO Model Server up to 2026.2.1. Over gRPC
    Model Server does not tell what its model is: give --metadata-url or --model.

    The exit code is 0 if all is well and 1 if not. The times are seen from here, network included.
    """
    from ov_emotions.client.check import CheckReport, CheckStep, check_server
    from ov_emotions.client.options import ServerOptions
    from ov_emotions.remote import expected_model

    try:
        talk = ServerOptions(
            timeout=options.timeout,
            deadline=options.timeout,
            attempts=1,
            headers=dict(_header(text) for text in options.header),
            ca_file=options.ca_file,
            cert_file=options.cert_file,
            key_file=options.key_file,
        )
        report = asyncio.run(
            check_server(
                options.url,
                expected=expected_model(options.model),
                metadata_url=options.metadata_url,
                options=talk,
                requests=options.requests,
            )
        )
    except OvEmotionsError as error:
        if not answer.json:
            raise
        # Whoever reads JSON shall find it whatever is wrong.
        report = CheckReport(options.url, (CheckStep("arguments", False, str(error)),))
    marks = {True: "ok", False: "FAILED", None: "-"}
    width = max(len(step.name) for step in report.steps)
    lines = [
        f"{step.name.ljust(width)}  {marks[step.ok].ljust(6)}  {step.detail}"
        for step in report.steps
    ]
    answer.give(report.to_dict(), "\n".join([report.url, *lines]))
    return 0 if report.ok else 1


def _header(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not (name and equals):
        raise UsageError("--header: a header is given as NAME=VALUE")
    return name, value


@verb(texts={"name": _NAME}, defaults={"name": None})
def triton_build(place: PlaceOptions, given: Given[TritonConfig], answer: Answer) -> int:
    """Publish a bundle as the next version of a model in Triton's repository.

    The Python backend takes texts (text BYTES [N]) and gives probabilities FP32 [N, labels] and
    labels BYTES [N], as OpenVINO Model Server does. The server's Python must have the ov-emotions
    wheel:

        pip install ov-emotions "numpy<2"
        tritonserver --model-repository=REPOSITORY

    Triton 2.51 (24.10) needs numpy below 2: with numpy 2 its Python backend misreads texts and dies
    ("Stub process is not healthy"). Newer ones may do without that.

    With --token-in it takes input_ids and attention_mask INT64 [N, T], of callers who tokenise
    themselves, and gives probabilities only.

    The OpenVINO backend takes input_ids and attention_mask INT64 [N, T], because it knows no
    strings.
    """
    from ov_emotions.bundle import Bundle
    from ov_emotions.serving.triton import build_repository

    name = default_name(given.get("token_in", False))
    config = TritonConfig(**{"name": name, **given})
    published = build_repository(Bundle.load(place.bundle), place.repository, config)
    done = "wrote" if published.changed else "already there:"
    return answer.give(
        {name: value for name, value in published.to_dict().items() if name != "pruned"},
        f"{done} version {published.version} in {published.folder}\n"
        f"serve it: tritonserver --model-repository={place.repository}",
    )
