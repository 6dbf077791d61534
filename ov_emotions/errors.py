"""Every error the library raises on purpose.

The tree::

    OvEmotionsError
    ├── InputError              a text, threshold or argument of the wrong kind (also a ValueError)
    ├── BundleError             a model folder that cannot be used
    │   ├── BundleNotFoundError     no such folder, or no such model on the Hub
    │   ├── BundleSchemaError       a manifest that is malformed or newer than this library
    │   └── BundleIntegrityError    a file that is missing, truncated or altered
    ├── CheckpointError         a training checkpoint that cannot be used
    ├── DataError               a data file that cannot be read or written as asked
    │   └── MissingColumnError      a table without the column that is asked for
    ├── TrainingError           a training run that cannot start, resume or go on
    ├── ExportError             a checkpoint that does not convert, or converts to something else
    ├── QuantizationError       a model that does not quantize
    │   └── AlreadyQuantizedError   a model that was quantized before
    ├── RepositoryError         a model repository that cannot be published to
    ├── ClusterError            a Ray cluster that is not reached or does not do its work
    ├── DeviceError             a device, precision or compile option the runtime refuses
    ├── ServerError             a model server that refuses, fails, or answers what it should not
    │   ├── ServerUnavailableError  not reached, not ready, overloaded, or too slow
    │   └── ServerMismatchError     it serves another model than is expected
    └── MissingExtraError       an optional dependency is absent (also an ImportError)

Catch `OvEmotionsError` to catch them all. Messages say what was wrong, where, and what to do.
"""

from __future__ import annotations

from collections.abc import Sequence


class OvEmotionsError(Exception):
    """Base of every error the library raises on purpose."""


class InputError(OvEmotionsError, ValueError):
    """A text, threshold or argument of the wrong kind or out of range."""


class BundleError(OvEmotionsError):
    """A model folder that cannot be used."""


class BundleNotFoundError(BundleError):
    """No such folder, or no such model on the Hub."""


class BundleSchemaError(BundleError):
    """A manifest that is malformed, or newer than this library understands."""


class BundleIntegrityError(BundleError):
    """A file of a bundle that is missing, truncated or altered."""


class CheckpointError(OvEmotionsError):
    """A training checkpoint that cannot be used."""


class DataError(OvEmotionsError):
    """A data file that cannot be read or written as asked."""


class MissingColumnError(DataError):
    """A table without the column that is asked for.

    :param message: what is missing.
    :param columns: those that there are.
    """

    def __init__(self, message: str, columns: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.columns = tuple(columns)


class TrainingError(OvEmotionsError):
    """A training run that cannot start, resume or go on."""


class ExportError(OvEmotionsError):
    """A checkpoint that does not convert, or whose conversion disagrees with it."""


class QuantizationError(OvEmotionsError):
    """A model that does not quantize."""


class AlreadyQuantizedError(QuantizationError):
    """A model that was quantized before."""


class RepositoryError(OvEmotionsError):
    """A model repository that cannot be published to."""


class ClusterError(OvEmotionsError):
    """A Ray cluster that is not reached, or that does not do its work."""


class DeviceError(OvEmotionsError):
    """A device, precision or compile option the runtime refuses."""


class ServerError(OvEmotionsError):
    """A model server that refuses a request, fails at it, or answers what it should not."""


class ServerUnavailableError(ServerError):
    """A server that was not reached, is not ready, is overloaded, or took too long."""


class ServerMismatchError(ServerError):
    """A server whose model is not the one that is expected, or does not say what it is."""


class MissingExtraError(OvEmotionsError, ImportError):
    """An optional dependency is absent; the message names the pip command that brings it."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or its kind where it has none."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]
