"""Delegation: which operators a delegate takes, why not the others, and what would change that; by published rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from math import prod
from pathlib import Path

import msgspec

from converters.targets.graph import Graph, Operator
from edge_sdk.base.errors import ConfigError, nearest
from edge_sdk.contract.manifest import Coverage

_TABLE = Path(__file__).with_name("delegates.json")


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Under which conditions a delegate takes an operator.

    Attributes:
        limit: In words, as its documentation says it.
        checks: The part of it that can be told from the file: names of `CHECKS`.
    """

    limit: str = ""
    checks: tuple[str, ...] = ()


class Rules(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What one delegate takes.

    Attributes:
        format: File format that it works on.
        title: For people.
        precisions: What it computes in.
        sources: Where the rules come from.
        every: Checks that hold for every operator.
        cut_at_first: Everything after the first operator that it does not take stays on the CPU.
        operators: By kind.
        advice: What to do about an operator that it does not take.
    """

    format: str
    title: str
    precisions: tuple[str, ...]
    sources: tuple[str, ...]
    every: tuple[str, ...]
    cut_at_first: bool
    operators: dict[str, Rule]
    advice: dict[str, str]


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """What becomes of one operator.

    Attributes:
        index: Its place in the order.
        operator: Its kind.
        name: Its output's name.
        macs: Multiply-accumulates.
        is_delegated: Whether the delegate takes it.
        reason: Why not; empty when it does.
        advice: What would change that; may be empty.
    """

    index: int
    operator: str
    name: str
    macs: int
    is_delegated: bool
    reason: str = ""
    advice: str = ""


class Delegation(msgspec.Struct, frozen=True, kw_only=True):
    """What a delegate takes of a model.

    Attributes:
        delegate: Whose rules.
        checked_by: ``rules`` (told in advance), ``run`` (seen) or ``compiler``.
        share_of_operations: 0 to 1.
        share_of_macs: 0 to 1; of the work rather than of the names.
        partitions: Contiguous parts that it takes: each costs two hand-overs.
        verdicts: One for each operator.
        notes: What one must know.
        sources: Where the rules come from.
    """

    delegate: str
    checked_by: str
    share_of_operations: float
    share_of_macs: float
    partitions: int
    verdicts: tuple[Verdict, ...]
    notes: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def in_parts(self, partitions: int) -> Delegation:
        """The same, in as many parts as were counted elsewhere."""
        return msgspec.structs.replace(self, partitions=partitions)

    @property
    def coverage(self) -> Coverage:
        """As the manifest records it."""
        checked_by = self.checked_by
        assert checked_by in {"rules", "run", "compiler"}
        return Coverage(
            delegate=self.delegate,
            share_of_operations=round(self.share_of_operations, 4),
            checked_by=checked_by,  # type: ignore[arg-type]  # checked above
            partitions=self.partitions,
        )


def delegation(graph: Graph, delegate: str, *, as_int8: bool = False) -> Delegation:
    """Tell what a delegate takes of a model.

    Args:
        graph: The model.
        delegate: ``xnnpack``, ``edgetpu``, ``gpu``, ``nnapi``, ``tensorrt``, ``cuda``.
        as_int8: Take a float model as what int8 quantization will make of it: 8-bit activations and weights.

    Raises:
        ConfigError: No rules for that delegate, or for another file format.
    """
    name = delegate
    if delegate == "xnnpack":
        name = "xnnpack_int8" if graph.is_quantized or as_int8 else "xnnpack_float"
    if delegate == "cuda":
        name = "tensorrt"
    if name not in _load():
        raise ConfigError(f"There are no rules for delegate {delegate!r}. {nearest(delegate, delegates())}")
    rules = _load()[name]
    if rules.format != graph.format:
        raise ConfigError(f"{rules.title} takes {rules.format} models, not {graph.format}.")
    if graph.is_compiled:
        return _compiled(graph, delegate, rules)
    verdicts: list[Verdict] = []
    cut = False
    for operator in graph.operators:
        reason = _refuse(operator, rules, as_int8=as_int8)
        advice = rules.advice.get(operator.kind, "") if reason else ""
        if rules.cut_at_first and cut and not reason:
            reason = "it comes after the first operator that stays on the CPU"
        cut = cut or bool(reason)
        verdicts.append(
            Verdict(
                index=operator.index,
                operator=operator.kind,
                name=operator.name,
                macs=operator.macs,
                is_delegated=not reason,
                reason=reason,
                advice=advice,
            )
        )
    return summary(delegate, "rules", verdicts, notes=_notes(graph, delegate, as_int8=as_int8), sources=rules.sources)


def summary(
    delegate: str,
    checked_by: str,
    verdicts: list[Verdict],
    *,
    notes: tuple[str, ...] = (),
    sources: tuple[str, ...] = (),
) -> Delegation:
    """Count what the verdicts say."""
    taken = [verdict for verdict in verdicts if verdict.is_delegated]
    macs = sum(verdict.macs for verdict in verdicts)
    partitions, before = 0, False
    for verdict in verdicts:
        partitions += verdict.is_delegated and not before
        before = verdict.is_delegated
    return Delegation(
        delegate=delegate,
        checked_by=checked_by,
        share_of_operations=len(taken) / len(verdicts) if verdicts else 0.0,
        share_of_macs=sum(verdict.macs for verdict in taken) / macs if macs else float(bool(taken)),
        partitions=partitions,
        verdicts=tuple(verdicts),
        notes=notes,
        sources=sources,
    )


def delegates() -> tuple[str, ...]:
    """Names that `delegation` knows."""
    return ("cuda", "edgetpu", "gpu", "nnapi", "tensorrt", "xnnpack")


def format_of(delegate: str) -> str:
    """The file format that a delegate works on."""
    return "onnx" if delegate in {"nnapi", "tensorrt", "cuda"} else "tflite"


def _refuse(operator: Operator, rules: Rules, *, as_int8: bool) -> str:
    """Why the delegate does not take the operator; empty when it does."""
    rule = rules.operators.get(operator.kind)
    if rule is None:
        return f"{rules.title} has no {operator.kind}"
    for check in (*rules.every, *rule.checks):
        if as_int8 and check in _ABOUT_TYPES:
            continue
        reason = CHECKS[check](operator)
        if reason:
            return reason
    return ""


def _compiled(graph: Graph, delegate: str, rules: Rules) -> Delegation:
    from converters.targets.graph import COMPILED

    verdicts = [
        Verdict(
            index=operator.index,
            operator=operator.kind,
            name=operator.name,
            macs=operator.macs,
            is_delegated=operator.kind == COMPILED and delegate == "edgetpu",
            reason="" if operator.kind == COMPILED and delegate == "edgetpu" else "left on the CPU by the compiler",
        )
        for operator in graph.operators
    ]
    note = "The model is compiled for the Edge TPU already: one operator stands for all that was mapped."
    return summary(delegate, "compiler", verdicts, notes=(note,), sources=rules.sources)


_CACHE_BYTES = 8 * 1024 * 1024


def _notes(graph: Graph, delegate: str, *, as_int8: bool) -> tuple[str, ...]:
    notes = []
    if delegate == "edgetpu":
        notes.append("Checked by rules, not compiled: edgetpu_compiler is not on PATH, or the model is not int8 yet.")
        weights = graph.weight_bytes // (1 if graph.is_quantized or not as_int8 else 4)
        if weights > _CACHE_BYTES:
            notes.append(
                f"Weights of about {weights / 1024**2:.1f} MiB exceed the 8 MiB on the chip: the rest is streamed over "
                "USB at each run. Make the model smaller."
            )
        if graph.n_graphs > 1:
            notes.append("Control flow (several sub-graphs) is never mapped.")
    if delegate == "gpu" and (graph.is_quantized or as_int8):
        notes.append("The GPU computes int8 models in float: smaller, not faster.")
    if delegate == "cuda":
        notes.append("CUDA is judged by TensorRT's table: what TensorRT takes, ONNX Runtime's CUDA provider has too.")
    return tuple(notes)


@lru_cache(maxsize=1)
def _load() -> dict[str, Rules]:
    return msgspec.json.decode(_TABLE.read_bytes(), type=dict[str, Rules])


def _activation(operator: Operator) -> str:
    fused = operator.options.get("fusedActivationFunction", "NONE")
    return str(fused)


def _integer_8(operator: Operator) -> str:
    given = operator.given[:1] if "LSTM" in operator.kind else operator.given  # its own state is int16 by definition
    wrong = {v.dtype for v in (*given, *operator.outputs)} - {"int8", "uint8"}
    return f"it works on {', '.join(sorted(wrong))}; wanted is int8" if wrong else ""


def _integer_8_out(operator: Operator) -> str:
    wrong = {v.dtype for v in operator.outputs} - {"int8", "uint8"}
    return f"it gives {', '.join(sorted(wrong))}; wanted is int8" if wrong else ""


def _float_out(operator: Operator) -> str:
    wrong = {v.dtype for v in operator.outputs} - {"float32", "float16"}
    return f"it gives {', '.join(sorted(wrong))}; wanted is float" if wrong else ""


def _fixed_shape(operator: Operator) -> str:
    open_ = [v.name for v in (*operator.given, *operator.outputs) if any(n < 0 for n in v.shape)]
    return f"{open_[0]} has an open dimension" if open_ else ""


def _three_inner(operator: Operator) -> str:
    wide = [v for v in (*operator.given, *operator.outputs) if len(v.shape) > 3 and prod(v.shape[:-3]) != 1]
    return f"{wide[0].name} is {wide[0].shape}: only the three inner dimensions may exceed 1" if wide else ""


def _flat_output(operator: Operator) -> str:
    shape = operator.outputs[0].shape
    return f"its output {shape} is not one-dimensional" if prod(shape[:-1]) > 1 else ""


def _keeps_batch(operator: Operator) -> str:
    axes = operator.inputs[1].data if len(operator.inputs) > 1 else None
    return "it reduces over the batch" if axes is not None and 0 in axes else ""


def _axes_hw(operator: Operator) -> str:
    axes = operator.inputs[1].data if len(operator.inputs) > 1 else None
    allowed = {(1, 2), (2, 1), (2,)}
    return "" if axes in allowed else f"it averages over axes {axes}; height and width are taken"


def _pad_not_batch(operator: Operator) -> str:
    pads = operator.inputs[1].data if len(operator.inputs) > 1 else None
    return "it pads the batch" if pads is not None and any(pads[:2]) else ""


def _unit_strides(operator: Operator) -> str:
    strides = operator.inputs[3].data if len(operator.inputs) > 3 else None
    if strides is not None and set(strides) != {1}:
        return f"its strides are {strides}; all must be 1"
    masks = [operator.options.get(name) for name in ("ellipsisMask", "newAxisMask")]
    return "it has an ellipsis or new-axis mask" if any(masks) else ""


def _leading_ones(operator: Operator) -> str:
    shape = operator.inputs[0].shape
    inner = [n for n in shape if n != 1]
    return "" if not inner or tuple(shape[-len(inner) :]) == tuple(inner) else f"squeezing {shape} needs a new layout"


def _zero_point_zero(operator: Operator) -> str:
    points = operator.inputs[2].data if len(operator.inputs) > 2 else (0,)
    return "" if points is None or not any(points) else "its zero point is not 0: quantize symmetrically"


def _constant_weights(operator: Operator) -> str:
    return "" if len(operator.given) <= 1 else f"{operator.given[1].name} is computed; it must be constant"


CHECKS: Mapping[str, Callable[[Operator], str]] = {
    "at_most_16000": lambda op: "more than 16000 elements" if prod(op.inputs[0].shape) > 16000 else "",
    "axes_hw": _axes_hw,
    "axis_not_batch": lambda op: "it works on the batch" if op.options.get("axis") == 0 else "",
    "beta_one": lambda op: "" if op.options.get("beta", 1.0) == 1.0 else "its beta is not 1",
    "constant_weights": _constant_weights,
    "dcr_mode": lambda op: "" if op.options.get("mode", b"DCR") == b"DCR" else "its mode is not DCR",
    "default_weights": lambda op: "" if not op.options.get("weightsFormat") else "its weights are shuffled",
    "fixed_shape": _fixed_shape,
    "flat_output": _flat_output,
    "float_out": _float_out,
    "four_d": lambda op: "" if len(op.inputs[0].shape) == 4 else f"it works on {len(op.inputs[0].shape)} dimensions",
    "gpu_activation": lambda op: "SIGN_BIT is not taken" if _activation(op) == "SIGN_BIT" else "",
    "integer_8": _integer_8,
    "integer_8_out": _integer_8_out,
    "keeps_batch": _keeps_batch,
    "leading_ones": _leading_ones,
    "no_activation": lambda op: "" if _activation(op) == "NONE" else f"{_activation(op)} is fused into it",
    "no_constant_input": lambda op: "" if len(op.given) == len(op.inputs) else "one input is constant",
    "no_int16": lambda op: "it works on int16" if any(v.dtype == "int16" for v in op.outputs) else "",
    "pad_constant_mode": lambda op: (
        "" if op.options.get("mode", b"constant") == b"constant" else "its mode is not constant"
    ),
    "pad_not_batch": _pad_not_batch,
    "relu_only": lambda op: (
        "" if _activation(op) in {"NONE", "RELU", "RELU6", "RELU_N1_TO_1"} else f"{_activation(op)} is fused into it"
    ),
    "same_dilation": lambda op: (
        "" if op.options.get("dilationWFactor", 1) == op.options.get("dilationHFactor", 1) else "its dilations differ"
    ),
    "three_inner": _three_inner,
    "three_or_four_d": lambda op: "" if len(op.inputs[0].shape) in {3, 4} else f"{len(op.inputs[0].shape)} dimensions",
    "two_inputs": lambda op: "" if len(op.inputs) == 2 else f"it has {len(op.inputs)} inputs",
    "two_to_four_inputs": lambda op: "" if 2 <= len(op.inputs) <= 4 else f"it has {len(op.inputs)} inputs",
    "two_to_four_outputs": lambda op: "" if 2 <= len(op.outputs) <= 4 else f"it has {len(op.outputs)} outputs",
    "unit_strides": _unit_strides,
    "zero_point_zero": _zero_point_zero,
    "version_at_most_2": lambda op: "" if op.version <= 2 else f"its version {op.version} is too new for the compiler",
}
_ABOUT_TYPES = {"integer_8", "integer_8_out", "float_out"}
