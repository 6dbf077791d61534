"""The process's one OpenVINO core."""

from __future__ import annotations

import importlib
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openvino as ov

_lock = threading.Lock()
_core: ov.Core | None = None


def import_openvino() -> Any:
    """Import OpenVINO without its model converter, which takes as long as the rest of it.

    The converter comes with the first use of `openvino.convert_model` or `openvino.tools`, as if
    it had been there. Changes nothing where the program itself imported OpenVINO before.

    :return: the module.
    """
    converter = "openvino.tools.ovc"
    with _lock:
        if "openvino" in sys.modules or converter in sys.modules:
            return importlib.import_module("openvino")
        # OpenVINO takes the ImportError that this raises for a converter that is not installed.
        sys.modules[converter] = None  # type: ignore[assignment]
        try:
            module = importlib.import_module("openvino")
        finally:
            del sys.modules[converter]

    def load(name: str) -> Any:
        if name in ("convert_model", "tools"):
            ovc = importlib.import_module(converter)
            vars(module)["convert_model"] = ovc.convert_model
            return vars(module)[name]
        raise AttributeError(f"module 'openvino' has no attribute {name!r}")

    vars(module)["__getattr__"] = load
    return module


def shared_core() -> ov.Core:
    """Return the core that everything in this process shares; it is never let go of.

    OpenVINO's CPU plugin gives the thread that loads it a signal stack of its own, and takes that
    back when its core goes. Two cores that go in the order in which they came leave the thread with
    a stack that is no longer there, and the next signal, Ctrl-C say, crashes the process. One core
    also loads the plugin once.

    :return: the core; set no properties on it, pass them where a model is compiled.
    """
    global _core
    openvino = import_openvino()
    with _lock:
        if _core is None:
            _core = openvino.Core()
        return _core


@contextmanager
def core_for_others() -> Iterator[None]:
    """Let `openvino.Core` and `openvino.compile_model`, which make a core a call, share ours.

    For the length of a block in which another library compiles models: NNCF's accuracy control
    holds several at a time and lets them go in the order in which they came.
    """
    import openvino as ov

    core = shared_core()
    own = ov.Core, ov.compile_model

    def compile_model(
        model: Any, device_name: str = "AUTO", config: Mapping[str, Any] | None = None
    ) -> ov.CompiledModel:
        return core.compile_model(model, device_name, dict(config or {}))

    ov.Core, ov.compile_model = lambda: core, compile_model
    try:
        yield
    finally:
        ov.Core, ov.compile_model = own
