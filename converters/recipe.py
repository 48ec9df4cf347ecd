"""The recipe: what the model file cannot know, and the station must."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from edge_sdk.base.errors import BundleFormatError, ConfigError, ConversionError, nearest
from edge_sdk.base.ids import check_id
from edge_sdk.base.yaml import read_plain
from edge_sdk.contract.manifest import Channel, Step, Windowing
from edge_sdk.inference.layout import shape_after
from edge_sdk.inference.preprocess import Preprocess


class Recipe(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the model file cannot know.

    Attributes:
        name: The model's name, an id; empty = the model file's name.
        release: Number of this release of the model: a station that is updated from afar refuses a lower one.
        task: ``classification`` or ``regression``.
        sensor: Kind of sensor, for people; empty = `name`.
        channels: The sensor's channels, in order; empty = ``c0, c1 …`` as many as the model takes.
        windowing: How samples become windows; None = derived from the model's input shape and `rate_hz`.
        rate_hz: Samples a second, where `windowing` is derived; None = 1, with a warning.
        preprocess: Steps from a window in physical units to the model's input, in order.
        labels: What the outputs mean, in order; empty = ``0, 1 …``.
        unit: Unit of the estimate (regression).
        value_range: Lowest and highest estimate that can be right (regression).
        reconstructs: The model is an autoencoder: the estimate is how far its answer is from its input (regression).
        temperature: Calibration temperature of the probabilities (Guo et al. 2017); None = fitted on the evaluation
            data, where it has truth, 50 windows and none of the calibration data; else 1.
        answer: Name of the output that answers, where the model has several; empty = the first.
        features: Name of the output, or in Keras and ONNX of a layer, that is handed on to fusion beside the answer;
            empty = of two outputs the other one, else none.
    """

    name: str = ""
    release: int = 0
    task: Literal["classification", "regression"] = "classification"
    sensor: str = ""
    channels: tuple[Channel, ...] = ()
    windowing: Windowing | None = None
    rate_hz: float | None = None
    preprocess: tuple[Step, ...] = ()
    labels: tuple[str, ...] = ()
    unit: str = ""
    value_range: tuple[float, float] | None = None
    reconstructs: bool = False
    temperature: float | None = None
    answer: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        if self.name:
            check_id("The recipe's name", self.name)
        if self.windowing is not None and (
            self.windowing.length < 1 or self.windowing.stride < 1 or not self.windowing.rate_hz > 0
        ):
            raise ConfigError(f"windowing wants positive length, stride and rate_hz; given is {self.windowing}.")
        for what, names in (("labels", self.labels), ("channels", tuple(channel.name for channel in self.channels))):
            if len(set(names)) != len(names):
                raise ConfigError(f"The recipe's {what} are not all different: {', '.join(names)}. Rename the twins.")
        if self.value_range is not None and (
            self.task != "regression" or not self.value_range[0] <= self.value_range[1]
        ):
            raise ConfigError(
                f"value_range is {list(self.value_range)}, task is {self.task}; wanted is a regression, and the lower "
                "end first."
            )
        if self.reconstructs and self.task != "regression":
            raise ConfigError("`reconstructs: true` is a regression; say `task: regression` as well.")
        if self.temperature is not None and not self.temperature > 0:
            raise ConfigError(f"temperature is {self.temperature}; wanted is a positive number, 1 = as the model says.")

    @classmethod
    def read(cls, path: Path | str) -> Recipe:
        """Read ``recipe.yaml``.

        Short forms are allowed: a channel as its name alone, a step as ``{scale: {factor: 0.5}}``, no `stride`
        (= `length`), labels as numbers.

        Raises:
            ConfigError: Not there, not YAML, an unknown key (the message offers the nearest), or a wrong value.
        """
        path = Path(path)
        given = read_plain(path)
        try:
            return cls.parse({} if given is None else given)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def parse(cls, given: object) -> Recipe:
        """Build a recipe from plain data, short forms allowed.

        Raises:
            ConfigError: An unknown key, or a wrong value; the message names it.
        """
        if not isinstance(given, Mapping):
            raise ConfigError(f"A recipe is a mapping of names to values; given is a {type(given).__name__}.")
        plain = {str(key): value for key, value in given.items()}
        _check_keys("a recipe", plain, cls)
        if isinstance(plain.get("channels"), list):
            plain["channels"] = [_channel(channel) for channel in plain["channels"]]
        if isinstance(plain.get("preprocess"), list):
            plain["preprocess"] = [_step(step) for step in plain["preprocess"]]
        if isinstance(plain.get("labels"), list):
            plain["labels"] = [str(label) for label in plain["labels"]]
        windowing = plain.get("windowing")
        if isinstance(windowing, Mapping):
            _check_keys("windowing", windowing, Windowing)
            plain["windowing"] = {"stride": windowing.get("length"), **windowing}
        try:
            return msgspec.convert(plain, cls)
        except msgspec.ValidationError as error:
            raise ConfigError(str(error)) from error

    def completed(self, *, name: str, input_shape: tuple[int, ...], n_answers: int) -> Recipe:
        """Fill in what the model says: windowing, channels and labels that were not given.

        Args:
            name: Used where the recipe has none.
            input_shape: The model's input, the batch of 1 included.
            n_answers: Number of values that the model answers with.

        Raises:
            ConversionError: Recipe and model do not fit together; both sides are in the message.
        """
        length, n_channels = window_shape(input_shape)
        windowing, channels, labels = self.windowing, self.channels, self.labels
        if windowing is not None:
            length = windowing.length
        if windowing is not None or channels:
            n_channels = len(channels) or max(1, _size(input_shape) // length)
            if windowing is None:
                length = _size(input_shape) // n_channels
        prepared = _prepared(self.preprocess, (length, n_channels), is_said=windowing is not None and bool(channels))
        if _size(prepared) != _size(input_shape):
            became = "" if prepared == (length, n_channels) else f", preprocessed {prepared[0]} of {prepared[1]}"
            raise ConversionError(
                f"The model takes {input_shape}, that is {_size(input_shape)} numbers; the recipe gives windows of "
                f"{length} samples of {n_channels} channels{became} = {_size(prepared)}. Mend windowing.length, "
                "channels or preprocess."
            )
        if windowing is None:
            windowing = Windowing(length=length, stride=length, rate_hz=self.rate_hz or 1.0)
        if self.task == "classification":
            labels = labels or tuple(str(index) for index in range(n_answers))
            if len(labels) != n_answers:
                raise ConversionError(
                    f"The model answers with {n_answers} values, and the recipe has {len(labels)} labels "
                    f"({', '.join(labels[:8])}). Give one label per value, in the model's order."
                )
        elif self.reconstructs:
            if n_answers != _size(input_shape):
                raise ConversionError(
                    f"The model takes {_size(input_shape)} values and answers with {n_answers}: it does not "
                    "reconstruct its input. Leave `reconstructs` out."
                )
        elif n_answers != 1:
            raise ConversionError(
                f"The model answers with {n_answers} values; a regression answers with one. "
                "Give the model one output, say `task: classification`, or for an autoencoder `reconstructs: true`."
            )
        return msgspec.structs.replace(
            self,
            name=self.name or check_id("The model's name", name),
            sensor=self.sensor or self.name or name,
            channels=channels or tuple(Channel(name=f"c{index}") for index in range(n_channels)),
            windowing=windowing,
            labels=labels,
        )


def window_shape(input_shape: tuple[int, ...]) -> tuple[int, int]:
    """(length, channels) of a model input ``(1, …, channels)``: a vector is one sample of many channels."""
    inner = input_shape[1:]
    if not inner:
        return 1, 1
    return _size(inner[:-1]), inner[-1]


def _prepared(steps: tuple[Step, ...], window: tuple[int, int], *, is_said: bool) -> tuple[int, int]:
    """Shape of a window after preprocessing.

    Raises:
        ConversionError: The steps change it, and the recipe does not say what it was, or they do not work on it.
    """
    try:
        prepared = shape_after(Preprocess.of(steps), window)
    except BundleFormatError as error:
        cure = "" if is_said else " Say windowing and channels in the recipe."
        raise ConversionError(f"{error}{cure}") from error
    if prepared != window and not is_said:
        raise ConversionError(
            f"Preprocessing ({', '.join(step.kind for step in steps)}) changes the shape of a window: what it was "
            "cannot be told from the model. Say windowing and channels in the recipe."
        )
    return prepared


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for n in shape:
        size *= n
    return size


def _check_keys(what: str, given: Mapping[Any, Any], struct: type[msgspec.Struct]) -> None:
    known = struct.__struct_fields__
    for key in given:
        if key not in known:
            raise ConfigError(f"{key!r} is not a key of {what}. {nearest(str(key), known)}")


def _channel(given: object) -> object:
    if isinstance(given, str):
        return {"name": given}
    if isinstance(given, Mapping):
        plain = dict(given)
        if isinstance(span := plain.pop("range", None), list) and len(span) == 2:
            plain["minimum"], plain["maximum"] = span
        _check_keys("a channel", plain, Channel)
        return plain
    return given


def _step(given: object) -> object:
    if isinstance(given, str):
        return {"kind": given}
    if isinstance(given, Mapping) and len(given) == 1 and "kind" not in given:
        [(kind, options)] = given.items()
        return {"kind": kind, "options": options or {}}
    return given
