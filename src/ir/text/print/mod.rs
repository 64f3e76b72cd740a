//! Models to text.

mod attribute;
mod graph;
mod quote;
mod tensor;
mod types;

use std::fmt::{self, Write};

use quote::{name, pairs, quoted};

use crate::ir::{Function, Model};
use crate::onnx::proto::OperatorSetIdProto;

/// How a model is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrintOptions {
    /// Tensors of at most this many elements are printed with their contents, larger ones with a hash of them.
    pub full_data_up_to_elements: u64,
    /// Whether versions, producer and metadata of the model stand before the graph.
    pub header: bool,
}

impl Default for PrintOptions {
    fn default() -> Self {
        Self { full_data_up_to_elements: 16, header: true }
    }
}

impl PrintOptions {
    /// Everything: what is printed so can be parsed again.
    pub fn full() -> Self {
        Self { full_data_up_to_elements: u64::MAX, header: true }
    }
}

/// Prints a model.
pub fn print(model: &Model, options: &PrintOptions) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail.
    let _ = write(&mut out, model, options);
    out
}

/// Writes a model as text.
///
/// # Errors
/// Passes on what the writer returns.
pub fn write(out: &mut impl Write, model: &Model, options: &PrintOptions) -> fmt::Result {
    if options.header {
        header(out, model)?;
    }
    let style = Style { full_data_up_to: options.full_data_up_to_elements, indent: 0 };
    graph::graph(out, &model.graph, style)?;
    out.write_char('\n')?;
    for one in &model.functions {
        function(out, one, style)?;
    }
    Ok(())
}

/// What the parts of the printer hand on.
#[derive(Debug, Clone, Copy)]
struct Style {
    full_data_up_to: u64,
    /// Spaces in front of the lines of the graph that is printed.
    indent: usize,
}

fn header(out: &mut impl Write, model: &Model) -> fmt::Result {
    let proto = &model.proto;
    let left_out = [
        ("training graphs", !proto.training_info.is_empty()),
        ("device configurations", !proto.configuration.is_empty()),
    ];
    for (what, _) in left_out.iter().filter(|(_, is_there)| *is_there) {
        writeln!(out, "// The model has {what}, which this text leaves out.")?;
    }
    out.write_str("<\n")?;
    if let Some(version) = proto.ir_version {
        writeln!(out, "  ir_version: {version},")?;
    }
    out.write_str("  opset_import: ")?;
    opsets(out, &proto.opset_import)?;
    let texts = [
        ("producer_name", &proto.producer_name),
        ("producer_version", &proto.producer_version),
        ("domain", &proto.domain),
        ("doc_string", &proto.doc_string),
    ];
    for (key, text) in texts {
        if let Some(text) = text {
            write!(out, ",\n  {key}: ")?;
            quoted(out, text)?;
        }
    }
    if let Some(version) = proto.model_version {
        write!(out, ",\n  model_version: {version}")?;
    }
    if !proto.metadata_props.is_empty() {
        out.write_str(",\n  metadata_props: ")?;
        pairs(out, &proto.metadata_props)?;
    }
    out.write_str("\n>\n")
}

fn opsets(out: &mut impl Write, opsets: &[OperatorSetIdProto]) -> fmt::Result {
    out.write_char('[')?;
    for (index, opset) in opsets.iter().enumerate() {
        separate(out, index)?;
        quoted(out, opset.domain())?;
        write!(out, " : {}", opset.version())?;
    }
    out.write_char(']')
}

/// A comma in front of every item but the first.
fn separate(out: &mut impl Write, index: usize) -> fmt::Result {
    if index > 0 { out.write_str(", ") } else { Ok(()) }
}

fn function(out: &mut impl Write, function: &Function, style: Style) -> fmt::Result {
    let proto = &function.proto;
    out.write_str("<\n  domain: ")?;
    quoted(out, proto.domain())?;
    if let Some(overload) = &proto.overload {
        out.write_str(",\n  overload: ")?;
        quoted(out, overload)?;
    }
    out.write_str(",\n  opset_import: ")?;
    opsets(out, &proto.opset_import)?;
    if let Some(doc) = &proto.doc_string {
        out.write_str(",\n  doc_string: ")?;
        quoted(out, doc)?;
    }
    if !proto.metadata_props.is_empty() {
        out.write_str(",\n  metadata_props: ")?;
        pairs(out, &proto.metadata_props)?;
    }
    out.write_str("\n>\n")?;
    name(out, proto.name())?;
    out.write_char(' ')?;
    if !proto.attribute.is_empty() || !proto.attribute_proto.is_empty() {
        out.write_char('<')?;
        for (index, one) in proto.attribute.iter().enumerate() {
            separate(out, index)?;
            name(out, one)?;
        }
        for (index, one) in proto.attribute_proto.iter().enumerate() {
            separate(out, index + proto.attribute.len())?;
            attribute::default_value(out, one, style)?;
        }
        out.write_str("> ")?;
    }
    graph::body(out, &function.body, style)?;
    out.write_char('\n')
}
