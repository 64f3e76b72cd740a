//! Where the raw bytes of tensors lie in a model file.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use prost::Message;

use crate::error::{Error, Result, Site};
use crate::onnx::proto::tensor_proto::{DataLocation, DataType};
use crate::onnx::proto::{AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto};

/// What bytes are, as far as coding them cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Anything: the graph, shapes, integers of more than a byte.
    Rest,
    /// Bytes whose zero is 0.
    Signed,
    /// Bytes whose zero is in the middle.
    Unsigned,
    /// Numbers of two bytes with the sign on top.
    Half,
    /// Numbers of four bytes with the sign on top.
    Single,
}

impl Kind {
    pub(super) const ALL: [Self; 5] = [Self::Rest, Self::Signed, Self::Unsigned, Self::Half, Self::Single];

    /// Bytes of an element.
    pub(super) fn size(self) -> usize {
        match self {
            Self::Rest | Self::Signed | Self::Unsigned => 1,
            Self::Half => 2,
            Self::Single => 4,
        }
    }
}

/// Bytes of one kind in a file.
#[derive(Debug, Clone)]
pub(super) struct Region {
    pub(super) range: Range<usize>,
    pub(super) kind: Kind,
    /// Elements in a row: along all axes but the first.
    pub(super) width: usize,
}

/// The regions of a model's tensors by where they begin; apart from each other, everything between them is the rest.
///
/// # Errors
/// Fails where the file is no model, or keeps weights in a side file, which packing would leave behind.
pub(super) fn plan(file: &Bytes) -> Result<Vec<Region>> {
    let model = ModelProto::decode(file.clone())
        .map_err(|e| Error::invalid_model("the file is not an ONNX model").with_source(e))?;
    let mut found = Found { file, regions: BTreeMap::new() };
    model.graph.iter().try_for_each(|graph| found.graph(graph))?;
    model.functions.iter().flat_map(|function| &function.node).try_for_each(|node| found.node(node))?;
    let mut end = 0;
    let mut regions = Vec::new();
    for region in found.regions.into_values() {
        if region.range.start >= end {
            end = region.range.end;
            regions.push(region);
        }
    }
    Ok(regions)
}

struct Found<'a> {
    file: &'a Bytes,
    regions: BTreeMap<usize, Region>,
}

impl Found<'_> {
    fn graph(&mut self, graph: &GraphProto) -> Result<()> {
        graph.initializer.iter().try_for_each(|tensor| self.tensor(tensor))?;
        for sparse in &graph.sparse_initializer {
            sparse.values.iter().chain(&sparse.indices).try_for_each(|tensor| self.tensor(tensor))?;
        }
        graph.node.iter().try_for_each(|node| self.node(node))
    }

    fn node(&mut self, node: &NodeProto) -> Result<()> {
        node.attribute.iter().try_for_each(|attribute| self.attribute(attribute))
    }

    fn attribute(&mut self, attribute: &AttributeProto) -> Result<()> {
        attribute.t.iter().map(|t| &**t).chain(&attribute.tensors).try_for_each(|tensor| self.tensor(tensor))?;
        attribute.g.iter().map(|g| &**g).chain(&attribute.graphs).try_for_each(|graph| self.graph(graph))
    }

    fn tensor(&mut self, tensor: &TensorProto) -> Result<()> {
        if tensor.data_location == Some(DataLocation::External as i32) {
            return Err(Error::unsupported("a model with a side file cannot be packed")
                .at(Site::tensor(tensor.name()))
                .expected("all weights inside the model file")
                .help("write it as one file first: onnx-shrink model.onnx -o whole.onnx"));
        }
        let Some(raw) = &tensor.raw_data else { return Ok(()) };
        let kind = match DataType::try_from(tensor.data_type()) {
            Ok(DataType::Int8 | DataType::Int4) => Kind::Signed,
            Ok(DataType::Uint8 | DataType::Uint4) => Kind::Unsigned,
            Ok(DataType::Float16 | DataType::Bfloat16) => Kind::Half,
            Ok(DataType::Float) => Kind::Single,
            _ => return Ok(()),
        };
        // The decoder shares the memory of the file, so where a tensor's bytes are tells their place in the file.
        let place = (raw.as_ptr() as usize).checked_sub(self.file.as_ptr() as usize);
        let whole = raw.len() / kind.size() * kind.size();
        if let Some(start) = place.filter(|start| whole > 0 && start + raw.len() <= self.file.len()) {
            let width = tensor
                .dims
                .iter()
                .skip(usize::from(tensor.dims.len() > 1))
                .fold(1usize, |product, extent| product.saturating_mul(usize::try_from(*extent).unwrap_or(1)));
            let width = width.clamp(1, whole / kind.size());
            self.regions.insert(start, Region { range: start..start + whole, kind, width });
        }
        Ok(())
    }
}
