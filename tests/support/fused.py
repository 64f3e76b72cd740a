"""Prints the operators of models as ONNX Runtime runs them: one line for each file, names separated by spaces."""
import sys

import onnx
import onnxruntime as ort

for path in sys.argv[1:]:
    options = ort.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = path + ".optimized"
    ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    print(" ".join(node.op_type for node in onnx.load(path + ".optimized").graph.node))
