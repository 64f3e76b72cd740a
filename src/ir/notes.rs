//! What a model carries for people: doc strings, metadata, names of operators. No runtime needs it to compute.

use std::mem;

use super::graph::{Graph, Vertex};
use super::model::Model;
use super::tensor::Tensor;
use crate::error::Result;
use crate::onnx::pins;
use crate::onnx::proto::{StringStringEntryProto, ValueInfoProto};

/// What a graph is called whose name was the path of a file: a name it must have.
const NEW_GRAPH_NAME: &str = "graph";

/// Which notes to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// Doc strings.
    pub docs: bool,
    /// Metadata of everything but the model itself, for which there is [`Model::retain_metadata`].
    pub metadata: bool,
    /// Names of operators, and of tensors in attributes. Nothing refers to them.
    pub names: bool,
    /// What exporters note for their own debugging: metadata under keys that begin with `pkg.`, doc strings of operators
    /// that are stack traces.
    pub traces: bool,
}

/// How keys of metadata begin that a package keeps for itself: PyTorch notes the stack trace of each operator under one,
/// often more bytes than the operators themselves.
const EXPORTER_KEY: &str = "pkg.";

/// What a stack trace of Python has in every line, in one of its forms.
const SOURCE_LINES: &[&str] = &[".py(", ".py\", line "];

impl Model {
    /// Drops the notes of the model and its functions, those of their graphs excepted; says how many there were.
    pub fn drop_notes(&mut self, notes: Notes) -> usize {
        let mut dropped = notes.doc(&mut self.proto.doc_string);
        for function in &mut self.functions {
            dropped += notes.doc(&mut function.proto.doc_string);
            dropped += notes.meta(&mut function.proto.metadata_props);
            for attribute in &mut function.proto.attribute_proto {
                dropped += notes.doc(&mut attribute.doc_string);
            }
        }
        dropped
    }
}

impl Model {
    /// Drops what the file says of how to train the model; says how many sections there were. The values that it named may
    /// be renamed, folded and removed from then on.
    ///
    /// # Errors
    /// None; marking values may fail in principle.
    pub fn drop_training_info(&mut self) -> Result<usize> {
        let dropped = mem::take(&mut self.proto.training_info).len();
        if dropped > 0 {
            self.graph.pin_again()?;
        }
        Ok(dropped)
    }

    /// Drops names of the producer, and of graphs, that are paths of files; says how many there were.
    pub fn drop_paths(&mut self) -> usize {
        let mut dropped = 0;
        for name in [&mut self.proto.producer_name, &mut self.proto.producer_version] {
            if name.take_if(|name| is_path(name)).is_some() {
                dropped += 1;
            }
        }
        dropped
    }
}

/// Whether a name looks like the path of a file.
fn is_path(name: &str) -> bool {
    name.contains(['/', '\\'])
}

impl Graph {
    /// Gives the graph another name if its own is the path of a file; says whether it was.
    pub fn drop_path(&mut self) -> bool {
        match &mut self.residue.name {
            Some(name) if is_path(name) => {
                NEW_GRAPH_NAME.clone_into(name);
                true
            }
            _ => false,
        }
    }

    /// Drops sparse initializers that nothing reads; says how many there were.
    ///
    /// # Errors
    /// Fails where a value cannot be removed.
    pub fn drop_unread_sparse(&mut self) -> Result<usize> {
        let unread: Vec<_> =
            self.values().into_iter().filter(|&value| self.value(value).is_sparse() && self.is_unread(value)).collect();
        for &value in &unread {
            let name = self.value(value).name().to_owned();
            self.residue.sparse_initializer.retain(|sparse| sparse.values.as_ref().is_none_or(|v| v.name() != name));
            self.remove_value(value)?;
        }
        Ok(unread.len())
    }

    /// Marks anew what parts of this graph besides operators refer to by name, and what is kept.
    fn pin_again(&mut self) -> Result<()> {
        let mut names = pins::in_annotations(&self.residue.quantization_annotation);
        for vertex in self.net.vertices_mut() {
            match vertex {
                Vertex::Node(node) => names.extend(pins::in_devices(&node.proto.device_configurations)),
                Vertex::Value(value) => value.is_pinned = value.is_kept,
            }
        }
        names.iter().try_for_each(|name| self.pin(name))
    }

    /// Drops the notes of the graph, its operators, values and tensors, but not of inner graphs; says how many there
    /// were.
    pub fn drop_notes(&mut self, notes: Notes) -> usize {
        let mut dropped = notes.doc(&mut self.residue.doc_string) + notes.meta(&mut self.residue.metadata_props);
        for output in &mut self.outputs {
            dropped += notes.info(&mut output.info);
        }
        for (_, info) in &mut self.stray_infos {
            dropped += notes.info(info);
        }
        for vertex in self.net.vertices_mut() {
            match vertex {
                Vertex::Node(node) => {
                    dropped += notes.node_doc(&mut node.proto.doc_string) + notes.meta(&mut node.proto.metadata_props);
                    if !node.is_kept {
                        dropped += notes.name(&mut node.proto.name);
                    }
                    for attribute in &mut node.attributes {
                        dropped += notes.doc(&mut attribute.proto_mut().doc_string);
                        for tensor in attribute.tensors_mut() {
                            dropped += notes.tensor(tensor, true);
                        }
                    }
                }
                Vertex::Value(value) => {
                    dropped += value.info.as_deref_mut().map_or(0, |info| notes.info(info));
                    dropped += value.init.as_mut().map_or(0, |tensor| notes.tensor(tensor, false));
                }
            }
        }
        dropped
    }
}

impl Notes {
    fn doc(self, doc: &mut Option<String>) -> usize {
        if self.docs { usize::from(doc.take().is_some()) } else { 0 }
    }

    fn node_doc(self, doc: &mut Option<String>) -> usize {
        let is_trace = |doc: &mut String| SOURCE_LINES.iter().any(|line| doc.contains(line));
        if self.traces && !self.docs { usize::from(doc.take_if(is_trace).is_some()) } else { self.doc(doc) }
    }

    fn meta(self, entries: &mut Vec<StringStringEntryProto>) -> usize {
        let before = entries.len();
        entries.retain(|entry| !self.drops(entry));
        before - entries.len()
    }

    fn drops(self, entry: &StringStringEntryProto) -> bool {
        self.metadata || (self.traces && entry.key().starts_with(EXPORTER_KEY))
    }

    fn name(self, name: &mut Option<String>) -> usize {
        if self.names { usize::from(name.take().is_some()) } else { 0 }
    }

    fn info(self, info: &mut ValueInfoProto) -> usize {
        self.doc(&mut info.doc_string) + self.meta(&mut info.metadata_props)
    }

    fn tensor(self, tensor: &mut Tensor, in_attribute: bool) -> usize {
        let Some(source) = tensor.source() else { return 0 };
        let has_doc = self.docs && source.doc_string.is_some();
        let has_meta = source.metadata_props.iter().any(|entry| self.drops(entry));
        let has_name = self.names && in_attribute && source.name.is_some();
        let mut dropped = 0;
        if has_doc || has_meta || has_name {
            tensor.edit_source(|source| {
                dropped = self.doc(&mut source.doc_string) + self.meta(&mut source.metadata_props);
                dropped += if in_attribute { self.name(&mut source.name) } else { 0 };
            });
        }
        dropped
    }
}
