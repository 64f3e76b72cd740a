//! What a model is made of: where its bytes are, by operator and by tensor.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use crate::census::{Zeros, census, zeros_of};
use crate::error::Result;
use crate::input::Input;
use crate::ir::{Graph, Model, NodeId, Port, Tensor, TypedName, ValueId};

/// The version of the JSON form.
pub const INSPECTION_VERSION: u32 = 1;

/// What a model is made of. Lists are in falling order of bytes.
#[derive(Debug, Clone, Serialize)]
pub struct Inspection {
    /// [`INSPECTION_VERSION`].
    pub version: u32,
    /// The file.
    pub path: String,
    /// Bytes of the model file.
    pub bytes: u64,
    /// Bytes of its side files.
    pub side_bytes: u64,
    /// The version of the file format.
    pub ir_version: i64,
    /// Operator sets, the default one under the name `ai.onnx`.
    pub opsets: BTreeMap<String, i64>,
    /// The tool that wrote the file, and its version.
    pub producer: String,
    /// The model's metadata.
    pub metadata: BTreeMap<String, String>,
    /// Inputs that a caller must provide, with their types.
    pub inputs: Vec<String>,
    /// Outputs, with their types.
    pub outputs: Vec<String>,
    /// Operators in all graphs.
    pub nodes: u64,
    /// Functions that the model defines.
    pub functions: u64,
    /// Elements of all constants.
    pub elements: u64,
    /// Bytes of all constants.
    pub constant_bytes: u64,
    /// The share of zeros among the elements of constants of two and more dimensions.
    pub sparsity: f64,
    /// Constants by element type.
    pub types: Vec<TypeShare>,
    /// Operators, and the constants they are the first to read.
    pub operators: Vec<OperatorShare>,
    /// Constants.
    pub tensors: Vec<TensorShare>,
}

