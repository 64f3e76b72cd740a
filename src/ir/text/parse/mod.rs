//! Text to a model: the text becomes the messages of a file, and they are decoded as those of a file are.

mod attribute;
mod cursor;
mod graph;
mod notes;
mod tensor;
mod types;

use std::collections::BTreeSet;

pub(super) use attribute::type_name;
use cursor::Cursor;
pub(super) use types::TYPE_WORDS;

use super::lexer::Token;
use crate::error::{Result, did_you_mean};
use crate::ir::{Model, check};
use crate::onnx;
use crate::onnx::external::ExternalFiles;
use crate::onnx::proto::{FunctionProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto};

/// What a text without header imports: the operator set most models in the field have.
const DEFAULT_OPSET: i64 = 17;

/// The file format of a text without header: the first with functions of several overloads and 4-bit integers.
const DEFAULT_IR_VERSION: i64 = 10;

/// Parses a model, or a graph alone, and checks its structure.
///
/// # Errors
/// Names line and column of what was not understood, what was expected and what was found; a text that is understood
/// may still be no valid graph.
pub fn parse(text: &str) -> Result<Model> {
    let mut cursor = Cursor::new(text)?;
    let proto = model(&mut cursor)?;
    let model = onnx::from_proto(proto, &mut ExternalFiles::new(None))?;
    check::structure(&model)?;
    Ok(model)
}

fn model(cursor: &mut Cursor<'_>) -> Result<ModelProto> {
    let has_header = *cursor.peek() == Token::Punct('<');
    let mut model = if has_header { header(cursor)? } else { ModelProto::default() };
    model.graph = Some(graph::graph(cursor)?);
    while *cursor.peek() != Token::End {
        model.functions.push(function(cursor)?);
    }
    if !has_header {
        model.ir_version = Some(DEFAULT_IR_VERSION);
        model.opset_import = default_imports(&model);
    }
    Ok(model)
}

/// One `key: value` after the other, between `<` and `>`.
fn entries<'a>(
    cursor: &mut Cursor<'a>,
    keys: &[&str],
    mut entry: impl FnMut(&mut Cursor<'a>, &str) -> Result<()>,
) -> Result<()> {
    cursor.expect('<')?;
    loop {
        let at = cursor.offset();
        let key = cursor.identifier("a key")?;
        if !keys.contains(&key) {
            let error = cursor.error_at(at, "unknown key").expected(keys.join(", ")).found(format!("`{key}`"));
            return Err(match did_you_mean(key, keys.iter().copied()) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            });
        }
        cursor.expect(':')?;
        entry(cursor, key)?;
        if !cursor.take(',')? {
            return cursor.expect('>');
        }
    }
}

fn header(cursor: &mut Cursor<'_>) -> Result<ModelProto> {
    let mut model = ModelProto::default();
    let keys = [
        "ir_version",
        "opset_import",
        "producer_name",
        "producer_version",
        "domain",
        "model_version",
        "doc_string",
        "metadata_props",
    ];
    entries(cursor, &keys, |cursor, key| {
        match key {
            "ir_version" => model.ir_version = Some(cursor.integer()?),
            "opset_import" => model.opset_import = opsets(cursor)?,
            "producer_name" => model.producer_name = Some(cursor.string()?),
            "producer_version" => model.producer_version = Some(cursor.string()?),
            "domain" => model.domain = Some(cursor.string()?),
            "model_version" => model.model_version = Some(cursor.integer()?),
            "doc_string" => model.doc_string = Some(cursor.string()?),
            _ => model.metadata_props = notes::pairs(cursor)?,
        }
        Ok(())
    })?;
    Ok(model)
}

fn opsets(cursor: &mut Cursor<'_>) -> Result<Vec<OperatorSetIdProto>> {
    cursor.list('[', ']', |cursor| {
        let domain = cursor.string()?;
        cursor.expect(':')?;
        Ok(OperatorSetIdProto { domain: Some(domain), version: Some(cursor.integer()?) })
    })
}

fn function(cursor: &mut Cursor<'_>) -> Result<FunctionProto> {
    let mut function = FunctionProto::default();
    let keys = ["domain", "overload", "opset_import", "doc_string", "metadata_props"];
    if *cursor.peek() == Token::Punct('<') {
        entries(cursor, &keys, |cursor, key| {
            match key {
                "domain" => function.domain = Some(cursor.string()?),
                "overload" => function.overload = Some(cursor.string()?),
                "opset_import" => function.opset_import = opsets(cursor)?,
                "doc_string" => function.doc_string = Some(cursor.string()?),
                _ => function.metadata_props = notes::pairs(cursor)?,
            }
            Ok(())
        })?;
    }
    function.name = Some(cursor.name("the name of a function")?);
    if *cursor.peek() == Token::Punct('<') {
        cursor.list('<', '>', |cursor| {
            let name = cursor.name("the name of an attribute")?;
            if matches!(cursor.peek(), Token::Punct(':' | '=')) {
                function.attribute_proto.push(attribute::value_of(cursor, name)?);
            } else {
                function.attribute.push(name);
            }
            Ok(())
        })?;
    }
    let names = |cursor: &mut Cursor<'_>, function: &mut FunctionProto| {
        cursor.list('(', ')', |cursor| {
            let info = graph::value_info(cursor)?;
            let name = info.name().to_owned();
            if info.r#type.is_some() {
                function.value_info.push(info);
            }
            Ok(name)
        })
    };
    function.input = names(cursor, &mut function)?;
    cursor.arrow()?;
    function.output = names(cursor, &mut function)?;
    if *cursor.peek() == Token::Punct('<') {
        let infos = cursor.list('<', '>', graph::value_info)?;
        function.value_info.extend(infos);
    }
    function.node = graph::nodes(cursor)?;
    Ok(function)
}

/// The imports of a text without header: the default operator set, and version 1 of every other domain in use.
fn default_imports(model: &ModelProto) -> Vec<OperatorSetIdProto> {
    fn collect(nodes: &[NodeProto], domains: &mut BTreeSet<String>) {
        for node in nodes {
            domains.insert(node.domain().to_owned());
            let graphs = node.attribute.iter().flat_map(|a| a.g.as_deref().into_iter().chain(&a.graphs));
            graphs.for_each(|graph: &GraphProto| collect(&graph.node, domains));
        }
    }
    let mut domains = BTreeSet::from([String::new()]);
    model.graph.iter().for_each(|graph| collect(&graph.node, &mut domains));
    model.functions.iter().for_each(|function| collect(&function.node, &mut domains));
    domains
        .into_iter()
        .map(|domain| {
            let version = if domain.is_empty() { DEFAULT_OPSET } else { 1 };
            OperatorSetIdProto { domain: Some(domain), version: Some(version) }
        })
        .collect()
}
