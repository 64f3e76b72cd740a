"""Prints what onnx.shape_inference knows of a model once its value_info is removed: python reference.py MODEL OUT_MODEL

One line a value of the main graph that an operator writes: name, element type, extents separated by commas, "?" where
the extent has no number. "-" stands for an unknown type or rank. A last line, which begins with a tab, counts the values
inside of subgraphs of which it knows all. OUT_MODEL gets the model without value_info.
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


def known_inside(graph, known):
    """Values that operators in subgraphs write and of which type and every extent are known, without the outputs of the
    subgraphs, whose types are declared."""
    count = 0
    for node in graph.node:
        for attribute in node.attribute:
            if not attribute.HasField("g"):
                continue
            inner = attribute.g
            declared = {info.name for info in inner.output}
            infos = {info.name: info for info in inner.value_info if info.name not in declared}
            written = {name for inside in inner.node for name in inside.output if name}
            lines = [line(infos[name], known).split("\t") for name in written & infos.keys()]
            count += sum(dtype != "-" and shape != "-" and "?" not in shape.split(",") for _, dtype, shape in lines)
            count += known_inside(inner, known)
    return count


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
    print(f"\t{known_inside(inferred.graph, known)}")


main()
