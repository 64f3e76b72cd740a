"""Writes operators.txt, the facts about every operator that this crate knows.

    python src/opset/operators.py > src/opset/operators.txt

The facts are those the `onnx` package registers (all versions of its domains) and, for the domain
com.microsoft, those the `onnxruntime` package registers. Run it by hand with new releases of the
two, read the difference, commit it. tests/opset holds the file against the installed packages.

The format, one record per operator and version, ordered by domain, operator and version:

    group NAME = TYPE..               a name for element types that come together
    domain NAME VERSION               the newest version of a domain; `ai.onnx` is the default one
    op [DOMAIN.]NAME VERSION FLAG..   flags: deprecated, function (has a body of simpler
                                      operators), nondeterministic
      attr NAME KIND [required | = DEFAULT]
      in NAME TYPE [optional | variadic MIN [mixed]]
      out NAME TYPE [optional | variadic MIN [mixed]]
      type NAME = TYPE..              what a type variable of inputs and outputs stands for

Tensor types go by their element type: `float` is onnx's `tensor(float)`.
"""

import re
import sys

import numpy
import onnx
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as runtime

GROUPS = {
    "complex": ["complex64", "complex128"],
    "float8": ["float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz"],
    "floats": ["float16", "float", "double"],
    "ints": ["int8", "int16", "int32", "int64"],
    "uints": ["uint8", "uint16", "uint32", "uint64"],
}

# Mistakes of the source that would mislead a reader: (operator, version, attribute) -> string default.
CORRECTIONS = {("GRU", 1, "direction"): "forward"}  # the source says "foward"


def label(enumerator):
    return str(enumerator).rsplit(".", 1)[-1]


def either(holder, *names):
    """The first attribute there is: the two packages name some of them differently."""
    for name in names:
        if hasattr(holder, name):
            return getattr(holder, name)
    return None


def short(type_text):
    """`seq(tensor(float))` as `seq(float)`; a type variable stays as it is."""
    return re.sub(r"(?<![a-z_])tensor\((\w+)\)", r"\1", type_text.replace(" ", ""))


def grouped(types):
    """The types in few words: groups whose members are all there replace them."""
    left = {short(one) for one in types}
    words = set()
    for before, after in [("", ""), ("seq(", ")"), ("optional(", ")"), ("optional(seq(", "))")]:
        for group, members in GROUPS.items():
            wrapped = {before + member + after for member in members}
            if wrapped <= left:
                left -= wrapped
                words.add(before + group + after)
    return " ".join(sorted(words | left))


def quoted(data):
    text = data.decode()
    assert not set(text) & set('"\\,\n'), text
    return f'"{text}"'


def default_of(attribute):
    stored = attribute._default_value
    value = onnx.AttributeProto.FromString(stored) if stored else onnx.AttributeProto()
    kinds = onnx.AttributeProto
    real = lambda number: str(numpy.float32(number))
    forms = {
        kinds.UNDEFINED: lambda: None,
        kinds.INT: lambda: str(value.i),
        kinds.FLOAT: lambda: real(value.f),
        kinds.STRING: lambda: quoted(value.s),
        kinds.INTS: lambda: f"[{', '.join(map(str, value.ints))}]",
        kinds.FLOATS: lambda: f"[{', '.join(map(real, value.floats))}]",
        kinds.STRINGS: lambda: f"[{', '.join(map(quoted, value.strings))}]",
    }
    return forms[value.type]()


def attribute_line(schema, attribute):
    line = f"  attr {attribute.name} {label(attribute.type).lower()}"
    if attribute.required:
        return f"{line} required"
    default = default_of(attribute)
    correction = CORRECTIONS.get((schema.name, schema.since_version, attribute.name))
    if correction and not schema.domain:
        default = quoted(correction.encode())
    return line if default is None else f"{line} = {default}"


def formal_lines(side, formals, min_count):
    for place, formal in enumerate(formals):
        line = f"  {side} {formal.name} {short(either(formal, 'type_str', 'typeStr'))}"
        option = label(formal.option)
        if option == "Optional":
            line += " optional"
        if option == "Variadic":
            # Only onnx states it; elsewhere it follows from the count of the whole list.
            least = either(formal, "min_arity")
            line += f" variadic {max(min_count - place, 0) if least is None else least}"
            line += "" if either(formal, "is_homogeneous", "isHomogeneous") else " mixed"
        yield line


def record(schema):
    flags = []
    if schema.deprecated:
        flags.append("deprecated")
    if either(schema, "has_function") or either(schema, "has_context_dependent_function"):
        flags.append("function")
    if label(either(schema, "node_determinism")) == "NonDeterministic":
        flags.append("nondeterministic")
    prefix = f"{schema.domain}." if schema.domain else ""
    assert "." not in schema.name
    yield " ".join([f"op {prefix}{schema.name} {schema.since_version}", *flags])
    for name in sorted(schema.attributes):
        yield attribute_line(schema, schema.attributes[name])
    yield from formal_lines("in", schema.inputs, schema.min_input)
    yield from formal_lines("out", schema.outputs, schema.min_output)
    used = {either(f, "type_str", "typeStr") for f in [*schema.inputs, *schema.outputs]}
    for constraint in sorted(schema.type_constraints, key=lambda c: c.type_param_str):
        if constraint.type_param_str in used:
            yield f"  type {constraint.type_param_str} = {grouped(constraint.allowed_type_strs)}"


def main():
    schemas = list(onnx.defs.get_all_schemas_with_history())
    schemas += [s for s in runtime.get_all_operator_schema() if s.domain == "com.microsoft"]
    schemas.sort(key=lambda s: (s.domain, s.name, s.since_version))
    newest = {domain: range_[1] for domain, range_ in onnx.defs.C.schema_version_map().items()}
    newest["com.microsoft"] = 1

    print("# Written by operators.py, which describes the format. Do not edit.")
    print(f"# onnx {onnx.__version__}")
    print(f"# onnxruntime {onnxruntime.__version__}")
    for group, members in GROUPS.items():
        print(f"group {group} = {' '.join(members)}")
    for domain in sorted({schema.domain for schema in schemas}):
        print(f"domain {domain or 'ai.onnx'} {newest[domain]}")
    for schema in schemas:
        print("\n".join(record(schema)))


if __name__ == "__main__":
    sys.exit(main())
