"""Writes the node tests of the installed `onnx` package as files: python node_tests.py OUT_DIR

OUT_DIR/NAME/model.onnx
OUT_DIR/NAME/test_data_set_N/input_I.pb, output_O.pb    one TensorProto each
OUT_DIR/NAME/tolerance                                  "rtol atol"

Cases whose inputs or outputs are no dense tensors (sequences, maps, optionals) keep their model, without data.
"""

import sys
from pathlib import Path

import numpy
import onnx
from onnx import numpy_helper
from onnx.backend.test.case.node import collect_testcases


def tensor(value, name):
    """The message of one value, or None where the value is no dense tensor."""
    if isinstance(value, onnx.TensorProto):
        return value
    if isinstance(value, (numpy.ndarray, numpy.generic)):
        return numpy_helper.from_array(numpy.asarray(value), name)
    return None


def messages(values, infos):
    return [tensor(value, info.name) for value, info in zip(values, infos)]


def write_case(case, folder):
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(case.model.SerializeToString())
    (folder / "tolerance").write_text(f"{case.rtol} {case.atol}")
    graph = case.model.graph
    for number, (inputs, outputs) in enumerate(case.data_sets):
        parts = {"input": messages(inputs, graph.input), "output": messages(outputs, graph.output)}
        if any(message is None for part in parts.values() for message in part):
            continue
        data_set = folder / f"test_data_set_{number}"
        data_set.mkdir()
        for part, values in parts.items():
            for index, message in enumerate(values):
                (data_set / f"{part}_{index}.pb").write_bytes(message.SerializeToString())


def main():
    out = Path(sys.argv[1])
    cases = collect_testcases(None)
    for case in cases:
        write_case(case, out / case.name)
    print(len(cases), "node tests from onnx", onnx.__version__)


main()
