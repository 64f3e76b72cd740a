//! Graphs and operators.

use super::super::lexer::Token;
use super::cursor::Cursor;
use super::notes::notes;
use super::{attribute, tensor, types};
use crate::error::Result;
use crate::onnx::proto::{GraphProto, NodeProto, TypeProto, ValueInfoProto, type_proto::Value};

/// A graph with its name.
pub(super) fn graph(cursor: &mut Cursor<'_>) -> Result<GraphProto> {
    let name = cursor.name("the name of a graph")?;
    named(cursor, name)
}

/// A graph after its name.
pub(super) fn named(cursor: &mut Cursor<'_>, name: String) -> Result<GraphProto> {
    cursor.nested(|cursor| {
        let mut graph = GraphProto { name: Some(name), ..GraphProto::default() };
        graph.input = cursor.list('(', ')', |cursor| {
            let at = cursor.offset();
            let info = value_info(cursor)?;
            if cursor.take('=')? {
                initializer(cursor, &info, at, &mut graph)?;
            }
            Ok(info)
        })?;
        cursor.arrow()?;
        graph.output = cursor.list('(', ')', value_info)?;
        let notes = notes(cursor, &["doc_string", "metadata_props", "quantization_annotation"])?;
        graph.doc_string = notes.doc_string;
        graph.metadata_props = notes.metadata_props;
        graph.quantization_annotation = notes.quantization_annotation;
        if *cursor.peek() == Token::Punct('<') {
            cursor.list('<', '>', |cursor| {
                let at = cursor.offset();
                let info = value_info(cursor)?;
                if cursor.take('=')? {
                    initializer(cursor, &info, at, &mut graph)?;
                } else {
                    graph.value_info.push(info);
                }
                Ok(())
            })?;
        }
        graph.node = nodes(cursor)?;
        Ok(graph)
    })
}

/// What follows the `=` of a constant that was declared at `at`.
fn initializer(cursor: &mut Cursor<'_>, info: &ValueInfoProto, at: usize, graph: &mut GraphProto) -> Result<()> {
    let untyped = TypeProto::default();
    let ty = info.r#type.as_ref().unwrap_or(&untyped);
    if matches!(ty.value, Some(Value::SparseTensorType(_))) {
        let mut sparse = tensor::sparse(cursor, ty, at)?;
        if let Some(values) = &mut sparse.values {
            values.name.clone_from(&info.name);
        }
        graph.sparse_initializer.push(sparse);
    } else {
        let mut tensor = tensor::contents(cursor, ty, at)?;
        tensor.name.clone_from(&info.name);
        graph.initializer.push(tensor);
    }
    Ok(())
}

/// A value with its type, where that is known.
pub(super) fn value_info(cursor: &mut Cursor<'_>) -> Result<ValueInfoProto> {
    let r#type = if types::is_next(cursor) { Some(types::type_proto(cursor)?) } else { None };
    let name = Some(cursor.name("the name of a value")?);
    let notes = notes(cursor, &["doc_string", "metadata_props", "denotation"])?;
    let mut info = ValueInfoProto { name, r#type, doc_string: notes.doc_string, metadata_props: notes.metadata_props };
    if let (Some(ty), Some(denotation)) = (&mut info.r#type, notes.denotation) {
        ty.denotation = Some(denotation);
    }
    Ok(info)
}

/// The operators of a graph, between braces.
pub(super) fn nodes(cursor: &mut Cursor<'_>) -> Result<Vec<NodeProto>> {
    cursor.expect('{')?;
    let mut nodes = Vec::new();
    while !cursor.take('}')? {
        if *cursor.peek() == Token::End {
            return cursor.expected("an operator or `}`");
        }
        nodes.push(node(cursor)?);
    }
    Ok(nodes)
}

fn node(cursor: &mut Cursor<'_>) -> Result<NodeProto> {
    let mut node = NodeProto::default();
    if cursor.take('[')? {
        node.name = Some(cursor.name("the name of an operator")?);
        cursor.expect(']')?;
    }
    node.output = operands(cursor)?;
    cursor.expect('=')?;
    let mut domain = String::new();
    let mut op_type = cursor.name("an operator")?;
    while cursor.take('.')? {
        if !domain.is_empty() {
            domain.push('.');
        }
        domain.push_str(&op_type);
        op_type = cursor.name("an operator")?;
    }
    node.op_type = Some(op_type);
    node.domain = (!domain.is_empty()).then_some(domain);
    if cursor.take(':')? {
        node.overload = Some(cursor.name("an overload")?);
    }
    // Attributes may stand before or after the inputs.
    node.attribute = attribute::attributes(cursor)?;
    cursor.expect('(')?;
    node.input = operands(cursor)?;
    cursor.expect(')')?;
    if node.attribute.is_empty() {
        node.attribute = attribute::attributes(cursor)?;
    }
    let notes = notes(cursor, &["doc_string", "metadata_props"])?;
    node.doc_string = notes.doc_string;
    node.metadata_props = notes.metadata_props;
    Ok(node)
}

/// Names with commas between. An operand left out is `""`, or nothing before a comma.
fn operands(cursor: &mut Cursor<'_>) -> Result<Vec<String>> {
    let mut names = Vec::new();
    loop {
        match cursor.peek() {
            Token::Ident(_) | Token::Str(_) => names.push(cursor.name("a value")?),
            Token::Punct(',') => names.push(String::new()),
            _ => return Ok(names),
        }
        if !cursor.take(',')? {
            return Ok(names);
        }
    }
}
