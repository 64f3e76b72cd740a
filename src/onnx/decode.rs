//! Bytes to model. Weights stay where they are: tensors share the memory map of the file.

use std::collections::BTreeSet;
use std::mem;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use prost::Message;

use super::external::ExternalFiles;
use super::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto};
use super::{foreign, pins, types};
use crate::error::{Error, Result, Site};
use crate::ir::edit::NamePool;
use crate::ir::graph::Output;
use crate::ir::{Attribute, Function, Graph, Model, Node, Subgraph, Tensor, ValueType, check};

/// Reads a model from a file, which may be packed, and checks its structure. The file is mapped, not copied.
///
/// # Errors
/// Fails where the file cannot be read, is no ONNX model, or points at external data that is missing or outside the
/// model's folder; the error names the file.
pub fn read(path: &Path) -> Result<Model> {
    let (bytes, _) = crate::container::model_bytes(path)?;
    let folder = path.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p });
    decode(bytes, folder).map_err(|e| e.in_file(path))
}

/// Decodes a model; external data is looked up in `folder`.
///
/// # Errors
/// As [`read`].
pub fn decode(bytes: Bytes, folder: Option<&Path>) -> Result<Model> {
    let size = bytes.len();
    if size == 0 {
        return Err(Error::invalid_model("the file is empty").expected("an ONNX model"));
    }
    let proto = ModelProto::decode(bytes.clone()).map_err(|e| not_onnx(&bytes, &e))?;
    if proto.graph.is_none() {
        return Err(foreign_file(&bytes).unwrap_or_else(|| {
            Error::invalid_model("the file is not an ONNX model, or it is cut off")
                .expected("a protobuf message with a graph")
                .found(format!("{size} bytes without one"))
        }));
    }
    let mut warnings = Vec::new();
    let kept = proto.encoded_len();
    if kept != size {
        warnings.push(format!(
            "the file holds fields that ONNX IR version 14 does not define, or is not in canonical form: {size} bytes \
             were read, {kept} of them understood; the rest is not written back"
        ));
    }
    let mut model = from_proto(proto, &mut ExternalFiles::new(folder))?;
    model.warnings.append(&mut warnings);
    check::structure(&model)?;
    Ok(model)
}

/// The error for a file that is known to be something else.
fn foreign_file(bytes: &[u8]) -> Option<Error> {
    let (found, help) = foreign::kind_of(bytes)?;
    Some(Error::invalid_model("the file is not an ONNX model").expected("an ONNX model").found(found).help(help))
}

/// prost's message repeats the whole path of fields; the last part says what is wrong.
fn not_onnx(bytes: &[u8], error: &prost::DecodeError) -> Error {
    if let Some(error) = foreign_file(bytes) {
        return error;
    }
    let text = error.to_string();
    let reason = match text.rsplit(": ").next().unwrap_or(&text) {
        "buffer underflow" => format!("a file that ends in the middle of a field, after {} bytes", bytes.len()),
        reason => reason.to_owned(),
    };
    Error::invalid_model("the file is not an ONNX model, or it is cut off")
        .expected("a protobuf message of ONNX's schema")
        .found(reason)
        .help("export the model again, or compare the size of the file with that of its source")
}

pub(crate) fn from_proto(mut proto: ModelProto, files: &mut ExternalFiles) -> Result<Model> {
    let pool = NamePool::default();
    let graph = proto.graph.take().unwrap_or_default();
    let mut model = Model { graph: decode_graph(graph, files, &pool, 0)?, ..Model::default() };
    for mut function in mem::take(&mut proto.functions) {
        let plain = |name: &String| ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() };
        let body = GraphProto {
            node: mem::take(&mut function.node),
            input: function.input.iter().map(plain).collect(),
            output: function.output.iter().map(plain).collect(),
            value_info: mem::take(&mut function.value_info),
            ..GraphProto::default()
        };
        function.input.clear();
        function.output.clear();
        let body = decode_graph(body, files, &NamePool::default(), 0)
            .map_err(|e| e.or_at(|| Site::default().in_path(&[format!("function `{}`", function.name())])))?;
        model.functions.push(Function { body, proto: function });
    }
    pins::in_training(&proto.training_info).iter().try_for_each(|name| model.graph.pin(name))?;
    model.proto = proto;
    Ok(model)
}

/// Deeper nesting is no model: protobuf readers give up before it, too.
const MAX_DEPTH: usize = 64;

