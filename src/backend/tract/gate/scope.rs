//! What the gate knows about the values around a node.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use crate::ir::{DType, Tensor};
use crate::onnx::proto::{AttributeProto, GraphProto, NodeProto, TensorProto, ValueInfoProto, type_proto};

/// Element types that a model mentions anywhere.
#[derive(Debug, Default)]
pub(super) struct Types {
    present: BTreeSet<DType>,
}

impl Types {
    /// The types of a graph and of all graphs inside it.
    pub(super) fn of(graph: &GraphProto) -> Self {
        let mut types = Self::default();
        types.collect(graph);
        types
    }

    /// Whether any value may have the type.
    pub(super) fn contains(&self, dtype: DType) -> bool {
        self.present.contains(&dtype)
    }

    fn collect(&mut self, graph: &GraphProto) {
        for info in graph.input.iter().chain(&graph.output).chain(&graph.value_info) {
            self.present.extend(declared(info));
        }
        graph.initializer.iter().for_each(|tensor| self.add(tensor.data_type()));
        for attribute in graph.node.iter().flat_map(|node| &node.attribute) {
            attribute.t.as_deref().into_iter().for_each(|tensor| self.add(tensor.data_type()));
            // Cast and its like name a type by its number.
            if matches!(attribute.name(), "to" | "dtype" | "output_dtype") {
                self.add(i32::try_from(attribute.i()).unwrap_or(0));
            }
            attribute.g.as_deref().into_iter().chain(&attribute.graphs).for_each(|graph| self.collect(graph));
        }
    }

    fn add(&mut self, number: i32) {
        self.present.extend(DType::from_onnx(number));
    }
}

/// The values of one graph, as far as the nodes before the current one define them.
#[derive(Debug)]
pub(super) struct Scope<'a> {
    outer: Option<&'a Scope<'a>>,
    values: BTreeMap<&'a str, Value<'a>>,
}

#[derive(Debug, Clone, Default)]
struct Value<'a> {
    dtype: Option<DType>,
    /// Computed from constants alone: tract folds it before it runs.
    folded: bool,
    contents: Option<Cow<'a, TensorProto>>,
}

impl<'a> Scope<'a> {
    /// The scope at the start of a graph.
    pub(super) fn new(graph: &'a GraphProto, outer: Option<&'a Scope<'a>>) -> Self {
        let mut values = BTreeMap::new();
        for info in &graph.input {
            values.insert(info.name(), Value { dtype: declared(info), ..Value::default() });
        }
        for tensor in &graph.initializer {
            values.insert(tensor.name(), Value::constant(Cow::Borrowed(tensor)));
        }
        Self { outer, values }
    }

    /// Takes in the outputs of a node.
    pub(super) fn learn(&mut self, node: &'a NodeProto) {
        let first = node.input.first().map_or("", String::as_str);
        let folded = !node.op_type().starts_with("Random")
            && node.attribute.iter().all(|attribute| attribute.g.is_none())
            && node.input.iter().all(|input| input.is_empty() || self.is_folded(input));
        let value = match node.op_type() {
            "Constant" => constant_of(node),
            "Cast" => Value { dtype: int(node, "to").and_then(dtype), folded, contents: None },
            "QuantizeLinear" => {
                let zero_point = node.input.get(2).and_then(|name| self.dtype(name));
                let dtype = zero_point.or_else(|| int(node, "output_dtype").and_then(dtype)).or(Some(DType::U8));
                Value { dtype, folded, contents: None }
            }
            // Shapes are numbers once the inputs are there, and plans are made for given inputs.
            "Shape" | "Size" => Value { dtype: Some(DType::I64), folded: true, contents: None },
            "DequantizeLinear" => Value { dtype: Some(DType::F32), folded, contents: None },
            "Identity" | "Reshape" | "Transpose" | "Flatten" | "Squeeze" | "Unsqueeze" | "Slice" | "Gather"
            | "Concat" | "Relu" | "MaxPool" | "Add" | "Sub" | "Mul" | "Div" => {
                Value { dtype: self.dtype(first), folded, contents: None }
            }
            _ => Value { dtype: None, folded, contents: None },
        };
        for output in &node.output {
            self.values.insert(output, value.clone());
        }
    }

