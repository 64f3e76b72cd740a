"""Prints what the installed packages say of every operator, one fact a line: python table.py

`onnx` speaks for its own domains, `onnxruntime` for com.microsoft. tests/opset/table.rs prints the same lines from the
table of this crate. The first lines name the packages: `package NAME VERSION`.

This shares no code with src/opset/operators.py, so that a mistake there shows.
"""

import numpy
import onnx
import onnxruntime
from onnx import AttributeProto
from onnxruntime.capi import onnxruntime_pybind11_state

# The packages spell it "foward"; the table corrects that.
MISSPELT = {b"foward": b"forward"}


def enum_name(value):
    return value.name if hasattr(value, "name") else str(value).split(".")[-1]


def float_bits(value):
    return f"{numpy.float32(value).view(numpy.uint32):08x}"


def text(data):
    return MISSPELT.get(data, data).decode()


def default(serialized):
    attribute = AttributeProto.FromString(serialized)
    if attribute.type == AttributeProto.FLOAT:
        return float_bits(attribute.f)
    if attribute.type == AttributeProto.INT:
        return str(attribute.i)
    if attribute.type == AttributeProto.STRING:
        return text(attribute.s)
    if attribute.type == AttributeProto.FLOATS:
        return "|".join(map(float_bits, attribute.floats))
    if attribute.type == AttributeProto.INTS:
        return "|".join(map(str, attribute.ints))
    if attribute.type == AttributeProto.STRINGS:
        return "|".join(map(text, attribute.strings))
    raise ValueError(f"a default of kind {attribute.type}")


def formals(side, values, of_onnx):
    for place, formal in enumerate(values):
        option = enum_name(formal.option)
        homogeneous = formal.is_homogeneous if of_onnx else formal.isHomogeneous
        variable = formal.type_str if of_onnx else formal.typeStr
        types = ",".join(sorted(kind.replace(" ", "") for kind in formal.types))
        # A type that stands alone may be spelt as a variable or as itself: what counts is what it allows.
        variable = "" if "(" in variable else variable
        yield f"{side} {place} {formal.name} {option} homogeneous={homogeneous} var={variable} {types}"


def count(limit):
    return "none" if limit == 2**31 - 1 else limit


def facts(schema, of_onnx):
    yield f"deprecated={schema.deprecated}"
    yield f"inputs {schema.min_input}..{count(schema.max_input)}"
    yield f"outputs {schema.min_output}..{count(schema.max_output)}"
    if of_onnx:
        yield f"function={schema.has_function or schema.has_context_dependent_function}"
        yield f"nondeterministic={enum_name(schema.node_determinism) == 'NonDeterministic'}"
    for attribute in schema.attributes.values():
        serialized = attribute._default_value
        has_default = bool(serialized) and AttributeProto.FromString(serialized).type != AttributeProto.UNDEFINED
        value = f"={default(serialized)}" if has_default else ""
        yield f"attr {attribute.name} {enum_name(attribute.type)} required={attribute.required} default{value}"
    yield from formals("in", schema.inputs, of_onnx)
    yield from formals("out", schema.outputs, of_onnx)


def main():
    print("package onnx", onnx.__version__)
    print("package onnxruntime", onnxruntime.__version__)
    print("newest", onnx.defs.onnx_opset_version())
    sources = [(schema, True) for schema in onnx.defs.get_all_schemas_with_history()]
    contrib = onnxruntime_pybind11_state.get_all_operator_schema()
    sources += [(schema, False) for schema in contrib if schema.domain == "com.microsoft"]
    for schema, of_onnx in sources:
        for fact in facts(schema, of_onnx):
            print(f"{schema.domain}:{schema.name}:{schema.since_version} {fact}")


if __name__ == "__main__":
    main()
