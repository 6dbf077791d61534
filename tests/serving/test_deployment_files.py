"""ovms_config/ is what the library renders, and what those who read it would take."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from machine import run, tool

from ov_emotions.bundle import DEFAULT_MODEL, Bundle
from ov_emotions.cli.main import main
from ov_emotions.serving.deploy import render_deployment
from ov_emotions.serving.profile import IMAGE, ServingProfile
from ov_emotions.serving.validate import validate_file

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "ovms_config"
LOCAL = {"secrets", "models", "cache", "wheels"}
KUBERNETES = ("1.30", "1.37")

pytestmark = pytest.mark.skipif(not FOLDER.is_dir(), reason=f"{FOLDER} is not part of an install")


def documents(path: str) -> list[Any]:
    return list(yaml.safe_load_all((FOLDER / path).read_text(encoding="utf-8")))


@pytest.fixture(scope="module")
def compose():
    return documents("compose.yaml")[0]


@pytest.fixture(scope="module")
def config():
    return json.loads((FOLDER / "config.json").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def deployment():
    return documents("kubernetes/base/deployment.yaml")[0]


# --- the folder and its rendering ---------------------------------------------------------------


def test_the_committed_files_are_what_the_command_in_its_readme_writes(tmp_path):
    readme = (FOLDER / "README.md").read_text(encoding="utf-8")
    command = re.search(r"ov-emotions (ovms render .*--output) ovms_config --deployment", readme)
    assert command
    assert main([*command.group(1).split(), str(tmp_path), "--deployment"]) == 0
    rendered, committed = (
        {path.relative_to(f): path.read_bytes() for path in f.rglob("*") if path.is_file()}
        for f in (tmp_path, FOLDER)
    )
    committed = {path: raw for path, raw in committed.items() if path.parts[0] not in LOCAL}
    assert sorted(committed) == sorted(rendered)
    for path, content in committed.items():
        assert content == rendered[path], f"{path} differs: render it anew"


@pytest.mark.parametrize("goal", ["latency", "throughput"])
@pytest.mark.parametrize("cores", [1, 6])
@pytest.mark.parametrize("cache", [True, False])
def test_every_profile_renders_whole_files(goal, cores, cache):
    profile = ServingProfile(goal, cores, cache=cache, name="moods", base_path="/models/moods")
    texts = render_deployment(profile)
    assert texts == render_deployment(profile)
    for path, text in texts.items():
        assert "@{" not in text, path
        assert text.endswith("\n"), path
        if path.endswith((".yaml", ".yml")):
            assert list(yaml.safe_load_all(text)), path
        elif path.endswith(".json"):
            json.loads(text)
    pods = yaml.safe_load(texts["kubernetes/base/deployment.yaml"])["spec"]["template"]["spec"]
    assert (
        pods["containers"][0]["args"]
        == profile.server_arguments()
        == (yaml.safe_load(texts["compose.yaml"])["services"]["ovms"]["command"])
    )
    assert any(mount["mountPath"] == "/opt/cache" for mount in _mounts(pods)) == cache
    assert {mount["name"] for mount in _mounts(pods)} == {v["name"] for v in pods["volumes"]}
    assert "emotions/ready" not in texts["compose.yaml"]


def _mounts(pods: dict[str, Any]) -> list[dict[str, str]]:
    mounts: list[dict[str, str]] = pods["containers"][0]["volumeMounts"]
    return mounts


def test_an_address_in_object_storage_goes_into_the_files_that_use_one():
    profile = ServingProfile("latency", 2, base_path="s3://mine/emotions")
    texts = render_deployment(profile)
    assert "s3://mine/emotions" in texts["config.s3.json"]
    assert "s3://mine/emotions" in texts["kubernetes/overlays/s3/config.json"]
    assert (
        texts["config.json"]
        == render_deployment(replace(profile, base_path="/models/emotions"))["config.json"]
    )


@pytest.mark.parametrize(
    "path", sorted(str(path.relative_to(FOLDER)) for path in FOLDER.rglob("config*.json"))
)
def test_every_config_is_one_that_the_validator_finds_nothing_in(path):
    assert validate_file(FOLDER / path) == []


def test_the_precision_is_the_shipped_bundles(config):
    plugin = config["model_config_list"][0]["config"]["plugin_config"]
    manifest = Bundle.load(DEFAULT_MODEL).manifest
    assert plugin["INFERENCE_PRECISION_HINT"] == manifest.inference_precision


def test_no_file_holds_a_credential():
    inline = re.compile(r"(?i)(password|secret_access_key|access_key_id)[ \t]*[:=][ \t]*\S")
    for path in FOLDER.rglob("*"):
        if path.suffix in (".yaml", ".yml", ".conf", ".json"):
            text = path.read_text(encoding="utf-8")
            assert not inline.search(text), path
            assert not re.search(r"^kind: Secret$", text, re.MULTILINE), path


# --- Docker Compose -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["compose.yaml", "compose.s3.yaml", "containers/compose.yaml"])
def test_compose_fits_the_schema_of_its_specification(path):
    schema = files("check_jsonschema") / "builtin_schemas" / "vendor" / "compose-spec.json"
    validator = jsonschema.Draft202012Validator(json.loads(schema.read_text(encoding="utf-8")))
    assert [error.message for error in validator.iter_errors(documents(path)[0])] == []


def test_compose_runs_the_server_as_a_user_without_rights_on_loopback(compose, config):
    server = compose["services"]["ovms"]
    assert server["image"] == IMAGE
    assert server["user"] == "5000:5000"
    assert server["read_only"] is True
    assert server["cap_drop"] == ["ALL"]
    assert [entry.split(":")[0] for entry in server["tmpfs"]] == ["/tmp"]
    assert all(port.startswith("127.0.0.1:") for port in server["ports"])
    threads = config["model_config_list"][0]["config"]["plugin_config"]["INFERENCE_NUM_THREADS"]
    assert server["cpuset"] == f"0-{threads - 1}"


def test_the_files_that_compose_mounts_are_there(compose):
    for name, service in compose["services"].items():
        for volume in service["volumes"]:
            source = volume.split(":")[0]
            if source.startswith("./") and source.split("/")[1] not in LOCAL:
                assert (FOLDER / source).exists(), f"{name} mounts {source}"


def test_docker_compose_reads_the_files(tmp_path):
    command = tool("docker-compose")
    shutil.copytree(FOLDER, tmp_path / "c", ignore=shutil.ignore_patterns(*LOCAL))
    (tmp_path / "c" / "secrets").mkdir()
    (tmp_path / "c" / "secrets" / "s3.env").write_text("AWS_REGION=x\n", encoding="utf-8")

    def services(*names: str) -> Any:
        files = [word for name in names for word in ("-f", name)]
        return yaml.safe_load(run(command, *files, "config", cwd=tmp_path / "c"))["services"]

    plain = services("compose.yaml"), "config.json"
    stored = services("compose.yaml", "compose.s3.yaml"), "config.s3.json"
    for found, expected in (plain, stored):
        mounted = [volume.split(":") for volume in found["ovms"]["volumes"]]
        [source] = [source for source, target, *_ in mounted if target == "/config/config.json"]
        assert source.endswith(expected)
    assert services("containers/compose.yaml")["emotions"]["build"]["dockerfile"]


# --- Kubernetes and KServe ----------------------------------------------------------------------


@cache
def check_text(document: str, version: str) -> None:
    """Hold a manifest against the schemas; the same one again costs nothing."""
    kubernetes_validate = pytest.importorskip("kubernetes_validate")
    kubernetes_validate.validate(json.loads(document), version, strict=True)


def check_manifest(document: dict[str, Any]) -> None:
    for version in KUBERNETES:
        check_text(json.dumps(document, sort_keys=True), version)


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"base/{name}"
            for name in ("deployment", "service", "hpa", "pdb", "pvc", "networkpolicy")
        ),
        "overlays/front/front",
    ],
)
def test_manifests_fit_the_strict_schemas_of_kubernetes(path):
    for document in documents(f"kubernetes/{path}.yaml"):
        check_manifest(document)


def test_every_manifest_is_part_of_its_kustomization():
    for path in FOLDER.glob("kubernetes/**/kustomization.yaml"):
        kustomization = yaml.safe_load(path.read_text(encoding="utf-8"))
        named = {"kustomization.yaml", *kustomization["resources"]}
        named |= {patch["path"] for patch in kustomization.get("patches", ()) if "path" in patch}
        for generator in kustomization["configMapGenerator"]:
            named |= set(generator["files"])
        there = {entry.name for entry in path.parent.iterdir()}
        assert there == {name for name in named if not name.startswith("..")}, path


@pytest.mark.parametrize(
    "overlay", ["base", "overlays/throughput", "overlays/s3", "overlays/front"]
)
def test_kustomize_builds_manifests_that_fit_the_schemas(overlay):
    built = run(tool("kubectl"), "kustomize", FOLDER / "kubernetes" / overlay)
    found = [document for document in yaml.safe_load_all(built) if document]
    for document in found:
        check_manifest(document)
    kinds = [document["kind"] for document in found]
    assert ("PersistentVolumeClaim" in kinds) == (overlay != "overlays/s3")
    config = next(
        document["data"]["config.json"]
        for document in found
        if document["kind"] == "ConfigMap" and "config.json" in document["data"]
    )
    own = FOLDER / "kubernetes" / overlay / "config.json"
    source = own if own.exists() else FOLDER / "kubernetes" / "base" / "config.json"
    assert config == source.read_text(encoding="utf-8")
    [server] = [
        document["spec"]["template"]["spec"]["containers"][0]
        for document in found
        if document["kind"] == "Deployment" and document["metadata"]["name"] == "ovms"
    ]
    plugin = json.loads(config)["model_config_list"][0]["config"]["plugin_config"]
    assert server["resources"]["limits"]["cpu"] == str(plugin["INFERENCE_NUM_THREADS"])


def test_the_pod_has_no_rights_and_whole_cores_of_its_own(deployment):
    pods = deployment["spec"]["template"]["spec"]
    [server] = pods["containers"]
    assert pods["securityContext"]["runAsUser"] == 5000
    assert pods["securityContext"]["runAsNonRoot"] is True
    assert server["securityContext"]["readOnlyRootFilesystem"] is True
    assert server["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert server["resources"]["requests"] == server["resources"]["limits"]
    assert server["resources"]["limits"]["cpu"].isdecimal()
    writable = {m["mountPath"] for m in server["volumeMounts"] if not m.get("readOnly")}
    assert writable == {"/tmp"}


def test_selectors_find_the_pods(deployment):
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    assert deployment["spec"]["selector"]["matchLabels"].items() <= labels
    for service in documents("kubernetes/base/service.yaml"):
        assert service["spec"]["selector"].items() <= labels
    [budget] = documents("kubernetes/base/pdb.yaml")
    assert budget["spec"]["selector"]["matchLabels"].items() <= labels
    [scaler] = documents("kubernetes/base/hpa.yaml")
    assert scaler["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]


KSERVE_KEYS = {"runtime", "runtimeVersion", "protocolVersion", "modelFormat", "storageUri"}


@pytest.mark.parametrize("path", ["inferenceservice.yaml", "inferenceservice-s3.yaml"])
def test_the_inference_service_holds_a_container_and_the_configs_values(path, config):
    *others, service = documents(f"kserve/{path}")
    for document in others:
        check_manifest(document)
    model = service["spec"]["predictor"]["model"]
    assert model.keys() >= KSERVE_KEYS
    assert model["runtime"] == "kserve-openvino"
    assert IMAGE.endswith(":" + model["runtimeVersion"])
    # The rest of a model's keys are those of a container.
    container = {key: value for key, value in model.items() if key not in KSERVE_KEYS}
    pod = {"containers": [container | {"name": "kserve-container"}]}
    check_manifest({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}, "spec": pod})
    flags = dict(argument.removeprefix("--").partition("=")[::2] for argument in model["args"])
    expected = config["model_config_list"][0]["config"]
    assert json.loads(flags["plugin_config"]) == expected["plugin_config"]
    assert json.loads(flags["model_version_policy"]) == expected["model_version_policy"]
    assert flags["nireq"] == str(expected["nireq"])
    assert flags["batch_size"] == expected["batch_size"]
    assert {"rest_workers", "grpc_max_threads"} <= flags.keys()
    assert flags["metrics_list"].split(",") == config["monitoring"]["metrics"]["metrics_list"]


# --- Prometheus and Grafana ---------------------------------------------------------------------


def test_promtool_takes_the_configuration_and_the_rules():
    assert "5 rules found" in run(
        tool("promtool"), "check", "config", FOLDER / "prometheus" / "prometheus.yml"
    )


ALERT_TESTS = """
rule_files: [alerts.yml]
tests:
  - interval: 1m
    input_series:
      - series: 'up{job="ovms", instance="a"}'
        values: '0x30'
      - series: 'ovms_requests_fail{name="m", method="ModelInfer", interface="REST"}'
        values: '0+6x30'
      - series: 'ovms_requests_fail{name="broken", method="ModelInfer", interface="REST"}'
        values: '0+6x30'
      - series: 'ovms_requests_success{name="broken", method="ModelInfer", interface="REST"}'
        values: '0x30'
      - series: 'ovms_requests_success{name="m", method="ModelInfer", interface="REST"}'
        values: '0+54x30'
      - series: 'ovms_request_time_us_bucket{name="m", le="1000000"}'
        values: '0+60x30'
      - series: 'ovms_request_time_us_bucket{name="m", le="400000"}'
        values: '0+6x30'
      - series: 'ovms_request_time_us_bucket{name="m", le="+Inf"}'
        values: '0+60x30'
      - series: 'ovms_wait_for_infer_req_time_us_bucket{name="m", le="40000"}'
        values: '0+60x30'
      - series: 'ovms_wait_for_infer_req_time_us_bucket{name="m", le="+Inf"}'
        values: '0+60x30'
    alert_rule_test:
      - eval_time: 25m
        alertname: ModelServerDown
        exp_alerts:
          - exp_labels: {severity: critical, job: ovms, instance: a}
            exp_annotations: {summary: a does not answer on /metrics}
      - eval_time: 25m
        alertname: RequestsEndInErrors
        exp_alerts:
          - exp_labels: {severity: info, name: m}
            exp_annotations:
              summary: "10% of the requests to m end in an error, a client's bad ones among them"
          - exp_labels: {severity: info, name: broken}
            exp_annotations:
              summary: >-
                100% of the requests to broken end in an error, a client's bad ones among them
      - eval_time: 25m
        alertname: NoRequestSucceeds
        exp_alerts:
          - exp_labels: {severity: warning, name: broken}
            exp_annotations:
              summary: "every request to broken ends in an error: run ov-emotions ovms check"
      - eval_time: 25m
        alertname: RequestsSlow
        exp_alerts:
          - exp_labels: {severity: warning, name: m}
            exp_annotations: {summary: p99 of m is 993.3k microseconds}
      - eval_time: 25m
        alertname: RequestsWaitForASlot
        exp_alerts: []
