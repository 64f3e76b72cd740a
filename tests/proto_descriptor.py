"""Prints the schema of the installed `onnx` package, one fact per line.

Each line is a key, a tab and a value; tests/proto_descriptor.rs builds the same lines from
proto/onnx.proto. Exits with status 3 when the package is not there, so that the test can tell
that apart from a failure.
"""

import sys

try:
    import onnx
    from google.protobuf import descriptor_pb2
    from onnx import onnx_ml_pb2
except ImportError as error:
    print(f"cannot import onnx: {error}", file=sys.stderr)
    sys.exit(3)

FIELD = descriptor_pb2.FieldDescriptorProto


def emit(key, value):
    print(f"{key}\t{value}")


def flag(value):
    return "true" if value else "false"


def dump_enum(enum, scope):
    name = f"{scope}.{enum.name}"
    emit(f"enum {name}", "present")
    for value in enum.value:
        emit(f"enum {name} value {value.name}", f"number={value.number}")


def dump_message(message, scope):
    name = f"{scope}.{message.name}"
    emit(f"message {name}", "present")
    for oneof in message.oneof_decl:
        emit(f"message {name} oneof {oneof.name}", "present")
    for reserved in message.reserved_range:
        for number in range(reserved.start, reserved.end):
            emit(f"message {name} reserved number {number}", "present")
    for reserved in message.reserved_name:
        emit(f"message {name} reserved name {reserved}", "present")
    for field in message.field:
        oneof = "-"
        if field.HasField("oneof_index"):
            oneof = message.oneof_decl[field.oneof_index].name
        parts = [
            f"number={field.number}",
            f"label={FIELD.Label.Name(field.label)}",
            f"type={FIELD.Type.Name(field.type)}",
            f"type_name={field.type_name or '-'}",
            f"packed={flag(field.options.packed)}",
            f"oneof={oneof}",
            f"default={field.default_value or '-'}",
        ]
        emit(f"message {name} field {field.name}", " ".join(parts))
    for enum in message.enum_type:
        dump_enum(enum, name)
    for nested in message.nested_type:
        dump_message(nested, name)


def main():
    file = descriptor_pb2.FileDescriptorProto()
    onnx_ml_pb2.DESCRIPTOR.CopyToProto(file)
    # Not part of the comparison: lets the test name the release it compared with.
    print(f"onnx {onnx.__version__}", file=sys.stderr)
    # proto2 is the default and some versions of protobuf leave it out.
    emit("file syntax", file.syntax or "proto2")
    emit("file package", file.package)
    for enum in file.enum_type:
        dump_enum(enum, f".{file.package}")
    for message in file.message_type:
        dump_message(message, f".{file.package}")


if __name__ == "__main__":
    main()
