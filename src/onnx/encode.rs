//! Model to bytes, in the order of field numbers, weights from where they lie.

use std::io::{self, Write};

use bytes::Bytes;

use super::proto::{
    AttributeProto, FunctionProto, GraphProto, ModelProto, StringStringEntryProto, TensorProto,
    tensor_proto::DataLocation,
};
use super::rope::Rope;
use crate::error::{Error, Result};
use crate::ir::{Attribute, DType, Function, Graph, Model, Node, NodeId, Tensor};

/// Protobuf readers refuse a message of more bytes than this.
const MAX_MESSAGE_BYTES: u64 = i32::MAX as u64;

/// Side-file contents start at multiples of this, so that runtimes can map them.
const SIDE_FILE_ALIGNMENT: u64 = 4096;

/// How a model is laid out in files.
#[derive(Debug, Clone, Default)]
pub struct EncodeOptions {
    /// Initializers of at least this many bytes go to the side file.
    pub external_from_bytes: Option<u64>,
    /// The name of the side file, beside the model: what tensors in it say as their location.
    pub side_file_name: String,
}

/// A model ready to be written: small parts assembled, weights still where they were.
#[derive(Debug)]
pub struct Encoded {
    model: Rope,
    side: Vec<(u64, Bytes)>,
    side_len: u64,
}

impl Encoded {
    /// Bytes of the model file.
    pub fn len(&self) -> u64 {
        self.model.len()
    }

    /// Whether there is nothing to write; never for a model.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes of the side file; 0 where there is none.
    pub fn side_len(&self) -> u64 {
        self.side_len
    }

    /// Writes the model file.
    ///
    /// # Errors
    /// Passes on what the writer returns.
    pub fn write_model(&self, out: &mut impl Write) -> io::Result<()> {
        self.model.write_to(out)
    }

    /// Writes the side file.
    ///
    /// # Errors
    /// Passes on what the writer returns.
    pub fn write_side(&self, out: &mut impl Write) -> io::Result<()> {
        let mut at = 0u64;
        for (offset, contents) in &self.side {
            io::copy(&mut io::Read::take(io::repeat(0), offset - at), out)?;
            out.write_all(contents)?;
            at = offset + contents.len() as u64;
        }
        Ok(())
    }

    /// The model file as bytes: for models that go to a backend instead of a file.
    pub fn to_bytes(&self) -> Bytes {
        let mut out = Vec::with_capacity(self.len() as usize);
        // Writing to a vector cannot fail.
        let _ = self.write_model(&mut out);
        out.into()
    }
}

/// Lays a model out. Weights that were read from side files go to the new side file, whatever their size, if `options`
/// names one; a model of more than 2 GiB gets one by itself.
///
/// # Errors
/// Fails where a graph has no order, or the model does not fit into 2 GiB without a side file and `options` names none.
pub fn encode(model: &Model, options: &EncodeOptions) -> Result<Encoded> {
    let encoded = Writer::new(options.external_from_bytes, &options.side_file_name).model(model)?;
    if encoded.len() <= MAX_MESSAGE_BYTES {
        return Ok(encoded);
    }
    let encoded =
        Writer::new(Some(options.external_from_bytes.unwrap_or(1024)), &options.side_file_name).model(model)?;
    if encoded.len() <= MAX_MESSAGE_BYTES && !options.side_file_name.is_empty() {
        return Ok(encoded);
    }
    Err(Error::unsupported("the model does not fit into one file")
        .expected(format!("at most {MAX_MESSAGE_BYTES} bytes outside of initializers"))
        .found(format!("{} bytes", encoded.len())))
}

struct Writer<'a> {
    external_from: Option<u64>,
    side_name: &'a str,
    side: Vec<(u64, Bytes)>,
    side_len: u64,
}

impl<'a> Writer<'a> {
    fn new(external_from: Option<u64>, side_name: &'a str) -> Self {
        Self { external_from, side_name, side: Vec::new(), side_len: 0 }
    }

