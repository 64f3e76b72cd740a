//! Graphs and operators.

use std::fmt::{self, Write};

use super::super::lexer::is_identifier;
use super::quote::{Notes, name, notes, quoted};
use super::{Style, attribute, separate, tensor, types};
use crate::ir::{Graph, Node, NodeId, ValueId};
use crate::onnx;

/// A graph with its name.
pub(super) fn graph(out: &mut impl Write, graph: &Graph, style: Style) -> fmt::Result {
    name(out, graph.name())?;
    out.write_char(' ')?;
    body(out, graph, style)
}

/// A graph inside an attribute.
pub(super) fn nested(out: &mut impl Write, inner: &Graph, style: Style) -> fmt::Result {
    graph(out, inner, Style { indent: style.indent + 2, ..style })
}

/// A graph after its name.
pub(super) fn body(out: &mut impl Write, graph: &Graph, style: Style) -> fmt::Result {
    out.write_char('(')?;
    for (index, &input) in graph.inputs().iter().enumerate() {
        separate(out, index)?;
        let value = graph.value(input);
        types::value_info(out, value.name(), value.info.as_deref())?;
    }
    out.write_str(") => (")?;
    for (index, output) in graph.outputs.iter().enumerate() {
        separate(out, index)?;
        types::value_info(out, graph.value(output.value).name(), Some(&output.info))?;
    }
    out.write_char(')')?;
    let residue = &graph.residue;
    notes(
        out,
        &Notes {
            doc_string: residue.doc_string.as_deref(),
            metadata_props: &residue.metadata_props,
            quantization_annotation: &residue.quantization_annotation,
            ..Notes::default()
        },
    )?;
    out.write_char(' ')?;
    declarations(out, graph, style)?;
    out.write_str("{\n")?;
    // A graph with a cycle has no order; it is printed as it stands, so that it can be looked at.
    for node in graph.topological_order().unwrap_or_else(|_| graph.nodes()) {
        write!(out, "{:1$}", "", style.indent + 2)?;
        operator(out, graph, node, style)?;
        out.write_char('\n')?;
    }
    write!(out, "{:1$}}}", "", style.indent)
}

/// Initializers and types of inner values, one a line.
fn declarations(out: &mut impl Write, graph: &Graph, style: Style) -> fmt::Result {
    let mut opening = "<\n";
    let mut line = |out: &mut _| {
        let result = write_line(out, opening, style.indent + 2);
        opening = ",\n";
        result
    };
    for id in graph.initializers() {
        let value = graph.value(id);
        let Some(init) = value.initializer() else { continue };
        line(out)?;
        write!(out, "{} ", init.type_text())?;
        name(out, value.name())?;
        out.write_str(" = ")?;
        tensor::contents(out, init, style)?;
    }
    for sparse in &graph.residue.sparse_initializer {
        line(out)?;
        attribute::sparse_type(out, sparse)?;
        out.write_char(' ')?;
        name(out, sparse.values.as_ref().map(|v| v.name()).unwrap_or_default())?;
        out.write_str(" = ")?;
        attribute::sparse(out, sparse, false, style)?;
    }
    for info in onnx::value_infos(graph) {
        line(out)?;
        types::value_info(out, info.name(), Some(info))?;
    }
    if opening == ",\n" { write_line(out, "\n", style.indent).and_then(|()| out.write_str("> ")) } else { Ok(()) }
}

fn write_line(out: &mut impl Write, before: &str, indent: usize) -> fmt::Result {
    write!(out, "{before}{:indent$}", "")
}

fn operator(out: &mut impl Write, graph: &Graph, id: NodeId, style: Style) -> fmt::Result {
    let node = graph.node(id);
    if !node.name().is_empty() {
        out.write_char('[')?;
        name(out, node.name())?;
        out.write_str("] ")?;
    }
    operands(out, graph, &graph.node_outputs(id))?;
    out.write_str(" = ")?;
    operator_name(out, node)?;
    // Graphs stand after the inputs, where they are easier to read.
    let has_graphs = !node.subgraphs().is_empty();
    let has_attributes = !node.attributes().is_empty();
    if has_attributes && !has_graphs {
        attribute::attributes(out, node, style)?;
    }
    out.write_char('(')?;
    operands(out, graph, &graph.node_inputs(id))?;
    out.write_char(')')?;
    if has_attributes && has_graphs {
        out.write_char(' ')?;
        attribute::attributes(out, node, style)?;
    }
    let doc_string = node.proto.doc_string.as_deref();
    notes(out, &Notes { doc_string, metadata_props: &node.proto.metadata_props, ..Notes::default() })
}

fn operator_name(out: &mut impl Write, node: &Node) -> fmt::Result {
    let domain = node.proto.domain.as_deref().unwrap_or_default();
    if !domain.is_empty() {
        let is_plain = domain.split('.').all(is_identifier);
        if is_plain {
            out.write_str(domain)?
        } else {
            quoted(out, domain)?
        }
        out.write_char('.')?;
    }
    if is_identifier(node.op_type()) {
        out.write_str(node.op_type())?
    } else {
        quoted(out, node.op_type())?
    }
    match node.proto.overload.as_deref().unwrap_or_default() {
        "" => Ok(()),
        overload => {
            out.write_char(':')?;
            name(out, overload)
        }
    }
}

fn operands(out: &mut impl Write, graph: &Graph, operands: &[Option<ValueId>]) -> fmt::Result {
    for (index, operand) in operands.iter().enumerate() {
        separate(out, index)?;
        name(out, operand.map_or("", |value| graph.value(value).name()))?;
    }
    Ok(())
}
