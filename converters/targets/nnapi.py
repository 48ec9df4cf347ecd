"""NNAPI as ONNX Runtime's own usability checker judges, beside the limits that it does not check."""

from __future__ import annotations

from msgspec.structs import replace

from converters.targets.delegation import Delegation, summary


def with_checker(model: bytes, told: Delegation) -> Delegation:
    """What the rules say, and no more than the checker allows.

    The checker knows which operators ONNX Runtime's NNAPI provider has, and counts none whose shape is open; the
    limits of each operator it only prints. The rules know the limits.

    Args:
        model: The ONNX file.
        told: By the rules.
    """
    import onnx
    from onnxruntime.tools.mobile_helpers.usability_checker import check_nnapi_partitions

    tree = onnx.shape_inference.infer_shapes(onnx.load_from_string(model))
    info = check_nnapi_partitions(tree, require_fixed_input_sizes=True)
    taken = {node.output[0] for group in info.supported_groups for node in group}
    known = {node.output[0] for node in tree.graph.node}
    verdicts = [
        verdict
        if not verdict.is_delegated or verdict.name in taken or verdict.name not in known
        else replace(verdict, is_delegated=False, reason="ONNX Runtime's usability checker does not count it")
        for verdict in told.verdicts
    ]
    note = (
        f"ONNX Runtime's own usability checker: {info.num_supported_nodes} of {info.num_nodes} nodes in "
        f"{info.num_partitions} part(s); suitable: {info.suitability().name.lower()}."
    )
    return summary("nnapi", "rules", verdicts, notes=(*told.notes, note), sources=told.sources)
