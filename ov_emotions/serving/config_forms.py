"""The keys of config.json, as OpenVINO Model Server 2026.3 and 2026.4 know them."""

from __future__ import annotations

from ov_emotions.serving.config_schema import Either, Form, Items, Keys, OneKey, Scalar, Values

_TEXT = Scalar(("text",))
_FLAG = Scalar(("true or false",))
_POSITIVE = Scalar(("whole number",), low=1)
_NATURAL = Scalar(("whole number",), low=0)
_TEXTS = Items(_TEXT)

_COMMAND_LINE = (
    "the documentation has it, but only for the command line: in a file the server refuses it and "
    "everything beside it; leave it out"
)
_STATEFUL = (
    "stateful models are no longer configured, and the server refuses the whole file; leave it out"
)

_SHAPE_OR_LAYOUT = Either(
    {"object": Values(_TEXT), "text": _TEXT}, "a text, or an object of texts by input name"
)

_POLICY = OneKey(
    {
        "latest": Keys({"num_versions": _POSITIVE}, required=("num_versions",)),
        "specific": Keys({"versions": Items(_POSITIVE)}, required=("versions",)),
        "all": Keys({}),
    }
)

MODEL = Keys(
    {
        "name": _TEXT,
        "base_path": _TEXT,
        "batch_size": Scalar(("whole number", "text"), low=0),
        "graph_path": _TEXT,
        "subconfig": _TEXT,
        "model_version_policy": _POLICY,
        "shape": _SHAPE_OR_LAYOUT,
        "layout": _SHAPE_OR_LAYOUT,
        "nireq": _NATURAL,
        "target_device": _TEXT,
        "allow_cache": _FLAG,
        "plugin_config": Values(Scalar(("text", "true or false", "number"))),
        "custom_loader_options": Keys(
            {"loader_name": _TEXT}, required=("loader_name",), open_ended=True
        ),
    },
    required=("name",),
    gone={
        **dict.fromkeys(("mean", "scale", "precision", "color_format"), _COMMAND_LINE),
        **dict.fromkeys(
            (
                "stateful",
                "idle_sequence_cleanup",
                "low_latency_transformation",
                "max_sequence_number",
            ),
            _STATEFUL,
        ),
    },
)

_NAMED_PATH = Keys({"name": _TEXT, "base_path": _TEXT}, required=("name", "base_path"))
_SOURCE = Values(
    Keys({"node_name": _TEXT, "data_item": _TEXT}, required=("node_name", "data_item")), count=1
)
_DEMULTIPLY = Scalar(("whole number",), low=-1, high=10_000)

_NODE = Keys(
    {
        "name": _TEXT,
        "model_name": _TEXT,
        "library_name": _TEXT,
        "type": Scalar(("text",), allowed=("DL model", "custom")),
        "version": _POSITIVE,
        "inputs": Items(_SOURCE),
        "outputs": Items(
            Keys({"data_item": _TEXT, "alias": _TEXT}, required=("data_item", "alias"))
        ),
        "params": Values(_TEXT),
        "demultiply_count": _DEMULTIPLY,
        "gather_from_node": _TEXT,
    },
    required=("name", "type", "inputs", "outputs"),
)

_PIPELINE = Keys(
    {
        "name": _TEXT,
        "nodes": Items(_NODE),
        "inputs": _TEXTS,
        "outputs": Items(_SOURCE),
        "demultiply_count": _DEMULTIPLY,
    },
    required=("name", "nodes", "inputs", "outputs"),
)

_LOADER = Keys(
    {
        "config": Keys(
            {"loader_name": _TEXT, "library_path": _TEXT, "loader_config_file": _TEXT},
            required=("loader_name", "library_path"),
        )
    },
    required=("config",),
)

_METRICS = Keys({"enable": _FLAG, "metrics_list": _TEXTS}, required=("enable",))

_TOP: dict[str, Form] = {
    "model_config_list": Items(Keys({"config": MODEL}, required=("config",))),
    "monitoring": Keys({"metrics": _METRICS}, required=("metrics",)),
    "pipeline_config_list": Items(_PIPELINE),
    "custom_node_library_config_list": Items(_NAMED_PATH),
    "custom_loader_config_list": Items(_LOADER),
}

_MEDIAPIPE = Items(
    Keys(
        {"name": _TEXT, "base_path": _TEXT, "graph_path": _TEXT, "subconfig": _TEXT},
        required=("name",),
    )
)


def config_form(mediapipe: bool) -> Keys:
    """Return the form of the whole file.

    :param mediapipe: whether the server was built with MediaPipe, as the published image is.
    :return: the form.
    """
    if mediapipe:
        return Keys({**_TOP, "mediapipe_config_list": _MEDIAPIPE}, required=("model_config_list",))
    reason = "this server was built without MediaPipe and refuses the whole file; leave it out"
    return Keys(_TOP, required=("model_config_list",), gone={"mediapipe_config_list": reason})