    fn model(mut self, model: &Model) -> Result<Encoded> {
        let ModelProto { ir_version, producer_name, producer_version, domain, model_version, doc_string, .. } =
            &model.proto;
        let mut out = Rope::default();
        out.fields(&ModelProto {
            ir_version: *ir_version,
            producer_name: producer_name.clone(),
            producer_version: producer_version.clone(),
            domain: domain.clone(),
            model_version: *model_version,
            doc_string: doc_string.clone(),
            ..ModelProto::default()
        });
        let graph = self.graph(&model.graph)?;
        out.nested(7, graph);
        out.fields(&ModelProto {
            opset_import: model.proto.opset_import.clone(),
            metadata_props: model.proto.metadata_props.clone(),
            training_info: model.proto.training_info.clone(),
            ..ModelProto::default()
        });
        for function in &model.functions {
            let function = self.function(function)?;
            out.nested(25, function);
        }
        out.fields(&ModelProto { configuration: model.proto.configuration.clone(), ..ModelProto::default() });
        Ok(Encoded { model: out, side: self.side, side_len: self.side_len })
    }

    fn graph(&mut self, graph: &Graph) -> Result<Rope> {
        let residue = &graph.residue;
        let mut out = Rope::default();
        for node in graph.topological_order()? {
            let node = self.node(graph, node)?;
            out.nested(1, node);
        }
        out.fields(&GraphProto { name: residue.name.clone(), ..GraphProto::default() });
        for id in graph.initializers() {
            let value = graph.value(id);
            if let Some(tensor) = value.initializer() {
                let tensor = self.tensor(tensor, Some(value.name()));
                out.nested(5, tensor);
            }
        }
        out.fields(&GraphProto { doc_string: residue.doc_string.clone(), ..GraphProto::default() });
        for &input in graph.inputs() {
            if let Some(info) = &graph.value(input).info {
                out.message(11, &**info);
            }
        }
        for output in &graph.outputs {
            out.message(12, &output.info);
        }
        for info in value_infos(graph) {
            out.message(13, info);
        }
        out.fields(&GraphProto {
            quantization_annotation: residue.quantization_annotation.clone(),
            sparse_initializer: residue.sparse_initializer.clone(),
            metadata_props: residue.metadata_props.clone(),
            ..GraphProto::default()
        });
        Ok(out)
    }

    fn function(&mut self, function: &Function) -> Result<Rope> {
        let proto = &function.proto;
        let body = &function.body;
        let mut out = Rope::default();
        out.fields(&FunctionProto { name: proto.name.clone(), ..FunctionProto::default() });
        for &input in body.inputs() {
            out.string(4, body.value(input).name());
        }
        for output in body.outputs() {
            out.string(5, body.value(output).name());
        }
        out.fields(&FunctionProto { attribute: proto.attribute.clone(), ..FunctionProto::default() });
        for node in body.topological_order()? {
            let node = self.node(body, node)?;
            out.nested(7, node);
        }
        out.fields(&FunctionProto {
            doc_string: proto.doc_string.clone(),
            opset_import: proto.opset_import.clone(),
            domain: proto.domain.clone(),
            attribute_proto: proto.attribute_proto.clone(),
            ..FunctionProto::default()
        });
        for info in value_infos(body) {
            out.message(12, info);
        }
        out.fields(&FunctionProto {
            overload: proto.overload.clone(),
            metadata_props: proto.metadata_props.clone(),
            ..FunctionProto::default()
        });
        Ok(out)
    }

    fn node(&mut self, graph: &Graph, id: NodeId) -> Result<Rope> {
        let node = graph.node(id);
        let mut out = Rope::default();
        let name = |value: Option<crate::ir::ValueId>| value.map_or("", |v| graph.value(v).name());
        for input in graph.node_inputs(id) {
            out.string(1, name(input));
        }
        for output in graph.node_outputs(id) {
            out.string(2, name(output));
        }
        let mut before = node.proto.clone();
        let after = super::proto::NodeProto {
            doc_string: before.doc_string.take(),
            domain: before.domain.take(),
            overload: before.overload.take(),
            metadata_props: std::mem::take(&mut before.metadata_props),
            device_configurations: std::mem::take(&mut before.device_configurations),
            ..Default::default()
        };
        out.fields(&before);
        for attribute in node.attributes() {
            let attribute = self.attribute(node, attribute)?;
            out.nested(5, attribute);
        }
        out.fields(&after);
        Ok(out)
    }