"""


def test_the_alerts_fire_when_they_should_and_only_then(tmp_path):
    command = tool("promtool")
    shutil.copy(FOLDER / "prometheus" / "alerts.yml", tmp_path)
    (tmp_path / "test.yml").write_text(ALERT_TESTS, encoding="utf-8")
    assert "SUCCESS" in run(command, "test", "rules", "test.yml", cwd=tmp_path)


@pytest.fixture(scope="module")
def dashboard():
    path = FOLDER / "grafana" / "dashboards" / "emotions.json"
    return json.loads(path.read_text(encoding="utf-8"))


def test_the_dashboard_survives_grafanas_own_types(dashboard):
    models = pytest.importorskip("grafana_foundation_sdk.models.dashboard")
    encoder = pytest.importorskip("grafana_foundation_sdk.cog.encoder")
    plugins = pytest.importorskip("grafana_foundation_sdk.cog.plugins")
    plugins.register_default_plugins()
    parsed = models.Dashboard.from_json(dashboard)
    again = json.loads(encoder.JSONEncoder(sort_keys=True).encode(parsed))
    assert list(lost(dashboard, again)) == []


def lost(before: Any, after: Any, where: str = "") -> Iterator[str]:
    """Yield what a round trip dropped or changed; what it added is a default."""
    if isinstance(before, dict) and isinstance(after, dict):
        for key, value in before.items():
            yield from lost(value, after.get(key), f"{where}.{key}")
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for i, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from lost(one, other, f"{where}[{i}]")
    elif before != after:
        yield f"{where}: {before!r} became {after!r}"


def test_panels_do_not_overlap_and_ask_only_for_metrics_that_are_listed(dashboard, config):
    listed = set(config["monitoring"]["metrics"]["metrics_list"])
    places = set()
    asked: set[str] = set()
    for panel in dashboard["panels"]:
        grid = panel["gridPos"]
        places.add((grid["x"], grid["y"]))
        assert grid["x"] + grid["w"] <= 24
        for target in panel["targets"]:
            asked |= set(re.findall(r"ovms_\w+", target["expr"]))
    assert len(places) == len(dashboard["panels"])
    assert {name.removesuffix("_bucket") for name in asked} <= listed
    alerts = (FOLDER / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
    in_alerts = set(re.findall(r"ovms_\w+", alerts))
    assert {name.removesuffix("_bucket") for name in in_alerts} <= listed


def test_promtool_can_parse_every_query_of_the_dashboard(dashboard, tmp_path):
    command = tool("promtool")
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [
        {"record": f"query:{i}", "expr": query.replace("$__rate_interval", "1m")}
        for i, query in enumerate(queries)
    ]
    path = tmp_path / "rules.yml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "g", "rules": rules}]}), encoding="utf-8")
    assert f"{len(queries)} rules found" in run(command, "check", "rules", path)
