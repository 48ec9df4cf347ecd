from __future__ import annotations

import numpy as np
import pytest

from edge_sdk.base.errors import BackendUnavailableError, InferenceError, UnavailableReason
from edge_sdk.contract.manifest import Variant
from edge_sdk.inference.base import Backend, BackendRequest
from edge_sdk.inference.delegates import Delegate
from edge_sdk.inference.litert import open_litert
from tests.models import INPUT, OUTPUT, expected, tflite_model, weights, window

MODEL = tflite_model(weights())
VARIANT = Variant(file="float32.tflite", format="tflite", precision="float32", inputs=(INPUT,), outputs=(OUTPUT,))


def opened(*delegates: Delegate) -> Backend:
    return open_litert(MODEL, VARIANT, BackendRequest(delegates=delegates))


def shares(backend: Backend) -> dict[str, float]:
    return {part.delegate: part.share_of_operations for part in backend.coverage}


def test_without_a_wish_xnnpack_takes_the_model_and_says_its_share() -> None:
    assert shares(opened()) == {"xnnpack": 1.0}


def test_none_is_no_delegate_at_all() -> None:
    assert shares(opened(Delegate(name="none"))) == {}


def test_an_external_delegate_computes_and_the_share_it_really_took_is_read_back(delegate_library: str) -> None:
    backend = opened(Delegate(library=delegate_library), Delegate(name="none"))

    [answer] = backend.run([window().samples[None]])

    np.testing.assert_allclose(answer[0], expected(window().samples, weights()), atol=1e-6)
    assert shares(backend) == {"libtestdelegate.so": 0.5}  # the dense layer, and not the softmax after it
    assert backend.coverage[0].partitions == 1
    assert backend.coverage[0].checked_by == "run"


def test_what_an_external_delegate_leaves_is_taken_by_xnnpack(delegate_library: str) -> None:
    assert shares(opened(Delegate(name="mine", library=delegate_library))) == {"mine": 0.5, "xnnpack": 0.5}


def test_a_library_that_is_not_there_is_said_with_its_cure() -> None:
    with pytest.raises(BackendUnavailableError, match="libedgetpu1-std") as raised:
        opened(Delegate(name="edgetpu"))
    assert raised.value.reason is UnavailableReason.LIBRARY_NOT_FOUND


def test_a_library_that_is_no_delegate_is_said() -> None:
    with pytest.raises(BackendUnavailableError, match="tflite_plugin_create_delegate") as raised:
        opened(Delegate(library="libc.so.6"))
    assert raised.value.reason is UnavailableReason.LIBRARY_NOT_FOUND


def test_a_delegate_that_finds_no_device_is_quoted(delegate_library: str) -> None:
    with pytest.raises(BackendUnavailableError, match="finds no device") as raised:
        opened(Delegate(library=delegate_library, options={"mode": "refuse"}))
    assert raised.value.reason is UnavailableReason.NO_DEVICE


def test_a_wrong_option_is_quoted_from_the_delegate(delegate_library: str) -> None:
    with pytest.raises(BackendUnavailableError, match="knows the options"):
        opened(Delegate(library=delegate_library, options={"speed": 11}))


def test_a_delegate_that_fails_at_prepare_is_an_error_and_not_a_silent_cpu(delegate_library: str) -> None:
    with pytest.raises(BackendUnavailableError, match="fails at prepare") as raised:
        opened(Delegate(library=delegate_library, options={"mode": "fail_prepare"}))
    assert raised.value.reason is UnavailableReason.REFUSED_MODEL


def test_a_delegate_that_fails_at_the_thousandth_call_fails_that_call_alone(delegate_library: str) -> None:
    backend = opened(Delegate(library=delegate_library, options={"mode": "fail", "at": 1000}))
    for _ in range(999):
        backend.run([window().samples[None]])

    with pytest.raises(InferenceError, match="fails at invocation 1000"):
        backend.run([window().samples[None]])


def test_two_external_delegates_for_one_model_are_refused(delegate_library: str) -> None:
    with pytest.raises(BackendUnavailableError, match="one external delegate"):
        opened(Delegate(library=delegate_library), Delegate(name="edgetpu"))


@pytest.mark.parametrize(("name", "hint"), [("edgtpu", "Did you mean 'edgetpu'"), ("nnapi", "NNAPI is Android's")])
def test_a_name_that_this_runtime_cannot_have_is_said(name: str, hint: str) -> None:
    with pytest.raises(BackendUnavailableError, match=hint) as raised:
        opened(Delegate(name=name))
    assert raised.value.reason is UnavailableReason.NOT_COMPILED_IN
