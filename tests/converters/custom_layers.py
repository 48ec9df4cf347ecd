"""A layer that Keras does not know, as a user writes one."""

from __future__ import annotations

from typing import Any

import keras


class Squash(keras.layers.Layer):  # type: ignore[misc]
    """Scales, then takes the hyperbolic tangent."""

    def __init__(self, gain: float = 2.0, **options: Any) -> None:
        super().__init__(**options)
        self.gain = gain

    def call(self, x: Any) -> Any:
        return keras.ops.tanh(x * self.gain)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gain": self.gain}
