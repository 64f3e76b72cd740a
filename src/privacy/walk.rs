//! Traces that the schema of ONNX tells of.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;

use super::{KEPT_METADATA, Trace, TraceKind, trace};
use crate::error::Result;
use crate::onnx::external::{ExternalFiles, entry};
use crate::onnx::pins;
use crate::onnx::proto::{
    AttributeProto, GraphProto, ModelProto, NodeProto, StringStringEntryProto, TensorProto, ValueInfoProto,
    tensor_proto::DataLocation,
};

/// A walk over a model.
pub(super) struct Walk {
    pub(super) traces: Vec<Trace>,
    external: ExternalFiles,
    /// What tensors take of each side file, as ranges of bytes.
    taken: BTreeMap<String, Vec<(u64, u64)>>,
}

impl Walk {
    pub(super) fn new(external: ExternalFiles) -> Self {
        Self { traces: Vec::new(), external, taken: BTreeMap::new() }
    }

    /// Looks at everything in a model.
    ///
    /// # Errors
    /// Fails where a side file cannot be read.
    pub(super) fn model(&mut self, model: &ModelProto) -> Result<()> {
        self.doc(model.doc_string.as_deref(), "the model");
        self.metadata(&model.metadata_props, "the model");
        self.path(model.producer_name.as_deref(), "the name of the producer");
        self.path(model.producer_version.as_deref(), "the version of the producer");
        for section in 1..=model.training_info.len() {
            self.push(TraceKind::Training, &format!("the model, section {section}"), "");
        }
        if let Some(graph) = &model.graph {
            self.graph(graph, "the graph")?;
        }
        for function in &model.functions {
            let place = format!("function `{}`", function.name());
            self.doc(function.doc_string.as_deref(), &place);
            self.metadata(&function.metadata_props, &place);
            function.value_info.iter().for_each(|info| self.value(info, &place));
            for attribute in &function.attribute_proto {
                self.attribute(attribute, &place)?;
            }
            let reads = function.node.iter().flat_map(readings).chain(function.output.iter().cloned()).collect();
            self.nodes(&function.node, &reads, &place)?;
        }
        Ok(())
    }

    /// The side files that tensors lie in, with a trace for what lies between them.
    ///
    /// # Errors
    /// Fails where one cannot be read.
    pub(super) fn side_files(&mut self) -> Result<Vec<(String, Bytes)>> {
        let mut files = Vec::new();
        for (location, mut ranges) in std::mem::take(&mut self.taken) {
            let contents = self.external.file(&location)?;
            ranges.sort_unstable();
            ranges.push((contents.len() as u64, contents.len() as u64));
            let mut end = 0;
            for (from, to) in ranges {
                let between = contents.get(end as usize..from as usize).unwrap_or_default();
                if between.iter().any(|&byte| byte != 0) {
                    let place = format!("side file `{location}`, bytes {end} to {from}, which no tensor lies in");
                    self.push(TraceKind::UnusedTensor, &place, "");
                }
                end = end.max(to);
            }
            files.push((format!("side file `{location}`"), contents));
        }
        Ok(files)
    }

