"""Opening: from a bundle to a backend that is proved to answer as it did where the bundle was made."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base import plugins
from edge_sdk.base.errors import (
    BackendError,
    BackendUnavailableError,
    MissingExtraError,
    UnavailableReason,
    WrongAnswerError,
)
from edge_sdk.contract.bundle import Bundle
from edge_sdk.contract.manifest import Variant
from edge_sdk.inference.base import Backend, BackendRequest
from edge_sdk.inference.delegates import runs_here

if TYPE_CHECKING:
    from edge_sdk.inference.standby import Standby

GROUP = "edge_sdk.backends"
_FORMAT_OF = {"litert": "tflite", "tflite": "tflite", "onnxruntime": "onnx"}

EDGE_TPU = "edgetpu"
_EDGE_TPU_OP = b"edgetpu-custom-op"

log = logging.getLogger(__name__)


def open_backend(
    bundle: Bundle,
    request: BackendRequest,
    *,
    runtime: str | None,
    precision: str | None,
    fallback_cpu: bool,
    order: Sequence[str] = (),
) -> tuple[Backend, str]:
    """Open a bundle's variant as asked; where that cannot be and `fallback_cpu` is set, with less, at last on the CPU.

    Args:
        bundle: What to open.
        request: How it is to be run.
        runtime: On what; None = the first that is installed, in `order`, then by the bundle's first variant.
        precision: Which variant; None = any.
        fallback_cpu: Whether less than what was asked will do.
        order: Runtimes that this board prefers.

    Returns:
        The backend, and what was asked for and is not in use, with the reason; empty when all is as asked.

    Raises:
        BundleError: It has no such variant.
        BackendUnavailableError: Runtime or delegate is not here, with the reason and the cure.
        WrongAnswerError: It runs, and its answers are not the recorded ones.
    """
    runtime, variant = _choose(bundle, runtime, precision, request, order)
    try:
        return open_variant(bundle, runtime, variant, request), ""
    except (BackendUnavailableError, WrongAnswerError) as error:
        if not (fallback_cpu and request.delegates):
            raise
        name = request.delegates[0].title
        log.warning("delegate is not used", extra={"model": bundle.manifest.name, "delegate": name, "why": str(error)})
        less = replace(request, delegates=request.delegates[1:])
        if less.delegates:
            backend, further = open_backend(bundle, less, runtime=runtime, precision=precision, fallback_cpu=True)
        else:
            backend, further = _open_on_cpu(bundle, runtime, variant, request), ""
        return backend, "; ".join(part for part in (f"{name}: {error}", further) if part)


def open_variant(bundle: Bundle, runtime: str, variant: Variant, request: BackendRequest) -> Backend:
    """Open one variant exactly so; a delegate that is no part of the CPU's runtime in a process of its own.

    Raises:
        BackendUnavailableError: Runtime or delegate is not here, with the reason and the cure.
        WrongAnswerError: It runs, and its answers are not the recorded ones.
    """
    if all(runs_here(delegate, runtime) for delegate in request.delegates):
        return _open_here(bundle, runtime, variant, request)
    return _open_apart(bundle, runtime, variant, request)


def answers_to_checks(bundle: Bundle, backend: Backend) -> list[NDArray[np.float32]]:
    """Run the bundle's recorded inputs; nothing where it has none."""
    shape = backend.variant.inputs[0].shape
    return [backend.run([given.reshape(shape)])[0] for given in _checks(bundle, backend.variant)]


def judge(bundle: Bundle, variant: Variant, who: str, answers: Sequence[NDArray[np.float32]]) -> float:
    """Compare answers to the recorded inputs with the recorded answers; give the largest difference.

    Raises:
        WrongAnswerError: It is above the variant's tolerance, or not finite.
    """
    worst = 0.0
    if not answers:
        return worst
    for answer, wanted in zip(answers, bundle.array(variant.check_output), strict=True):
        difference = float(np.abs(answer.ravel() - wanted.ravel()).max())
        if not difference <= variant.tolerance:
            raise WrongAnswerError(
                f"{who} answers {variant.file} wrongly: off by {difference:.4g} from the recorded answer, "
                f"{variant.tolerance:.4g} is right. Do not use this runtime or delegate for it; name another, or "
                "write `fallback: cpu`."
            )
        worst = max(worst, difference)
    return worst


def _checks(bundle: Bundle, variant: Variant) -> list[NDArray[np.float32]]:
    if not (bundle.manifest.check_input and variant.check_output):
        return []
    return [np.ascontiguousarray(given) for given in bundle.array(bundle.manifest.check_input)]


