"""Loads PyTorch models, as ``torch.export.save`` writes them; through PyTorch's own exporter they become ONNX."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxscript  # the exporter stands on it: missing, it is to be said before the work
import torch

from converters.load.onnx import OnnxModel, load_onnx
from converters.load.shapes import first_line
from edge_sdk.base.errors import ConversionError

OPSET = 18  # the lowest that PyTorch's exporter writes; ONNX Runtime 1.14 and newer


def load_torch(path: Path, folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> OnnxModel:
    """Load a ``.pt2`` file.

    Raises:
        ConversionError: It is none, PyTorch cannot write it as ONNX, or what it writes answers otherwise.
    """
    torch.set_num_threads(1)
    try:
        program = torch.export.load(path)
    except Exception as error:  # zip, pickle and schema errors share no root
        raise ConversionError(
            f"{path} is no program of torch.export: {first_line(error)}. Make one: "
            "torch.export.save(torch.export.export(net.eval(), (example,)), 'model.pt2')"
        ) from error
    target = folder / "torch.onnx"
    try:
        torch.onnx.export(program, (), target, dynamo=True, opset_version=OPSET, external_data=False, verbose=False)
    except Exception as error:  # the exporter raises what its passes raise
        raise ConversionError(f"PyTorch cannot write {path} as ONNX: {first_line(error)}") from error
    read = load_onnx(target, folder, shapes)
    read.versions |= {"torch": str(torch.__version__), "onnxscript": onnxscript.__version__}
    _compare(path, program, read)
    return read


def _compare(path: Path, program: Any, loaded: OnnxModel) -> None:
    """Refuse an export that answers otherwise than the program itself."""
    example = np.random.default_rng(0).normal(size=loaded.input_shape).astype(np.float32)
    if len(program.graph_signature.user_inputs) != 1:
        return  # joined inputs: the proof compares every variant with the ONNX model
    with torch.no_grad():
        answer = program.module()(torch.from_numpy(example))
    first = answer[0] if isinstance(answer, tuple | list) else answer
    difference = float(np.abs(first.numpy().reshape(1, -1) - loaded.answer(example)).max())
    if difference > 1e-3 * max(1.0, float(first.abs().max())):
        raise ConversionError(f"{path}: the ONNX model differs from PyTorch's by {difference:.3g}.")