fn decode_graph(mut proto: GraphProto, files: &mut ExternalFiles, pool: &NamePool, depth: usize) -> Result<Graph> {
    if depth > MAX_DEPTH {
        return Err(Error::invalid_model(format!("graphs are nested more than {MAX_DEPTH} deep")));
    }
    let mut graph = Graph { pool: pool.clone(), ..Graph::default() };
    for info in mem::take(&mut proto.input) {
        let id = graph.intern(info.name());
        let ty = types::from_info(&info)?;
        let value = graph.value_mut(id)?;
        if mem::replace(&mut value.is_input, true) {
            return Err(Error::invalid_model(format!("input `{}` is listed twice", info.name())));
        }
        value.ty = ty;
        value.info = Some(Box::new(info));
        graph.inputs.push(id);
    }
    for (rank, tensor) in mem::take(&mut proto.initializer).into_iter().enumerate() {
        let id = graph.intern(tensor.name());
        let name = tensor.name().to_owned();
        let tensor = decode_tensor(tensor, files).map_err(|e| e.or_at(|| Site::tensor(&name)))?;
        let value = graph.value_mut(id)?;
        if value.init.replace(tensor).is_some() {
            return Err(Error::invalid_model(format!("initializer `{name}` is defined twice")));
        }
        value.init_rank = rank as u64;
    }
    for sparse in &proto.sparse_initializer {
        let name = sparse.values.as_ref().map(TensorProto::name).unwrap_or_default();
        let id = graph.intern(name);
        graph.value_mut(id)?.is_sparse = true;
    }
    for (position, node) in mem::take(&mut proto.node).into_iter().enumerate() {
        decode_node(&mut graph, node, position as u64, files, depth)?;
    }
    for info in mem::take(&mut proto.output) {
        let id = graph.intern(info.name());
        let ty = types::from_info(&info)?;
        let value = graph.value_mut(id)?;
        value.output_uses += 1;
        if value.ty == ValueType::Unknown {
            value.ty = ty;
        }
        graph.outputs.push(Output { value: id, info });
    }
    for (rank, info) in mem::take(&mut proto.value_info).into_iter().enumerate() {
        let rank = rank as u64;
        let ty = types::from_info(&info)?;
        match graph.find_value(info.name()) {
            Some(id) if graph.value(id).info.is_none() => {
                let value = graph.value_mut(id)?;
                if value.ty == ValueType::Unknown {
                    value.ty = ty;
                }
                value.info = Some(Box::new(info));
                value.info_rank = rank;
            }
            _ => graph.stray_infos.push((rank, info)),
        }
    }
    graph.mark_outer()?;
    pins::in_annotations(&proto.quantization_annotation).iter().try_for_each(|name| graph.pin(name))?;
    for node in graph.nodes() {
        let names = pins::in_devices(&graph.node(node).proto.device_configurations);
        names.iter().try_for_each(|name| graph.pin(name))?;
    }
    graph.residue = proto;
    Ok(graph)
}

fn decode_node(
    graph: &mut Graph,
    mut proto: NodeProto,
    position: u64,
    files: &mut ExternalFiles,
    depth: usize,
) -> Result<()> {
    let (inputs, outputs) = (mem::take(&mut proto.input), mem::take(&mut proto.output));
    let attributes = mem::take(&mut proto.attribute);
    let site = || {
        let label = proto.name.as_ref().filter(|n| !n.is_empty()).or(outputs.first()).cloned().unwrap_or_default();
        Site::node(proto.op_type(), label)
    };
    let mut node = Node { input_slots: inputs.len() as u32, output_slots: outputs.len() as u32, ..Node::default() };
    for attribute in attributes {
        decode_attribute(&mut node, attribute, files, &graph.pool, depth).map_err(|e| e.or_at(site))?;
    }
    let mut written = BTreeSet::new();
    for name in outputs.iter().filter(|name| !name.is_empty()) {
        let value = graph.intern(name);
        let held = graph.value(value);
        let defined = held.is_input || held.init.is_some() || held.is_sparse || graph.producer(value).is_some();
        if defined || !written.insert(value) {
            return Err(Error::invalid_model(format!("value `{name}` is defined twice"))
                .at(site())
                .expected("each value to have one definition")
                .help("the exporter wrote an invalid graph: export the model again"));
        }
    }
    let captures: BTreeSet<Arc<str>> = node.subgraphs.iter().flat_map(|s| s.graph.outer_names()).collect();
    node.proto = proto;
    let id = graph.add_raw_node(node, position);
    for (slot, name) in inputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let value = graph.intern(name);
        graph.connect_input(id, slot as u32, value);
    }
    for (slot, name) in outputs.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
        let value = graph.intern(name);
        graph.connect_output(id, slot as u32, value);
    }
    for name in captures {
        let value = graph.intern(&name);
        graph.connect_capture(id, value);
    }
    Ok(())
}

fn decode_attribute(
    node: &mut Node,
    mut proto: AttributeProto,
    files: &mut ExternalFiles,
    pool: &NamePool,
    depth: usize,
) -> Result<()> {
    let name = proto.name().to_owned();
    let graphs = proto.g.take().map(|boxed| *boxed).into_iter().chain(mem::take(&mut proto.graphs));
    for graph in graphs {
        let graph = decode_graph(graph, files, pool, depth + 1)?;
        node.subgraphs.push(Subgraph { attribute: name.clone(), graph });
    }
    let tensors = proto
        .t
        .take()
        .map(|boxed| *boxed)
        .into_iter()
        .chain(mem::take(&mut proto.tensors))
        .map(|tensor| decode_tensor(tensor, files))
        .collect::<Result<Vec<Tensor>>>()?;
    node.attributes.push(Attribute::from_parts(proto, tensors));
    Ok(())
}

fn decode_tensor(proto: TensorProto, files: &mut ExternalFiles) -> Result<Tensor> {
    let external = files.contents(&proto)?;
    Tensor::from_proto(proto, external)
}
