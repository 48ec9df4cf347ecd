"""A model: a bundle opened in a runtime, from window to prediction."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge_sdk.base.errors import EdgeError, InferenceError, TensorMismatchError
from edge_sdk.contract.bundle import Bundle, read_bundle
from edge_sdk.contract.events import ModelInUse
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.contract.trust import Trust
from edge_sdk.contract.window import Window
from edge_sdk.inference.base import Backend, BackendRequest, FallsBack, TakesStored
from edge_sdk.inference.delegates import Delegate, wanted
from edge_sdk.inference.guards import Guards, InputGuard, OutputGuard, refuse_probabilities, sum_tolerance
from edge_sdk.inference.layout import check_fit
from edge_sdk.inference.opening import answers_to_checks, judge, open_backend
from edge_sdk.inference.preprocess import Preprocess

log = logging.getLogger(__name__)


class Model:
    """A bundle's model, ready to predict; use it from one thread at a time.

    Attributes:
        name: The model's name: the name of its contributor.
        bundle: What was opened; `open` lets go of the models' files.
        backend: The runtime that it really runs on.
    """

    def __init__(self, bundle: Bundle, backend: Backend, *, fallback: str = "", guards: Guards | None = None) -> None:
        manifest = bundle.manifest
        self.name, self.bundle, self.backend, self._fallback = manifest.name, bundle, backend, fallback
        self._guard, self._output_guard = InputGuard(manifest, guards), OutputGuard(manifest, guards)
        self._sum_tolerance = sum_tolerance(backend.variant)
        self._trips: Counter[str] = Counter()
        self._refused = ""
        self._preprocess = Preprocess.of(manifest.preprocess)
        self._input_shape = backend.variant.inputs[0].shape
        check_fit(self._input_shape, self._preprocess, (manifest.windowing.length, len(manifest.channels)))
        self._exponent, self._error_std = 1.0 / manifest.temperature, manifest.error_std
        self._classifies = manifest.task == "classification"
        n_answers = int(np.prod(backend.variant.outputs[0].shape))
        self._reconstructs = manifest.reconstructs
        self._direct = backend if isinstance(backend, TakesStored) and not self._reconstructs else None
        self._wavering = backend if isinstance(backend, FallsBack) else None  # asked once: it is asked for each result
        self._stored = self._preprocess.into(backend.variant.inputs[0])
        n_wanted = len(manifest.labels) if self._classifies else 1
        if self._reconstructs:
            n_wanted = int(np.prod(self._input_shape))
        if n_answers != n_wanted:
            raise TensorMismatchError(
                backend.variant.outputs[0].name,
                want=f"{n_wanted} values{', one per label' if self._classifies else ''}",
                got=f"{n_answers} values",
            )

    @classmethod
    def open(
        cls,
        bundle: Bundle | Path | str,
        *,
        trust: Trust | None = None,
        runtime: str | None = None,
        precision: str | None = None,
        threads: int = 1,
        delegates: Sequence[str | Delegate] = (),
        fallback_cpu: bool = False,
        cache: str = "",
        guards: Guards | None = None,
        order: Sequence[str] = (),
    ) -> Model:
        """Open a bundle and prove that it answers as it did where it was made.

        A delegate that is no part of the CPU's own runtime works in a process of its own. Should it fail later, the
        CPU answers in its place until it is back; `fallback` says so.

        Args:
            bundle: An opened bundle, or a path; a path needs `trust`.
            trust: Whose signatures count; None = nobody's, which accepts no path.
            runtime: ``litert``, ``tflite``, ``onnxruntime`` or a plug-in's name; None = the first that is installed.
            precision: The variant's precision; None = the bundle's first.
            threads: Threads for one call.
            delegates: Delegates or execution providers, by name or in full, in order; empty = the CPU.
            fallback_cpu: Run on the CPU where a delegate is missing or wrong at opening, and say so in `fallback`.
            cache: Directory where compiled engines are kept from one start to the next; empty = they are not kept.
            guards: What must hold of windows and answers at this place, besides what the bundle says.
            order: Runtimes that this board prefers, where `runtime` is None.

        Raises:
            BundleError: The bundle must not be used, or has no such variant.
            ConfigError: The guards do not fit the bundle.
            BackendUnavailableError: Runtime or delegate is not here, with the reason and the cure.
            WrongAnswerError: It runs, and its answers are not the recorded ones.
        """
        if not isinstance(bundle, Bundle):
            bundle = read_bundle(bundle, trust or Trust())
        request = BackendRequest(threads=threads, delegates=wanted(delegates), cache=cache)
        backend, fallback = open_backend(
            bundle, request, runtime=runtime, precision=precision, fallback_cpu=fallback_cpu, order=order
        )
        try:
            return cls(bundle.without_models(), backend, fallback=fallback, guards=guards)
        except EdgeError:
            backend.close()
            raise

    @property
    def fallback(self) -> str:
        """What was asked for and does not answer at the moment, and why; empty when all is as asked."""
        return self._fallback or (self._wavering.fallback if self._wavering is not None else "")

    @property
    def counters(self) -> dict[str, int]:
        """What was counted of its guards, and of its delegate if it has one; by dotted name, the model at the end."""
        counted = self._trips + (self._wavering.counters if self._wavering is not None else Counter())
        return {f"{name}.{self.name}": count for name, count in counted.items()}

    def check(self) -> float:
        """Run the bundle's recorded inputs; give the largest difference from the recorded answers.

        Raises:
            WrongAnswerError: It is above the variant's tolerance, or not finite.
        """
        backend = self.backend
        who = f"{backend.runtime} {backend.version}"
        return judge(self.bundle, backend.variant, who, answers_to_checks(self.bundle, backend))

    def predict(self, window: Window) -> Prediction:
        """Say what the window shows; a refused window or a failed call is a prediction with that state.

        Args:
            window: Samples ``(length, n_channels)`` in the sensor's unit, on the bundle's grid.
        """
        if reason := self._guard.refuse(window):
            return self._trip(window, ContributorState.REJECTED, reason)
        try:
            if self._direct is not None:
                outputs = self._direct.run_stored([self._stored(window.samples).reshape(self._input_shape)])
            else:
                inputs = self._preprocess.apply(window.samples).reshape(self._input_shape)
                outputs = self.backend.run([inputs])
        except InferenceError as error:
            log.warning("inference failed", extra={"model": self.name, "reason": str(error)})
            return self._without_answer(window, ContributorState.FAILED, "inference")
        features = outputs[1].ravel() if len(outputs) > 1 else None
        answer = outputs[0].ravel().astype(np.float64)
        if not self._classifies:
            if self._reconstructs:
                answer = np.square(answer - inputs.ravel()).mean(keepdims=True)
            if not np.isfinite(answer[0]):
                return self._trip(window, ContributorState.FAILED, "output_not_finite")
            if reason := self._output_guard.refuse_value(float(answer[0])):
                return self._trip(window, ContributorState.REJECTED, reason)
            return self._answer(window, None, float(answer[0]), features)
        reason, total = refuse_probabilities(answer, self._sum_tolerance)
        if reason:
            return self._trip(window, ContributorState.FAILED, reason)
        if reason := self._output_guard.refuse_label(answer):
            return self._trip(window, ContributorState.REJECTED, reason)
        if self._exponent != 1.0:
            answer = np.maximum(answer, 1e-12) ** self._exponent
            total = float(answer.sum())
        answer /= total
        return self._answer(window, answer, None, features)

    def in_use(self) -> ModelInUse:
        """What really runs, for the station's birth message."""
        manifest, backend = self.bundle.manifest, self.backend
        return ModelInUse(
            name=self.name,
            bundle=self.bundle.digest,
            variant=backend.variant.file,
            runtime=f"{backend.runtime} {backend.version}",
            delegates=tuple(part.delegate for part in backend.coverage if part.share_of_operations),
            coverage=backend.coverage,
            fallback=self.fallback,
            labels=manifest.labels,
        )

    def close(self) -> None:
        """Let go of the runtime's memory."""
        self.backend.close()

    def _trip(self, window: Window, state: ContributorState, reason: str) -> Prediction:
        """A guard refused: count it, and say it in the log when it begins."""
        self._trips[f"guards.{reason}"] += 1
        if reason != self._refused:
            log.warning("guard refuses", extra={"model": self.name, "sensor": window.sensor, "reason": reason})
            self._refused = reason
        return self._without_answer(window, state, reason)

    def _answer(
        self,
        window: Window,
        probabilities: NDArray[np.float64] | None,
        value: float | None,
        features: NDArray[np.float32] | None,
    ) -> Prediction:
        if self._refused:
            log.info("guard is content again", extra={"model": self.name, "sensor": window.sensor})
            self._refused = ""
        return Prediction(  # by place, not by name: this is made for every window
            self.name,
            window.start_ns,
            window.end_ns,
            ContributorState.FRESH,
            probabilities,
            value,
            None if value is None else self._error_std,
            features,
            "",
            window.observed_ns,
            window.clock,
        )

    def _without_answer(self, window: Window, state: ContributorState, reason: str) -> Prediction:
        return Prediction(
            self.name,
            window.start_ns,
            window.end_ns,
            state=state,
            reason=reason,
            observed_ns=window.observed_ns,
            clock=window.clock,
        )
