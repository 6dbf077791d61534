"""A process that runs models: its first calls, its forks and its end.

OpenVINO and the tokenizers library start threads of their own. Three things go wrong with that if
nobody looks after it. The first calls of several threads can block each other for ever, because the
bindings set things up when they are first needed. A forked child has the models but not the threads
that ran them, and waits for those. And a daemon thread that is inside native code when the
interpreter ends takes the whole process down with it. So native code is entered through `NATIVE`.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from collections.abc import Iterable
from typing import Protocol

import numpy as np

from ov_emotions.system import core_after_fork, import_openvino, shared_core

_PATIENCE = 60.0
"""Seconds that a fork, or the end of the process, waits for native code at most."""

_TOKENIZERS = "TOKENIZERS_PARALLELISM"


class _Gate:
    """Counts the threads that are inside native code, and keeps others out while it is shut."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Start anew: nobody is inside, and it is open."""
        self._changed = threading.Condition(threading.Lock())
        self._mine = threading.local()
        self._inside = 0
        self._keeper: int | None = None
        self.shut = False

    def __enter__(self) -> None:
        depth: int = getattr(self._mine, "depth", 0)
        if not depth:
            self._step_in()
        self._mine.depth = depth + 1

    def __exit__(self, *_: object) -> None:
        # After a fork inside the block there is nothing to leave: the child's gate is a new one.
        depth: int = getattr(self._mine, "depth", 0)
        if depth == 1:
            self._step_out()
        self._mine.depth = max(0, depth - 1)

    def rest(self) -> None:
        """Step out while the gate is shut; the caller has nothing under way."""
        if self.shut and getattr(self._mine, "depth", 0) > 0:
            self._step_out()
            self._step_in()

    def close(self) -> bool:
        """Shut it for all other threads, and wait until they are out; tell whether they are."""
        own = min(1, getattr(self._mine, "depth", 0))
        with self._changed:
            self.shut, self._keeper = True, threading.get_ident()
            return self._changed.wait_for(lambda: self._inside <= own, _PATIENCE)

    def open(self) -> None:
        with self._changed:
            self.shut, self._keeper = False, None
            self._changed.notify_all()

    def _step_in(self) -> None:
        with self._changed:
            # At the end of the process nobody opens it again: a daemon thread ends while it waits.
            while self.shut and self._keeper != threading.get_ident():
                self._changed.wait()
            self._inside += 1

    def _step_out(self) -> None:
        with self._changed:
            self._inside -= 1
            if self.shut:
                self._changed.notify_all()


NATIVE = _Gate()
"""Held by a thread for as long as it tokenises, compiles or infers."""


class _HoldsNative(Protocol):
    def native_objects(self) -> Iterable[object]: ...


_holders: weakref.WeakSet[_HoldsNative] = weakref.WeakSet()
_forked = False
_quiet_at_fork = True
_set_for_fork: list[str] = []
_fork_lock = threading.Lock()
_reopen_lock = threading.Lock()
_warm_lock = threading.Lock()
_warm = False


def forked() -> bool:
    """Tell whether this process was forked from one that had OpenVINO loaded.

    Executors that OpenVINO has at hand there wait for threads that are gone, so that models must
    run in the threads that call them: NUM_STREAMS 0.
    """
    return _forked


def forked_while_busy() -> bool:
    """Tell whether it was forked while another thread was inside native code, locks in hand."""
    return not _quiet_at_fork


def reopening() -> threading.Lock:
    """Return the lock under which a forked child opens models again; each process has its own."""
    return _reopen_lock


def watch(holder: _HoldsNative) -> None:
    """Remember, by a weak reference, whose objects must not be destroyed in a forked child."""
    _holders.add(holder)


def warm_bindings() -> None:
    """Do once, under a lock, what OpenVINO's bindings set up when it is first needed.

    To make an element type into one of numpy from several threads at first can block them for ever:
    one holds the lock of a static variable and waits for the interpreter's, another the other way
    round. A whole inference of a graph without work also does what else there may be of that kind.
    """
    global _warm
    with _warm_lock:
        if _warm:
            return
        ov = import_openvino()
        for name in ("boolean", "f16", "f32", "i32", "i64", "u8"):
            ov.Type(getattr(ov.Type, name).to_dtype())
        ops = ov.opset13
        given = ops.parameter([-1, -1], np.int64, name="given")
        graph = ov.Model([ops.convert(given, "f32")], [given], "nothing")
        # In this thread: no executor stays behind.
        compiled = shared_core().compile_model(graph, "CPU", {"NUM_STREAMS": 0})
        request = compiled.create_infer_request()
        request.start_async({"given": np.ones((1, 2), np.int64)}, share_inputs=True)
        request.wait()
        np.array(request.get_output_tensor(0).data)
        _warm = True


def _before_fork() -> None:
    global _quiet_at_fork
    _fork_lock.acquire()
    _quiet_at_fork = NATIVE.close()
    # The tokenizers library turns its threads off in a child by itself, but warns of it every time;
    # where it is told to have none, it has nothing to say.
    if _TOKENIZERS not in os.environ:
        os.environ[_TOKENIZERS] = "false"
        _set_for_fork.append(_TOKENIZERS)


def _in_parent() -> None:
    while _set_for_fork:
        os.environ.pop(_set_for_fork.pop(), None)
    NATIVE.open()
    _fork_lock.release()


def _in_child() -> None:
    global _forked, _fork_lock, _reopen_lock, _warm_lock
    _set_for_fork.clear()
    NATIVE.reset()
    _fork_lock, _reopen_lock, _warm_lock = (threading.Lock() for _ in range(3))
    core = core_after_fork()
    if core is None:
        return
    _forked = True
    # Their destructors would wait for threads that are gone. One reference more than there are, so
    # that they are never destroyed, whatever becomes of the objects that hold them.
    natives = [core, *(native for holder in list(_holders) for native in holder.native_objects())]
    for native in natives:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(native))
    _holders.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_in_parent, after_in_child=_in_child)
# Runs when all threads but daemons have ended: those are stopped before they enter native code.
atexit.register(NATIVE.close)
