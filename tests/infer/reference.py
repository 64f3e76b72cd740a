"""Prints what onnx.shape_inference knows of a model once its value_info is removed: python reference.py MODEL OUT_MODEL

One line a value of the main graph that an operator writes: name, element type, extents separated by commas, "?" where
the extent has no number. "-" stands for an unknown type or rank. OUT_MODEL gets the model without value_info.
"""

import sys

import onnx
from onnx import shape_inference


def strip(graph):
    del graph.value_info[:]
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("g"):
                strip(attribute.g)


def names(infos):
    return {dim.dim_param for info in infos for dim in info.type.tensor_type.shape.dim}


def extent(dim, known):
    if dim.HasField("dim_value"):
        return str(dim.dim_value)
    # Names that inference made up say nothing.
    name = dim.dim_param
    return f"={name}" if name and (name in known or not name.startswith("unk__")) else "?"


def line(info, known):
    tensor = info.type.tensor_type
    shape = ",".join(extent(dim, known) for dim in tensor.shape.dim) if tensor.HasField("shape") else "-"
    return f"{info.name}\t{tensor.elem_type or '-'}\t{shape}"


def main():
    model = onnx.load(sys.argv[1])
    strip(model.graph)
    onnx.save(model, sys.argv[2])
    known = names([*model.graph.input, *model.graph.output])
    inferred = shape_inference.infer_shapes(model, data_prop=True)
    written = {name for node in model.graph.node for name in node.output if name}
    infos = {info.name: info for info in [*inferred.graph.value_info, *inferred.graph.output]}
    for name in sorted(written & infos.keys()):
        print(line(infos[name], known))


main()
