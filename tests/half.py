"""Loads models in ONNX Runtime and prints, for each, how many Cast operators are left in the graph that it runs."""
import os
import sys
import tempfile

import onnx
import onnxruntime


def casts(graph):
    inner = lambda node: sum(casts(a.g) for a in node.attribute if a.type == onnx.AttributeProto.GRAPH)
    return sum((node.op_type == "Cast") + inner(node) for node in graph.node)


onnxruntime.set_default_logger_severity(4)
for path in sys.argv[1:]:
    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        # What comes from constants alone is computed at this level; the next ones use operators of the runtime's own.
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = os.path.join(folder, "optimised.onnx")
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        print(casts(onnx.load(options.optimized_model_filepath).graph))
