"""The process's one OpenVINO core."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import openvino as ov

_lock = threading.Lock()
_core: ov.Core | None = None


def shared_core() -> ov.Core:
    """Return the core that everything in this process shares; it is never let go of.

    OpenVINO's CPU plugin gives the thread that loads it a signal stack of its own, and takes that
    back when its core goes. Two cores that go in the order in which they came leave the thread with
    a stack that is no longer there, and the next signal, Ctrl-C say, crashes the process. One core
    also loads the plugin once.

    :return: the core; set no properties on it, pass them where a model is compiled.
    """
    global _core
    with _lock:
        if _core is None:
            import openvino as ov

            _core = ov.Core()
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
