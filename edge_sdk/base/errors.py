"""The error tree: a class for each decision that a caller can take.

::

    EdgeError
    ├── ConfigError (ValueError)              mend the configuration file
    ├── MissingExtraError (ImportError)       install the extra that is named
    ├── PluginError (LookupError)             name a plug-in that exists
    ├── BundleError (ValueError)              do not use this bundle
    │   ├── BundleFormatError                 truncated, or not a bundle: copy it again
    │   ├── IntegrityError                    a byte was changed: somebody tampered, or the disk is failing
    │   └── TrustError (PermissionError)      unsigned, or signed by a key that is not configured
    ├── ConversionError (RuntimeError)        convert otherwise: another scheme, shape or model
    │   └── CalibrationError (ValueError)     give data that fits the model's input contract
    ├── TensorMismatchError (ValueError)      model and data do not fit together
    ├── ReadingError (ValueError)             one block of samples is unusable: count it, go on
    ├── SensorError (OSError)                 the sensor is lost: try again later         retriable
    ├── BackendError (RuntimeError)           this runtime cannot run this model
    │   ├── BackendUnavailableError           a runtime, delegate or provider is not here; says why
    │   ├── WrongAnswerError                  it runs and answers wrongly: refuse it
    │   └── InferenceError                    it failed in service                       retriable
    ├── PayloadError (ValueError)             a message cannot be read: quarantine it
    ├── TransportError (ConnectionError)      the broker is out of reach                  retriable
    ├── OutboxError (OSError)                 the outbox cannot be used
    │   ├── OutboxFullError                   the quota is reached and the policy is to refuse
    │   └── LeaseExpiredError                 somebody else holds the row by now
    ├── CommandError (RuntimeError)           a station refused a command, or took back what it had changed
    └── StoreError (OSError)                  the monitor's store cannot be used          retriable
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from enum import Enum
from typing import ClassVar


class EdgeError(Exception):
    """Root of every error raised here on purpose.

    Attributes:
        retriable: Whether the same call may succeed later without anybody mending anything.
        exit_code: What the command line exits with, after ``sysexits.h``.
    """

    retriable: ClassVar[bool] = False
    exit_code: ClassVar[int] = 1


class ConfigError(EdgeError, ValueError):
    """A configuration says what cannot be. The message names the field, and the line where it is known."""

    exit_code = 78  # EX_CONFIG: systemd is told not to restart on it


class MissingExtraError(EdgeError, ImportError):
    """A library that this feature needs is not installed."""

    exit_code = 69  # EX_UNAVAILABLE

    def __init__(self, what: str, *, extra: str, package: str = "") -> None:
        """Say what to install.

        Args:
            what: What needs the library.
            extra: Of edge-sdk's extras, the one that brings it.
            package: A package that must be installed beside it; empty = the extra alone.
        """
        more = f" {package}" if package else ""
        super().__init__(f"{what} needs a library that is not installed. Run: pip install 'edge-sdk[{extra}]'{more}")
        self.what, self.extra = what, extra


class PluginError(EdgeError, LookupError):
    """No plug-in of that name is installed."""

    exit_code = 78


class BundleError(EdgeError, ValueError):
    """A bundle must not be used."""

    exit_code = 65  # EX_DATAERR


class BundleFormatError(BundleError):
    """The file is truncated, of a newer format, or no bundle at all."""


class IntegrityError(BundleError):
    """A digest or a signature does not match the content."""


class TrustError(BundleError, PermissionError):
    """The bundle is unsigned, or signed by a key that is not among the configured ones."""

    exit_code = 77  # EX_NOPERM


class ConversionError(EdgeError, RuntimeError):
    """A model could not be converted; nothing was written."""

    exit_code = 65


class CalibrationError(ConversionError, ValueError):
    """Calibration or evaluation data contradicts the model's input contract."""


class TensorMismatchError(EdgeError, ValueError):
    """A tensor does not fit what was declared."""

    exit_code = 65

    def __init__(self, name: str, *, want: str, got: str) -> None:
        super().__init__(
            f"Tensor {name!r} is {got}, wanted is {want}. `edge-sdk inspect BUNDLE` shows what the model takes."
        )
        self.name, self.want, self.got = name, want, got


class ReadingError(EdgeError, ValueError):
    """A block of samples cannot be used. It is counted, and the stream goes on."""


class SensorError(EdgeError, OSError):
    """A sensor does not answer, or answers nonsense."""

    retriable = True
    exit_code = 69


class BackendError(EdgeError, RuntimeError):
    """A runtime cannot run a model."""


class UnavailableReason(str, Enum):
    """Why a runtime, delegate or execution provider is not here."""

    NOT_INSTALLED = "not_installed"
    NOT_COMPILED_IN = "not_compiled_in"
    LIBRARY_NOT_FOUND = "library_not_found"
    NO_DEVICE = "no_device"
    NO_PERMISSION = "no_permission"
    REFUSED_MODEL = "refused_model"
    TOO_OLD = "too_old"
    CRASHED = "crashed"
    NO_ANSWER = "no_answer"


class BackendUnavailableError(BackendError):
    """A runtime, delegate or execution provider that was asked for is not here."""

    exit_code = 69

    def __init__(self, what: str, *, reason: UnavailableReason, cure: str) -> None:
        super().__init__(f"{what} is not available ({reason.value.replace('_', ' ')}). {cure}")
        self.what, self.reason, self.cure = what, reason, cure


class WrongAnswerError(BackendError):
    """A backend runs the model and its answers differ from the recorded ones."""


class InferenceError(BackendError):
    """A model that was running failed on one window."""

    retriable = True


class PayloadError(EdgeError, ValueError):
    """A message cannot be read. The reader quarantines and counts it.

    Attributes:
        reason: One short word that counters use as their label.
    """

    def __init__(self, message: str, *, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class TransportError(EdgeError, ConnectionError):
    """The broker is out of reach, or refused us."""

    retriable = True
    exit_code = 69


class OutboxError(EdgeError, OSError):
    """The outbox file cannot be used."""

    exit_code = 74  # EX_IOERR


class OutboxFullError(OutboxError):
    """The quota is reached, and the policy is to refuse rather than to drop."""


class LeaseExpiredError(OutboxError):
    """The lease ran out, and somebody else holds the row by now."""


class CommandError(EdgeError, RuntimeError):
    """A command to a station was not carried out.

    Attributes:
        reason: One short word that answers and counters use.
        tried: Whether it was tried, and what it had changed was taken back; else nothing was changed.
    """

    def __init__(self, message: str, *, reason: str, tried: bool = False) -> None:
        super().__init__(message)
        self.reason, self.tried = reason, tried


class StoreError(EdgeError, OSError):
    """The monitor's store cannot be used."""

    retriable = True
    exit_code = 74


def leaves(error: BaseException) -> list[BaseException]:
    """The single errors of a group of errors, however deep; an error that is no group is its own leaf."""
    inner: Sequence[BaseException] | None = getattr(error, "exceptions", None)
    return [error] if inner is None else [leaf for one in inner for leaf in leaves(one)]


def nearest(given: str, known: Iterable[str]) -> str:
    """Say what is known, nearest first: the tail of a message about an unknown name."""
    names = sorted(known)
    import difflib  # a tenth of a megabyte that a station without errors can do without

    close = difflib.get_close_matches(given, names, n=1, cutoff=0.5)
    close = close or [name for name in names if len(given) > 2 and given.lower() in name.lower()]
    hint = f"Did you mean {close[0]!r}? " if close else ""
    return f"{hint}Known: {', '.join(names) or 'none'}."
