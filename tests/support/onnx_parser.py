"""Parses texts with the official parser and compares them with the models they were printed from: python onnx_parser.py DIR

DIR/NAME/model.onnx, DIR/NAME/ours.txt     the model, and our text of it
DIR/NAME/theirs.txt                        written: the text of the official printer, where its parser reads it again

Prints one line a difference and, at the end, "compared N".
"""

import sys
from pathlib import Path

import onnx
import onnx.parser
import onnx.printer
from onnx import numpy_helper

# What the official parser cannot read, or reads wrongly: our extensions.
SUB_BYTE = {onnx.TensorProto.INT4, onnx.TensorProto.UINT4, onnx.TensorProto.INT2, onnx.TensorProto.UINT2,
            onnx.TensorProto.FLOAT4E2M1, onnx.TensorProto.FLOAT6E2M3, onnx.TensorProto.FLOAT6E3M2}
VALUES = {onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16}


def tensors(message):
    """Every tensor inside a message."""
    if isinstance(message, onnx.TensorProto):
        yield message
        return
    for field, value in message.ListFields():
        if field.message_type is not None:
            parts = [value] if hasattr(value, "ListFields") else value
            for part in parts:
                yield from tensors(part)


def canonical(message):
    """Makes every way to say the same thing one: typed data as raw data, empty strings as none."""
    if isinstance(message, onnx.TensorProto):
        message.doc_string = ""
        if message.data_type != onnx.TensorProto.STRING:
            array = numpy_helper.to_array(message)
            message.CopyFrom(numpy_helper.from_array(array, message.name))
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in [value] if hasattr(value, "ListFields") else value:
                canonical(part)
        elif field.cpp_type == field.CPPTYPE_STRING and isinstance(value, (str, bytes)) and not value:
            message.ClearField(field.name)


def is_extension(model):
    if any(t.data_type in SUB_BYTE | VALUES for t in tensors(model)):
        return True
    text = str(model)
    return "sparse_tensor" in text or "type_protos" in text or "denotation" in text or "doc_string" in text


def main(root):
    compared = 0
    for folder in sorted(path for path in root.iterdir() if (path / "ours.txt").exists()):
        model = onnx.load(folder / "model.onnx")
        try:
            theirs = onnx.printer.to_text(model)
            onnx.parser.parse_model(theirs)
            (folder / "theirs.txt").write_text(theirs)
        except Exception:
            pass
        if is_extension(model):
            continue
        try:
            parsed = onnx.parser.parse_model((folder / "ours.txt").read_text())
        except onnx.parser.ParseError as error:
            print(f"{folder.name}: {error}")
            continue
        compared += 1
        canonical(model)
        canonical(parsed)
        if parsed != model and str(parsed) != str(model):
            print(f"{folder.name}: differs")
    print(f"compared {compared}")


main(Path(sys.argv[1]))