/// The constants of one element type.
#[derive(Debug, Clone, Serialize)]
pub struct TypeShare {
    /// The type in ONNX's words.
    pub dtype: String,
    /// How many there are.
    pub tensors: u64,
    /// Their elements.
    pub elements: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// The operators of one type.
#[derive(Debug, Clone, Serialize)]
pub struct OperatorShare {
    /// The operator, with its domain unless that is the default.
    pub operator: String,
    /// How many there are.
    pub nodes: u64,
    /// Bytes of the constants they read; each constant counts for its first reader.
    pub constant_bytes: u64,
}

/// One constant.
#[derive(Debug, Clone, Serialize)]
pub struct TensorShare {
    /// Its name; that of the value it yields where it lies in a `Constant` operator.
    pub name: String,
    /// The graph it is in, as a path of operators; empty for the main graph.
    pub path: Vec<String>,
    /// Its type: `float[64,3,7,7]`.
    #[serde(rename = "type")]
    pub ty: String,
    /// Its bytes.
    pub bytes: u64,
    /// The share of zeros; `null` where its elements cannot be counted.
    pub sparsity: Option<f64>,
    /// The operator that reads it first; `null` where none does.
    pub reader: Option<String>,
}

/// Reads a model file and takes it apart.
///
/// # Errors
/// As [`crate::onnx::read`].
pub fn inspect(path: &Path) -> Result<Inspection> {
    let input = Input::open(path)?;
    let model = &input.model;
    let mut parts = Parts::default();
    model.visit_graphs(|graph, path| {
        parts.add(graph, path);
        Ok(())
    })?;
    let totals = census(model);
    let (name, version) = model.producer();
    let texts = |names: Vec<TypedName>| names.iter().map(ToString::to_string).collect();
    let signature = model.signature();
    Ok(Inspection {
        version: INSPECTION_VERSION,
        path: path.display().to_string(),
        bytes: input.bytes(),
        side_bytes: input.side_bytes(),
        ir_version: model.ir_version(),
        opsets: opsets(model),
        producer: format!("{name} {version}").trim().to_owned(),
        metadata: model.metadata().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        inputs: texts(signature.inputs),
        outputs: texts(signature.outputs),
        nodes: totals.nodes,
        functions: model.functions.len() as u64,
        elements: totals.elements,
        constant_bytes: totals.constant_bytes,
        sparsity: parts.zeros.sparsity(),
        types: sorted(parts.types, |share| share.bytes),
        operators: sorted(parts.operators, |share| share.constant_bytes),
        tensors: {
            parts.tensors.sort_by_key(|share| Reverse(share.bytes));
            parts.tensors
        },
    })
}

/// The operators of every graph of a model with the constants they read, in falling order of bytes.
///
/// # Errors
/// As [`Model::visit_graphs`].
pub(crate) fn operator_shares(model: &Model) -> Result<Vec<OperatorShare>> {
    let mut parts = Parts::default();
    model.visit_graphs(|graph, path| {
        parts.add(graph, path);
        Ok(())
    })?;
    Ok(sorted(parts.operators, |share| share.constant_bytes))
}

fn opsets(model: &Model) -> BTreeMap<String, i64> {
    let name = |domain: String| if domain.is_empty() { "ai.onnx".to_owned() } else { domain };
    model.opsets().into_iter().map(|(domain, version)| (name(domain), version)).collect()
}

/// The shares in falling order; those of equal size by name.
fn sorted<T>(shares: BTreeMap<String, T>, size: impl Fn(&T) -> u64) -> Vec<T> {
    let mut shares: Vec<T> = shares.into_values().collect();
    shares.sort_by_key(|share| Reverse(size(share)));
    shares
}

#[derive(Default)]
struct Parts {
    types: BTreeMap<String, TypeShare>,
    operators: BTreeMap<String, OperatorShare>,
    tensors: Vec<TensorShare>,
    zeros: Zeros,
}

impl Parts {
    fn add(&mut self, graph: &Graph, path: &[String]) {
        for node in graph.nodes() {
            self.operator(graph, node).nodes += 1;
            // Paddle and others keep weights in `Constant` operators.
            let constant = graph.node(node).constant_value();
            if let (Some(tensor), Some(value)) = (constant, graph.output(node, 0)) {
                self.constant(graph, path, value, &tensor);
            }
        }
        for value in graph.initializers() {
            if let Some(tensor) = graph.value(value).initializer() {
                self.constant(graph, path, value, tensor);
            }
        }
    }

    fn constant(&mut self, graph: &Graph, path: &[String], value: ValueId, tensor: &Tensor) {
        let bytes = tensor.byte_len();
        let uses = graph.uses(value);
        let reader = uses.iter().find(|reading| matches!(reading.port, Port::In(_))).or(uses.first());
        if let Some(reader) = reader {
            self.operator(graph, reader.node).constant_bytes += bytes;
        }
        let dtype = tensor.dtype().to_string();
        let share = self.types.entry(dtype.clone()).or_insert(TypeShare { dtype, tensors: 0, elements: 0, bytes: 0 });
        share.tensors += 1;
        share.elements += tensor.len() as u64;
        share.bytes += bytes;
        let zeros = zeros_of(tensor);
        if let Some(zeros) = zeros.filter(|_| tensor.rank() >= 2) {
            self.zeros += zeros;
        }
        self.tensors.push(TensorShare {
            name: graph.value(value).name().to_owned(),
            path: path.to_vec(),
            ty: tensor.type_text(),
            bytes,
            sparsity: zeros.map(Zeros::sparsity),
            reader: reader.map(|reader| graph.site(reader.node).to_string()),
        });
    }

    fn operator(&mut self, graph: &Graph, node: NodeId) -> &mut OperatorShare {
        let node = graph.node(node);
        let operator = match node.domain() {
            "" => node.op_type().to_owned(),
            domain => format!("{domain}.{}", node.op_type()),
        };
        let new = || OperatorShare { operator: operator.clone(), nodes: 0, constant_bytes: 0 };
        self.operators.entry(operator.clone()).or_insert_with(new)
    }
}
