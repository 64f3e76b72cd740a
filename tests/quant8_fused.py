"""Prints the operators of a model after ONNX Runtime has optimised it for the CPU, one `Name count` a line."""

import collections
import os
import sys
import tempfile

import onnx
import onnxruntime

onnxruntime.set_default_logger_severity(3)
with tempfile.TemporaryDirectory() as folder:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.optimized_model_filepath = os.path.join(folder, "optimized.onnx")
    onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
    graph = onnx.load(options.optimized_model_filepath).graph
for name, count in sorted(collections.Counter(node.op_type for node in graph.node).items()):
    print(name, count)