    fn graph(&mut self, graph: &GraphProto, place: &str) -> Result<()> {
        self.doc(graph.doc_string.as_deref(), place);
        self.metadata(&graph.metadata_props, place);
        self.path(graph.name.as_deref(), &format!("the name of {place}"));
        for info in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
            self.value(info, place);
        }
        let reads = reads_of(graph);
        for tensor in &graph.initializer {
            self.tensor(tensor, place)?;
            self.unless_read(tensor.name(), &reads, place);
        }
        for sparse in &graph.sparse_initializer {
            for tensor in sparse.values.iter().chain(&sparse.indices) {
                self.tensor(tensor, place)?;
            }
            let name = sparse.values.as_ref().map_or("", |values| values.name());
            self.unless_read(name, &reads, place);
        }
        self.nodes(&graph.node, &reads, place)
    }

    fn nodes(&mut self, nodes: &[NodeProto], reads: &BTreeSet<String>, place: &str) -> Result<()> {
        for node in nodes {
            let label = [Some(node.name()), node.output.first().map(String::as_str)].into_iter().flatten();
            let label = label.into_iter().find(|label| !label.is_empty()).unwrap_or_default();
            let here = format!("{} `{label}`", node.op_type());
            let here = if place == "the graph" { here } else { format!("{here} in {place}") };
            self.doc(node.doc_string.as_deref(), &here);
            self.metadata(&node.metadata_props, &here);
            if node.op_type() == "Constant" && matches!(node.domain(), "" | "ai.onnx") {
                node.output.iter().for_each(|output| self.unless_read(output, reads, place));
            }
            for attribute in &node.attribute {
                self.attribute(attribute, &here)?;
            }
        }
        Ok(())
    }

    fn attribute(&mut self, attribute: &AttributeProto, place: &str) -> Result<()> {
        let here = format!("attribute `{}` of {place}", attribute.name());
        self.doc(attribute.doc_string.as_deref(), &here);
        let sparse = attribute.sparse_tensor.as_deref().into_iter().chain(&attribute.sparse_tensors);
        let parts = sparse.flat_map(|sparse| sparse.values.iter().chain(&sparse.indices));
        for tensor in attribute.t.as_deref().into_iter().chain(&attribute.tensors).chain(parts) {
            self.tensor(tensor, &here)?;
        }
        let graphs = attribute.g.as_deref().into_iter().chain(&attribute.graphs);
        graphs.into_iter().try_for_each(|graph| self.graph(graph, &here))
    }

    fn value(&mut self, info: &ValueInfoProto, place: &str) {
        let here = format!("value `{}` in {place}", info.name());
        self.doc(info.doc_string.as_deref(), &here);
        self.metadata(&info.metadata_props, &here);
    }

    fn tensor(&mut self, tensor: &TensorProto, place: &str) -> Result<()> {
        let here = format!("tensor `{}` in {place}", tensor.name());
        self.doc(tensor.doc_string.as_deref(), &here);
        self.metadata(&tensor.metadata_props, &here);
        if tensor.data_location == Some(DataLocation::External as i32)
            && let Some(location) = entry(tensor, "location")
            && let Some(contents) = self.external.contents(tensor)?
        {
            let offset = entry(tensor, "offset").and_then(|text| text.parse().ok()).unwrap_or(0u64);
            self.taken.entry(location.to_owned()).or_default().push((offset, offset + contents.len() as u64));
        }
        Ok(())
    }

    fn unless_read(&mut self, name: &str, reads: &BTreeSet<String>, place: &str) {
        if !name.is_empty() && !reads.contains(name) {
            self.push(TraceKind::UnusedTensor, &format!("{place}, constant `{name}`"), "");
        }
    }

    fn doc(&mut self, doc: Option<&str>, place: &str) {
        if let Some(text) = doc.filter(|text| !text.is_empty()) {
            self.push(TraceKind::DocString, place, text);
        }
    }

    fn metadata(&mut self, entries: &[StringStringEntryProto], place: &str) {
        for entry in entries.iter().filter(|entry| !KEPT_METADATA.iter().any(|kept| entry.key().starts_with(kept))) {
            self.push(TraceKind::Metadata, place, &format!("{}: {}", entry.key(), entry.value()));
        }
    }

    fn path(&mut self, name: Option<&str>, place: &str) {
        if let Some(name) = name.filter(|name| name.contains(['/', '\\'])) {
            self.push(TraceKind::Path, place, name);
        }
    }

    fn push(&mut self, kind: TraceKind, place: &str, text: &str) {
        self.traces.push(trace(kind, place, text));
    }
}

/// The names that something in a graph, or in a graph inside of it, reads.
fn reads_of(graph: &GraphProto) -> BTreeSet<String> {
    let outputs = graph.output.iter().map(|output| output.name().to_owned());
    let annotated = pins::in_annotations(&graph.quantization_annotation);
    graph.node.iter().flat_map(readings).chain(outputs).chain(annotated).collect()
}

/// The names that an operator reads, those that graphs in its attributes read among them.
fn readings(node: &NodeProto) -> Vec<String> {
    let mut names = node.input.clone();
    names.extend(pins::in_devices(&node.device_configurations));
    for attribute in &node.attribute {
        for graph in attribute.g.as_deref().into_iter().chain(&attribute.graphs) {
            names.extend(reads_of(graph));
        }
    }
    names
}