    fn get(&self, name: &str) -> Option<&Value<'a>> {
        match (self.values.get(name), self.outer) {
            (Some(value), _) => Some(value),
            (None, Some(outer)) => outer.get(name),
            (None, None) => None,
        }
    }

    fn is_folded(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.folded)
    }

    fn dtype(&self, name: &str) -> Option<DType> {
        self.get(name)?.dtype
    }
}

impl<'a> Value<'a> {
    fn constant(tensor: Cow<'a, TensorProto>) -> Self {
        Self { dtype: DType::from_onnx(tensor.data_type()), folded: true, contents: Some(tensor) }
    }
}

/// A node in its surroundings: what a rule judges.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeView<'v, 'a> {
    pub(super) node: &'a NodeProto,
    pub(super) opset: i64,
    pub(super) scope: &'v Scope<'a>,
    pub(super) types: &'v Types,
}

impl<'a> NodeView<'_, 'a> {
    /// The domain, the default one as `""`.
    pub(super) fn domain(&self) -> &'a str {
        match self.node.domain() {
            "ai.onnx" => "",
            domain => domain,
        }
    }

    /// The name of an input; `None` where it is left out.
    pub(super) fn input(&self, index: usize) -> Option<&'a str> {
        self.node.input.get(index).map(String::as_str).filter(|name| !name.is_empty())
    }

    /// Outputs that are not left out.
    pub(super) fn outputs(&self) -> usize {
        self.node.output.iter().filter(|name| !name.is_empty()).count()
    }

    /// Whether an input is left out or computed from constants alone.
    pub(super) fn is_fixed(&self, index: usize) -> bool {
        self.input(index).is_none_or(|name| self.scope.is_folded(name))
    }

    /// The element type of an input, where it is known.
    pub(super) fn dtype(&self, index: usize) -> Option<DType> {
        self.scope.dtype(self.input(index)?)
    }

    /// The contents of an input that is an integer constant.
    pub(super) fn ints_of(&self, index: usize) -> Option<Vec<i64>> {
        self.constant(index)?.to_i64()
    }

    /// The constant that an input is.
    pub(super) fn constant(&self, index: usize) -> Option<Tensor> {
        let proto = self.scope.get(self.input(index)?)?.contents.as_ref()?;
        Tensor::from_proto(proto.clone().into_owned(), None).ok()
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str) -> Option<i64> {
        int(self.node, name)
    }

    /// A list attribute.
    pub(super) fn ints(&self, name: &str) -> Option<&'a [i64]> {
        self.attribute(name).map(|attribute| attribute.ints.as_slice())
    }

    /// A text attribute.
    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        std::str::from_utf8(self.attribute(name)?.s()).ok()
    }

    /// Any attribute.
    pub(super) fn attribute(&self, name: &str) -> Option<&'a AttributeProto> {
        attribute(self.node, name)
    }
}

fn attribute<'a>(node: &'a NodeProto, name: &str) -> Option<&'a AttributeProto> {
    node.attribute.iter().find(|attribute| attribute.name() == name)
}

fn int(node: &NodeProto, name: &str) -> Option<i64> {
    attribute(node, name)?.i
}

fn dtype(number: i64) -> Option<DType> {
    DType::from_onnx(i32::try_from(number).ok()?)
}

fn declared(info: &ValueInfoProto) -> Option<DType> {
    match info.r#type.as_ref()?.value.as_ref()? {
        type_proto::Value::TensorType(tensor) => DType::from_onnx(tensor.elem_type()),
        _ => None,
    }
}

/// The value of a `Constant` node, in whichever attribute it is.
fn constant_of(node: &NodeProto) -> Value<'_> {
    if let Some(tensor) = attribute(node, "value").and_then(|attribute| attribute.t.as_deref()) {
        return Value::constant(Cow::Borrowed(tensor));
    }
    let ints = |dims: Vec<i64>, values: &[i64]| TensorProto {
        data_type: Some(DType::I64.to_onnx()),
        dims,
        int64_data: values.to_vec(),
        ..TensorProto::default()
    };
    if let Some(value) = int(node, "value_int") {
        return Value::constant(Cow::Owned(ints(Vec::new(), &[value])));
    }
    if let Some(attribute) = attribute(node, "value_ints") {
        return Value::constant(Cow::Owned(ints(vec![attribute.ints.len() as i64], &attribute.ints)));
    }
    let is_float = ["value_float", "value_floats"].iter().any(|name| attribute(node, name).is_some());
    Value { dtype: is_float.then_some(DType::F32), folded: true, contents: None }
}
