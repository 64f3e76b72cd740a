"""The node tests of the installed `onnx` package, whole and broken in one way each: python mutants.py OUT_DIR

OUT_DIR/NUMBER.onnx    a model
OUT_DIR/verdicts       "NUMBER MUTATION OPERATOR VERDICT" a line; the verdict is what onnx.checker says of the nodes, or `fine`

Some mutations break nothing: then the judge says so too. Models with subgraphs or functions are written whole only: the
checker does not judge their nodes one by one.
"""

import random
import sys
from pathlib import Path

import onnx
from onnx import checker, helper
from onnx.backend.test.case.node import collect_testcases


def other_opset(model, node, dice):
    newest = {"": 28, "ai.onnx": 28, "ai.onnx.ml": 5}
    for opset in model.opset_import:
        opset.version = dice.randint(1, newest.get(opset.domain, opset.version))


def drop_input(model, node, dice):
    if node.input:
        node.input.pop()


def add_input(model, node, dice):
    node.input.append("one_more")


def empty_input(model, node, dice):
    if node.input:
        node.input[dice.randrange(len(node.input))] = ""


def add_output(model, node, dice):
    # It must have one output or all: a rule that the package keeps to itself.
    if node.op_type != "BatchNormalization":
        node.output.append("one_more_output")


def unknown_attribute(model, node, dice):
    # It may have any attribute: another rule that the package keeps to itself.
    if node.op_type != "LayerNormalization":
        node.attribute.append(helper.make_attribute("bogus", 1))


def other_kind(model, node, dice):
    if node.attribute:
        place = dice.randrange(len(node.attribute))
        value = dice.choice([2.5, 3, "text", [1.5], [2], ["text"]])
        node.attribute[place].CopyFrom(helper.make_attribute(node.attribute[place].name, value))


def drop_attribute(model, node, dice):
    if node.attribute:
        del node.attribute[dice.randrange(len(node.attribute))]


MUTATIONS = [
    other_opset,
    drop_input,
    add_input,
    empty_input,
    add_output,
    unknown_attribute,
    other_kind,
    drop_attribute,
]


def judge(model):
    context = checker.C.CheckerContext()
    context.ir_version = model.ir_version
    context.opset_imports = {opset.domain: opset.version for opset in model.opset_import}
    for node in model.graph.node:
        try:
            checker.check_node(node, context)
        except checker.ValidationError as error:
            return str(error).splitlines()[0]
    return "fine"


def define_every_name(model):
    graph = model.graph
    defined = {value.name for value in [*graph.input, *graph.initializer]}
    defined |= {name for node in graph.node for name in node.output}
    for name in sorted({name for node in graph.node for name in node.input if name} - defined):
        graph.input.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1]))


def is_plain(model):
    graphs = (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS)
    return not model.functions and not any(a.type in graphs for n in model.graph.node for a in n.attribute)


def main():
    out = Path(sys.argv[1])
    dice = random.Random(1)
    verdicts = []

    def write(model, title, verdict):
        number = len(verdicts)
        (out / f"{number}.onnx").write_bytes(model.SerializeToString())
        verdicts.append(f"{number} {title} {verdict}")

    for number, case in enumerate(collect_testcases(None)):
        model = case.model
        write(model, f"whole {case.name}", "fine")
        if not is_plain(model):
            continue
        # Cases of one operator stand side by side, so that turns give each operator many mutations.
        mutation = MUTATIONS[number % len(MUTATIONS)]
        node = dice.choice(model.graph.node)
        mutation(model, node, dice)
        define_every_name(model)
        write(model, f"{mutation.__name__} {node.op_type}", judge(model))
    (out / "verdicts").write_text("\n".join(verdicts))


main()
