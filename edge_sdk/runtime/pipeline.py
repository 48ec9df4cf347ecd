"""The pipeline: readings in, fused results out. Pure: no clock, no I/O, no asyncio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import UNSET, UnsetType

from edge_sdk.base.clock import ClockState, to_datetime
from edge_sdk.base.errors import ConfigError, ReadingError
from edge_sdk.contract.manifest import Manifest, Windowing
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import Contributor, FusedResult
from edge_sdk.fusion.base import Fused, Fuser
from edge_sdk.inference.model import Model
from edge_sdk.runtime.counters import Counters
from edge_sdk.windowing.align import Aligner, Moment, Policy
from edge_sdk.windowing.progress import Progress
from edge_sdk.windowing.windower import Windower


class Pipeline:
    """One stream: windows each sensor, runs each model, aligns and fuses what they say.

    Example::

        pipeline = Pipeline([Model.open("light.edge", trust=trust), Model.open("sound.edge", trust=trust)])
        for result in pipeline.push(reading):
            print(result.t, result.label, result.confidence)

    Attributes:
        stream: Name of the stream in its results.
        models: The models, in the order of the contributors.
    """

    def __init__(
        self,
        models: Sequence[Model],
        fuser: Fuser | None = None,
        *,
        stream: str = "fused",
        sensors: Mapping[str, str] | None = None,
        align: Policy = "on_all",
        tick_s: float | None = None,
        base: str | None = None,
        tolerance_s: float = 0.0,
        lateness_s: float = 2.0,
        late_samples_s: float = 0.0,
        max_age_s: float | Mapping[str, float] = 30.0,
    ) -> None:
        """Put a stream together.

        Args:
            models: At least one; all classify the same labels, or all estimate the same unit.
            fuser: How they become one; None = log-opinion pool.
            stream: Name of the stream.
            sensors: Name of the sensor that each model reads, by model name; default: what its bundle names.
            align: When windows of several models make a result: see `Aligner`.
            tick_s: Event time from one result to the next; for ``tick`` alone.
            base: The model whose windows make the results; for ``basepad`` alone.
            tolerance_s: How far from it another model's window may end and still count; for ``basepad`` alone.
            lateness_s: How long, in event time, to wait for an absent sensor, on top of the length of the blocks
                that the sensors hand over.
            late_samples_s: How late, in event time, a block may come and still be sorted in; every result waits for it.
            max_age_s: How old a prediction may be and still count as stale rather than absent; for all models, or
                by name (0 where not named).

        Raises:
            ConfigError: The models do not fit together.
        """
        if fuser is None:
            from edge_sdk.fusion.pools import LogOpinionPool

            fuser = LogOpinionPool(LogOpinionPool.Options())
        self.stream, self.models, self._fuser = stream, tuple(models), fuser
        self._counters = Counters()
        first = _check_models(self.models)
        self._labels, self._unit = first.labels, first.unit
        self._routes: dict[str, list[tuple[Windower, list[Model]]]] = {}
        named = sensors or {}
        self._late_samples_ns = round(late_samples_s * 1e9)
        for model in self.models:
            manifest = model.bundle.manifest
            self._route(named.get(model.name, manifest.sensor), manifest.windowing, len(manifest.channels), model)
        self._aligner = Aligner(
            [model.name for model in self.models],
            policy=align,
            max_age_ns=(
                {name: round(age_s * 1e9) for name, age_s in max_age_s.items()}
                if isinstance(max_age_s, Mapping)
                else round(max_age_s * 1e9)
            ),
            lateness_ns=round(lateness_s * 1e9),
            tick_ns=None if tick_s is None else round(tick_s * 1e9),
            base=base,
            tolerance_ns=round(tolerance_s * 1e9),
        )
        self._progress = Progress()
        self._flags = tuple(f"fallback.{model.name}" for model in self.models if model.fallback)
        self._digests = {model.name: model.bundle.digest for model in self.models}

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors that it reads."""
        return tuple(self._routes)

    @property
    def counters(self) -> dict[str, int]:
        """Everything counted so far, windowing and alignment included."""
        windowers = (windower.counters for routes in self._routes.values() for windower, _ in routes)
        return self._counters.all(self._aligner.counters, *windowers)

    def push(self, reading: Reading) -> list[FusedResult]:
        """Take one block of samples; give the results that it completes, oldest first.

        A reading of a sensor that no model reads is counted and changes nothing.
        """
        routes = self._routes.get(reading.sensor)
        if routes is None:
            self._counters.count("readings.not_used")
            return []
        results: list[FusedResult] = []
        reached_ns = 0
        for windower, models in routes:
            try:
                windows = windower.push(reading)
            except ReadingError:
                self._counters.count("readings.refused")
                continue
            for window in windows:
                self._counters.count("windows")
                for model in models:
                    results += self._predicted(model.predict(window))
            reached_ns = max(reached_ns, windower.watermark_ns)
        if reached_ns:
            reached_ns = self._progress.heard(reading.sensor, reached_ns, reading.span_ns)
            results += self._results(self._aligner.advance(reached_ns))
        return results

    def flush(self) -> list[FusedResult]:
        """Give what is still waiting for late samples or absent sensors: the sources have ended."""
        results: list[FusedResult] = []
        for routes in self._routes.values():
            for windower, models in routes:
                for window in windower.flush():
                    self._counters.count("windows")
                    for model in models:
                        results += self._predicted(model.predict(window))
        return results + self._results(self._aligner.flush())

    def _route(self, sensor: str, windowing: Windowing, channels: int, model: Model) -> None:
        routes = self._routes.setdefault(sensor, [])
        for windower, models in routes:
            if windower.spec == windowing:
                models.append(model)
                return
        windower = Windower(windowing, sensor=sensor, channels=channels, lateness_ns=self._late_samples_ns)
        routes.append((windower, [model]))

    def _predicted(self, prediction: Prediction) -> list[FusedResult]:
        if prediction.state is not ContributorState.FRESH:
            self._counters.count(f"predictions.{prediction.state.value}.{prediction.reason}")
        return self._results(self._aligner.push(prediction))

    def _results(self, moments: Sequence[Moment]) -> list[FusedResult]:
        return [self._result(moment) for moment in moments]

    def _result(self, moment: Moment) -> FusedResult:
        predictions = moment.predictions
        fused = self._fuser.fuse(predictions)
        fresh = [prediction for prediction in predictions if prediction.state is ContributorState.FRESH]
        absent = tuple(prediction.model for prediction in predictions if prediction.state is not ContributorState.FRESH)
        flags = self._flags + (fused.flags if fused else ("no_answer",))
        seen = fresh or predictions
        self._counters.count("results")
        common = {
            "stream": self.stream,
            "t": to_datetime(moment.t_ns),
            "observed": to_datetime(max(prediction.observed_ns for prediction in seen) or moment.t_ns),
            "clock": _clock(seen),
            "method": self._fuser.name,
            "degraded": bool(absent) or bool(self._flags),
            "contributors": tuple(self._contributor(prediction, moment.t_ns, fused) for prediction in predictions),
            "absent": absent,
            "flags": flags,
        }
        if fused is None:
            return FusedResult(**common)  # type: ignore[arg-type]
        return FusedResult(**common, **self._answer(fused))  # type: ignore[arg-type]

    def _answer(self, fused: Fused) -> dict[str, object]:
        if fused.probabilities is not None:
            best = int(fused.probabilities.argmax())
            rounded = [round(p, 4) for p in fused.probabilities.tolist()]
            return {
                "label": self._labels[best],
                "confidence": rounded[best],
                "probabilities": dict(zip(self._labels, rounded, strict=True)),
                "set": tuple(self._labels[index] for index in fused.set) or UNSET,
            }
        assert fused.value is not None
        return {
            "value": round(fused.value, 4),
            "unit": self._unit,
            "std": UNSET if fused.std is None else round(fused.std, 4),
            "interval": UNSET if fused.interval is None else tuple(round(end, 4) for end in fused.interval),
        }

    def _contributor(self, prediction: Prediction, t_ns: int, fused: Fused | None) -> Contributor:
        label: str | UnsetType = UNSET
        confidence: float | UnsetType = UNSET
        if prediction.probabilities is not None:
            best = int(prediction.probabilities.argmax())
            label, confidence = self._labels[best], round(float(prediction.probabilities[best]), 4)
        return Contributor(
            model=prediction.model,
            bundle=self._digests[prediction.model],
            state=prediction.state,
            age_ms=(t_ns - prediction.end_ns) // 1_000_000 if prediction.end_ns else UNSET,
            weight=round(fused.weights.get(prediction.model, 0.0), 4) if fused else 0.0,
            label=label,
            confidence=confidence,
            value=UNSET if prediction.value is None else round(prediction.value, 4),
            reason=prediction.reason or UNSET,
        )


def _clock(predictions: Sequence[Prediction]) -> ClockState:
    if any(prediction.clock is ClockState.UNSYNCED for prediction in predictions):
        return ClockState.UNSYNCED
    return ClockState.SYNCED


def _check_models(models: Sequence[Model]) -> Manifest:
    if not models:
        raise ConfigError("A pipeline wants at least one model.")
    first = models[0].bundle.manifest
    names = [model.name for model in models]
    if len(set(names)) != len(names):
        raise ConfigError(f"Two models of one stream have the same name: {', '.join(names)}. Rename one bundle.")
    for model in models[1:]:
        other = model.bundle.manifest
        if (other.task, other.labels, other.unit) != (first.task, first.labels, first.unit):
            raise ConfigError(
                f"Models {first.name!r} and {other.name!r} do not answer the same question: "
                f"{first.task} of {list(first.labels) or first.unit} against {other.task} of "
                f"{list(other.labels) or other.unit}. Fuse models with the same labels, in the same order."
            )
    return first
