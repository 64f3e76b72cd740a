//! What a model carries for people: doc strings, metadata, names of operators. No runtime needs it to compute.

use std::mem;

use super::graph::{Graph, Vertex};
use super::model::Model;
use super::tensor::Tensor;
use crate::onnx::proto::{StringStringEntryProto, ValueInfoProto};

/// Which notes to drop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Notes {
    /// Doc strings.
    pub docs: bool,
    /// Metadata of everything but the model itself, for which there is [`Model::retain_metadata`].
    pub metadata: bool,
    /// Names of operators, and of tensors in attributes. Nothing refers to them.
    pub names: bool,
}

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

impl Graph {
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
                    dropped += notes.doc(&mut node.proto.doc_string) + notes.meta(&mut node.proto.metadata_props);
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

    fn meta(self, entries: &mut Vec<StringStringEntryProto>) -> usize {
        if self.metadata { mem::take(entries).len() } else { 0 }
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
        let has_meta = self.metadata && !source.metadata_props.is_empty();
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
