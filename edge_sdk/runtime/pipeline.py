"""The pipeline: readings in, fused results out. Pure: no clock, no I/O, no asyncio."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from edge_sdk.base.errors import ConfigError, ReadingError
from edge_sdk.contract.manifest import Windowing
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.contract.reading import Reading
from edge_sdk.contract.result import FusedResult
from edge_sdk.contract.window import Window
from edge_sdk.fusion.base import Fuser
from edge_sdk.inference.model import Model
from edge_sdk.runtime.counters import Counters
from edge_sdk.runtime.writer import ResultWriter
from edge_sdk.windowing.align import Aligner, Moment, Policy
from edge_sdk.windowing.progress import Progress
from edge_sdk.windowing.windower import Windower


class Cut(NamedTuple):
    """What the blocks of one sensor gave to do.

    Attributes:
        jobs: Windows and the models that are to say what they show, oldest first.
        reached_ns: Event time that the stream reached with it; 0 = no news.
    """

    jobs: list[tuple[Model, Window]]
    reached_ns: int


_NOTHING = Cut([], 0)


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
        _check_models(self.models)
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
        self._writer = ResultWriter(stream, self._fuser, self.models)

    @property
    def sensors(self) -> tuple[str, ...]:
        """Names of the sensors that it reads."""
        return tuple(self._routes)

    @property
    def counters(self) -> dict[str, int]:
        """Everything counted so far, windowing and alignment included."""
        windowers = (windower.counters for routes in self._routes.values() for windower, _ in routes)
        models = (model.counters for model in self.models)
        return self._counters.all(self._aligner.counters, {"results": self._writer.written}, *windowers, *models)

    def push(self, reading: Reading) -> list[FusedResult]:
        """Take one block of samples; give the results that it completes, oldest first.

        A reading of a sensor that no model reads is counted and changes nothing.
        """
        cut = self.cut(reading)
        return self.join(cut, [model.predict(window) for model, window in cut.jobs])

    def cut(self, reading: Reading) -> Cut:
        """The first half of `push`: window a block of samples; what it gives is to be predicted and joined in order.

        Whoever runs the models otherwise than one after the other, in another thread or not at all, goes this way.
        """
        routes = self._routes.get(reading.sensor)
        if routes is None:
            self._counters.count("readings.not_used")
            return _NOTHING
        jobs: list[tuple[Model, Window]] = []
        reached_ns = 0
        for windower, models in routes:
            try:
                windows = windower.push(reading)
            except ReadingError:
                self._counters.count("readings.refused")
                continue
            if windows:
                self._counters.count("windows", len(windows))
                jobs += [(model, window) for window in windows for model in models]
            reached_ns = max(reached_ns, windower.watermark_ns)
        if reached_ns:
            reached_ns = self._progress.heard(reading.sensor, reached_ns, reading.span_ns)
        return Cut(jobs, reached_ns)

    def join(self, cut: Cut, predictions: Iterable[Prediction]) -> list[FusedResult]:
        """The second half of `push`: align and fuse what the models said of a cut, some windows left out or not."""
        results: list[FusedResult] = []
        for prediction in predictions:
            if prediction.state is not ContributorState.FRESH:
                self._counters.count(f"predictions.{prediction.state.value}.{prediction.reason}")
            if moments := self._aligner.push(prediction):
                results += self._results(moments)
        if cut.reached_ns and (moments := self._aligner.advance(cut.reached_ns)):
            results += self._results(moments)
        return results

    def replace(self, old: Model, new: Model) -> None:
        """Let another variant of a model answer from now on.

        Raises:
            ConfigError: It has another name, or reads other windows or answers another question.
        """
        was, now = old.bundle.manifest, new.bundle.manifest
        alike = (was.name, was.windowing, was.channels, was.task, was.labels, was.unit)
        if alike != (now.name, now.windowing, now.channels, now.task, now.labels, now.unit):
            raise ConfigError(
                f"Model {old.name!r} cannot be replaced by {new.name!r}: it must read and answer the same."
            )
        self.models = tuple(new if model is old else model for model in self.models)
        for routes in self._routes.values():
            for _, models in routes:
                models[:] = [new if model is old else model for model in models]
        self._writer.know(self.models)

    def close(self) -> None:
        """Let go of the models."""
        for model in self.models:
            model.close()

    def flush(self) -> list[FusedResult]:
        """Give what is still waiting for late samples or absent sensors: the sources have ended."""
        jobs: list[tuple[Model, Window]] = []
        for routes in self._routes.values():
            for windower, models in routes:
                windows = windower.flush()
                self._counters.count("windows", len(windows))
                jobs += [(model, window) for window in windows for model in models]
        results = self.join(_NOTHING, [model.predict(window) for model, window in jobs])
        return results + self._results(self._aligner.flush())

    def _route(self, sensor: str, windowing: Windowing, channels: int, model: Model) -> None:
        routes = self._routes.setdefault(sensor, [])
        for windower, models in routes:
            if windower.spec == windowing:
                models.append(model)
                return
        windower = Windower(windowing, sensor=sensor, channels=channels, lateness_ns=self._late_samples_ns)
        routes.append((windower, [model]))

    def _results(self, moments: Sequence[Moment]) -> list[FusedResult]:
        return [self._writer.write(moment) for moment in moments]


def _check_models(models: Sequence[Model]) -> None:
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
