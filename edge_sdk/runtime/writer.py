"""The writer: a moment and the fuser's answer become the result that subscribers read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import UNSET, UnsetType

from edge_sdk.base.clock import ClockState, to_datetime
from edge_sdk.contract.prediction import ContributorState, Prediction
from edge_sdk.contract.result import Contributor, FusedResult
from edge_sdk.fusion.base import Fused, Fuser
from edge_sdk.inference.model import Model
from edge_sdk.windowing.align import Moment


class ResultWriter:
    """Fuses moments of one stream and writes down what came out, with every contributor's part in it.

    Args:
        stream: Name of the stream.
        fuser: How predictions become one.
        models: The contributors.
    """

    def __init__(self, stream: str, fuser: Fuser, models: Sequence[Model]) -> None:
        self._stream, self._fuser = stream, fuser
        first = models[0].bundle.manifest
        self._labels, self._unit = first.labels, first.unit
        self.written = 0
        self.know(models)

    def know(self, models: Sequence[Model]) -> None:
        """Take note of the models as they are now."""
        self._models = tuple(models)
        self._digests = {model.name: model.bundle.digest for model in models}

    def write(self, moment: Moment) -> FusedResult:
        """Fuse one moment."""
        predictions = moment.predictions
        fused = self._fuser.fuse(predictions)
        fresh = [prediction for prediction in predictions if prediction.state is ContributorState.FRESH]
        absent = () if len(fresh) == len(predictions) else tuple(one.model for one in predictions if one not in fresh)
        fallen = tuple([f"fallback.{model.name}" for model in self._models if model.fallback])
        seen = fresh or predictions
        self.written += 1
        return FusedResult(
            stream=self._stream,
            t=to_datetime(moment.t_ns),
            observed=to_datetime(max([prediction.observed_ns for prediction in seen]) or moment.t_ns),
            clock=_clock(seen),
            method=self._fuser.name,
            degraded=bool(absent or fallen),
            contributors=tuple([self._contributor(prediction, moment.t_ns, fused) for prediction in predictions]),
            absent=absent,
            flags=fallen + (fused.flags if fused else ("no_answer",)),
            **(self._answer(fused) if fused else {}),
        )

    def _answer(self, fused: Fused) -> dict[str, Any]:
        if fused.probabilities is not None:
            best = int(fused.probabilities.argmax())
            rounded = [round(p, 4) for p in fused.probabilities.tolist()]
            return {
                "label": self._labels[best],
                "confidence": rounded[best],
                "probabilities": dict(zip(self._labels, rounded, strict=True)),
                "set": tuple([self._labels[index] for index in fused.set]) or UNSET,
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
            label, confidence = self._labels[best], round(prediction.probabilities.item(best), 4)
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
    for prediction in predictions:
        if prediction.clock is ClockState.UNSYNCED:
            return ClockState.UNSYNCED
    return ClockState.SYNCED