    fn attribute(&mut self, node: &Node, attribute: &Attribute) -> Result<Rope> {
        use super::proto::attribute_proto::AttributeType;
        let proto = attribute.proto();
        let mut out = Rope::default();
        out.fields(&AttributeProto {
            name: proto.name.clone(),
            f: proto.f,
            i: proto.i,
            s: proto.s.clone(),
            ..AttributeProto::default()
        });
        let is_list = matches!(attribute.kind(), AttributeType::Tensors | AttributeType::Graphs);
        let graphs = || node.subgraphs().iter().filter(|s| s.attribute == attribute.name());
        if !is_list {
            for tensor in attribute.tensors() {
                let tensor = self.tensor(tensor, None);
                out.nested(5, tensor);
            }
            for subgraph in graphs() {
                let graph = self.graph(&subgraph.graph)?;
                out.nested(6, graph);
            }
        }
        out.fields(&AttributeProto {
            floats: proto.floats.clone(),
            ints: proto.ints.clone(),
            strings: proto.strings.clone(),
            ..AttributeProto::default()
        });
        if is_list {
            for tensor in attribute.tensors() {
                let tensor = self.tensor(tensor, None);
                out.nested(10, tensor);
            }
            for subgraph in graphs() {
                let graph = self.graph(&subgraph.graph)?;
                out.nested(11, graph);
            }
        }
        out.fields(&AttributeProto {
            name: None,
            f: None,
            i: None,
            s: None,
            floats: Vec::new(),
            ints: Vec::new(),
            strings: Vec::new(),
            ..proto.clone()
        });
        Ok(out)
    }

    /// A tensor: `name` is the name of the value it initializes; tensors in attributes keep theirs.
    fn tensor(&mut self, tensor: &Tensor, name: Option<&str>) -> Rope {
        let source = tensor.source();
        let was_external = source.is_some_and(|s| s.data_location == Some(DataLocation::External as i32));
        let movable = name.is_some() && tensor.dtype() != DType::String && !self.side_name.is_empty();
        let is_large = self.external_from.is_some_and(|from| tensor.byte_len() >= from);
        let external = movable && (was_external || is_large);
        let mut head = match source {
            Some(source) => TensorProto { raw_data: None, ..source.clone() },
            None => TensorProto {
                dims: tensor.shape().iter().map(|&dim| i64::try_from(dim).unwrap_or(i64::MAX)).collect(),
                data_type: Some(tensor.dtype().to_onnx()),
                string_data: tensor.strings().map(<[Bytes]>::to_vec).unwrap_or_default(),
                ..TensorProto::default()
            },
        };
        if let Some(name) = name
            && head.name() != name
        {
            head.name = Some(name.to_owned());
        }
        let is_raw = source.is_none_or(|s| s.raw_data.is_some() || was_external);
        let mut raw = (is_raw && tensor.dtype() != DType::String).then(|| tensor.data().clone());
        if external {
            raw = None;
            head.float_data.clear();
            head.int32_data.clear();
            head.int64_data.clear();
            head.double_data.clear();
            head.uint64_data.clear();
            head.external_data = self.place(tensor.data());
            head.data_location = Some(DataLocation::External as i32);
        } else if was_external {
            head.external_data.clear();
            head.data_location = None;
        }
        let tail = TensorProto {
            double_data: std::mem::take(&mut head.double_data),
            uint64_data: std::mem::take(&mut head.uint64_data),
            doc_string: head.doc_string.take(),
            external_data: std::mem::take(&mut head.external_data),
            data_location: head.data_location.take(),
            metadata_props: std::mem::take(&mut head.metadata_props),
            ..TensorProto::default()
        };
        let mut out = Rope::default();
        out.fields(&head);
        if let Some(raw) = raw {
            out.bytes(9, &raw);
        }
        out.fields(&tail);
        out
    }

    /// Gives contents a place in the side file.
    fn place(&mut self, contents: &Bytes) -> Vec<StringStringEntryProto> {
        let offset = self.side_len.next_multiple_of(SIDE_FILE_ALIGNMENT);
        self.side_len = offset + contents.len() as u64;
        self.side.push((offset, contents.clone()));
        let entry = |key: &str, value: String| StringStringEntryProto { key: Some(key.to_owned()), value: Some(value) };
        vec![
            entry("location", self.side_name.to_owned()),
            entry("offset", offset.to_string()),
            entry("length", contents.len().to_string()),
        ]
    }
}

/// The `value_info` entries in the order of the file.
pub(crate) fn value_infos(graph: &Graph) -> Vec<&super::proto::ValueInfoProto> {
    let mut infos: Vec<(u64, &super::proto::ValueInfoProto)> =
        graph.stray_infos.iter().map(|(rank, info)| (*rank, info)).collect();
    for id in graph.values() {
        let value = graph.value(id);
        if let (Some(info), false) = (&value.info, value.is_input()) {
            infos.push((value.info_rank, info));
        }
    }
    infos.sort_by_key(|(rank, _)| *rank);
    infos.into_iter().map(|(_, info)| info).collect()
}