def _open_here(bundle: Bundle, runtime: str, variant: Variant, request: BackendRequest) -> Backend:
    """Open in this process."""
    backend: Backend = plugins.load(GROUP, runtime)(bundle.files[variant.file], variant, request)
    try:
        _check_version(variant, runtime, backend.version)
        judge(bundle, variant, f"{runtime} {backend.version}", answers_to_checks(bundle, backend))
    except BackendError:
        backend.close()
        raise
    return backend


def _open_on_cpu(bundle: Bundle, runtime: str, variant: Variant, request: BackendRequest) -> Backend:
    """Open on the CPU: the variant, or where it is compiled for a delegate, the first that the CPU runs."""
    others = [other for other in bundle.manifest.variants if other.format == variant.format and other != variant]
    on_cpu = replace(request, delegates=())
    problem: BackendError | None = None
    for candidate in (variant, *others):
        try:
            return _open_here(bundle, runtime, candidate, on_cpu)
        except (BackendUnavailableError, WrongAnswerError) as error:
            problem = problem or error
    assert problem is not None, "there is at least the variant itself"
    raise problem


def _open_apart(bundle: Bundle, runtime: str, variant: Variant, request: BackendRequest) -> Standby:
    """Open on delegates in a process of their own, with the CPU beside them."""
    from edge_sdk.inference.jobs import Open  # a station without delegates does without them
    from edge_sdk.inference.standby import Standby

    try:
        spare = _open_on_cpu(bundle, runtime, variant, request)
    except (BackendUnavailableError, WrongAnswerError) as error:
        log.warning("no cpu stands by", extra={"model": bundle.manifest.name, "why": str(error)})
        spare = None
    who = f"{runtime} with {', '.join(delegate.title for delegate in request.delegates)}"
    job = Open(
        runtime=runtime,
        variant=variant,
        request=request,
        model=bundle.files[variant.file],
        checks=tuple(given.tobytes() for given in _checks(bundle, variant)),
    )
    try:
        standby = Standby(job, lambda answers: judge(bundle, variant, who, answers), spare)
        _check_version(variant, runtime, standby.version)
    except BackendError:
        if spare is not None:
            spare.close()
        raise
    return standby


def _check_version(variant: Variant, runtime: str, version: str) -> None:
    if _numbers(version) < _numbers(variant.runtimes.get(runtime, "0")):
        raise BackendUnavailableError(
            f"{runtime} {version} for {variant.file}",
            reason=UnavailableReason.TOO_OLD,
            cure=f"It needs {variant.runtimes[runtime]} or newer. Update the runtime, or convert for this one.",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def _choose(
    bundle: Bundle, runtime: str | None, precision: str | None, request: BackendRequest, order: Sequence[str]
) -> tuple[str, Variant]:
    """The runtime and variant to open: as asked, or the first variant with an installed runtime.

    A variant that is compiled for the Edge TPU is taken where that is wanted, and left where it is not.
    """
    wants_tpu = any(delegate.name == EDGE_TPU for delegate in request.delegates)
    ordered = sorted(bundle.manifest.variants, key=lambda variant: _is_compiled(bundle, variant) != wants_tpu)
    fitting = [variant for variant in ordered if precision in {None, variant.precision}]
    if runtime is not None:
        plugins.load(GROUP, runtime)  # an unknown name or a missing library is said before anything else
        reads = _FORMAT_OF.get(runtime)
        found = next((variant for variant in fitting if reads in {None, variant.format}), None)
        return runtime, found or bundle.variant(format=reads, precision=precision)  # which raises
    problem: Exception | None = None
    preferred = [name for name in order if name in _FORMAT_OF]
    pairs = [(name, variant) for name in preferred for variant in fitting if _FORMAT_OF[name] == variant.format]
    pairs += [(name, variant) for variant in fitting for name, reads in _FORMAT_OF.items() if reads == variant.format]
    for name, variant in pairs:
        try:
            plugins.load(GROUP, name)
        except MissingExtraError as error:
            problem = problem or error
        else:
            return name, variant
    if problem:
        raise problem
    return "", bundle.variant(precision=precision)  # which raises: there is none of that precision


def _is_compiled(bundle: Bundle, variant: Variant) -> bool:
    """Whether a variant is compiled for the Edge TPU: then no CPU runs it."""
    return variant.format == "tflite" and _EDGE_TPU_OP in bundle.files[variant.file]
