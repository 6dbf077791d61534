"""Deployment files for Docker, Kubernetes and KServe, rendered from a profile.

The templates are package data, laid out like what they become. `@{name}` is replaced, and nothing
else: the files have dollar signs and braces of their own.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

from ov_emotions.errors import InputError
from ov_emotions.serving.profile import GRPC_PORT, IMAGE, METRICS, REST_PORT, ServingProfile
from ov_emotions.serving.render import CONFIG_NAME, render_config, render_files

MOUNT = "/models"
"""Where the containers have the model repository."""

BUCKET = "s3://emotions-models"
"""Stands for the bucket of whoever deploys."""

_COPIES_MIB = 256

_TEMPLATES = Path(__file__).parent / "templates"
_PLACEHOLDER = re.compile(r"@\{(\w+)\}")
_HIDDEN = {"gitignore": ".gitignore"}


def render_deployment(profile: ServingProfile, budget: str = "given") -> dict[str, str]:
    """Render every file, by its path in the folder.

    :raises InputError: if its base_path is neither below /models nor an s3:// address.
    """
    profile, stored = _places(profile)
    config, in_bucket = render_config(profile), render_config(stored)
    overlays = "kubernetes/overlays"
    texts = {
        **render_files(profile, budget),
        "config.s3.json": in_bucket,
        f"kubernetes/base/{CONFIG_NAME}": config,
        f"{overlays}/s3/{CONFIG_NAME}": in_bucket,
        f"{overlays}/throughput/{CONFIG_NAME}": render_config(_throughput(profile)),
    }
    values = _values(profile)
    for file in filter(Path.is_file, _TEMPLATES.rglob("*")):
        path = file.relative_to(_TEMPLATES).as_posix()
        template = file.read_text(encoding="utf-8")
        texts[_HIDDEN.get(path, path)] = _PLACEHOLDER.sub(lambda m: values[m[1]], template)
    # One configuration of the front, which Compose and Kubernetes both mount.
    texts[f"{overlays}/front/nginx.conf"] = texts["nginx/nginx.conf"]
    return dict(sorted(texts.items()))


def _places(profile: ServingProfile) -> tuple[ServingProfile, ServingProfile]:
    """Return the profile with models in the mounted volume, and with models in a bucket."""
    if profile.base_path.startswith("s3://"):
        return replace(profile, base_path=f"{MOUNT}/{profile.name}"), profile
    if not profile.base_path.startswith(f"{MOUNT}/"):
        raise InputError(
            f"base_path is {profile.base_path!r}, and the deployment files mount the models at "
            f"{MOUNT}: name a folder below it, or an s3:// address"
        )
    return profile, replace(profile, base_path=f"{BUCKET}/{profile.name}")


def _throughput(profile: ServingProfile) -> ServingProfile:
    return replace(profile, goal="throughput", cores=2 * profile.cores, max_batch=None)


def _values(profile: ServingProfile) -> dict[str, str]:
    return {
        "image": IMAGE,
        "image_tag": IMAGE.rpartition(":")[2],
        "name": profile.name,
        "name_pattern": "|".join(map(re.escape, profile.models)),
        "precision": profile.precision,
        "cores": str(profile.cores),
        "throughput_cores": str(_throughput(profile).cores),
        "cpuset": "0" if profile.cores == 1 else f"0-{profile.cores - 1}",
        "memory": f"{profile.memory_mib}Mi",
        "memory_compose": f"{profile.memory_mib}m",
        # With models from object storage, copies in /tmp count as memory too.
        "memory_s3": f"{profile.memory_mib + _COPIES_MIB}Mi",
        "memory_s3_compose": f"{profile.memory_mib + _COPIES_MIB}m",
        "copies": f"{_COPIES_MIB}Mi",
        "throughput_memory": f"{_throughput(profile).memory_mib}Mi",
        "max_batch": str(profile.batch),
        "grpc_port": str(GRPC_PORT),
        "rest_port": str(REST_PORT),
        "arguments_json": json.dumps(profile.server_arguments()),
        "arguments_6": _yaml_list(profile.server_arguments(), 6),
        "arguments_12": _yaml_list(profile.server_arguments(), 12),
        "kserve_arguments_8": _yaml_list(_kserve_arguments(profile), 8),
        **_cache(profile),
    }


def _kserve_arguments(profile: ServingProfile) -> list[str]:
    """Say the configuration on the command line: KServe's runtime mounts no file."""
    arguments = [
        "--target_device=CPU",
        f"--nireq={profile.infer_requests}",
        f"--plugin_config={json.dumps(profile.plugin_config)}",
        f"--model_version_policy={json.dumps(profile.versions.config())}",
        f"--batch_size=1:{profile.batch}",
        *profile.worker_arguments(),
    ]
    if profile.metrics:
        arguments += ["--metrics_enable", f"--metrics_list={','.join(METRICS)}"]
    return arguments


def _cache(profile: ServingProfile) -> dict[str, str]:
    if not profile.cache:
        return dict.fromkeys(("cache_compose", "cache_mount", "cache_volume"), "")
    return {
        "cache_compose": "      # Writable by user 5000.\n      - ./cache:/opt/cache\n",
        "cache_mount": "            - name: cache\n              mountPath: /opt/cache\n",
        "cache_volume": "        - name: cache\n          emptyDir: {sizeLimit: 512Mi}\n",
    }


def _yaml_list(items: list[str], indent: int) -> str:
    # JSON strings are YAML strings, whatever is inside them.
    return "\n".join(
        " " * indent + "- " + (item if re.fullmatch(r"[\w\-=./]+", item) else json.dumps(item))
        for item in items
    )
