//! What is known of values whose contents are not.

use std::collections::BTreeMap;
use std::fmt::Debug;

use super::super::common::size::constant_bytes;
use super::inferred::Known;
use crate::infer;
use crate::ir::{Graph, NodeId, Shape, Tensor, ValueId, ValueType};

/// Knows shapes, and what follows from them.
pub(super) trait Facts: Debug {
    /// The shape of a value of `graph`, where its rank is known.
    fn shape(&self, graph: &Graph, value: ValueId) -> Option<Shape>;

    /// The contents of a value that an operator writes, where they follow from shapes although not all that the operator
    /// reads is constant.
    fn contents(&self, graph: &Graph, value: ValueId) -> Option<Tensor>;
}

/// A constant of an enclosing graph.
#[derive(Debug)]
pub(super) struct OuterConstant {
    pub(super) tensor: Tensor,
    /// Bytes the file saves once the one inner graph that reads it does so no more; 0 where there are other readers.
    pub(super) own_bytes: u64,
}

/// What an inner graph can see of a graph around it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    constants: BTreeMap<String, OuterConstant>,
    shapes: BTreeMap<String, Shape>,
    /// Whether the declared types of the graph can be relied on.
    is_trusted: bool,
}

impl Scope {
    /// What inner graphs can see of `graph`.
    pub(super) fn of(graph: &Graph, is_trusted: bool, known: &Known) -> Self {
        let mut scope = Self { is_trusted, ..Self::default() };
        for node in graph.nodes() {
            for value in graph.captures(node) {
                let name = || graph.value(value).name().to_owned();
                if let Some(tensor) = graph.constant(value) {
                    let own_bytes = if has_one_reader(graph, node, value) { constant_bytes(graph, value) } else { 0 };
                    scope.constants.insert(name(), OuterConstant { tensor, own_bytes });
                } else if let Some(shape) = shape_of(graph, value, is_trusted, known) {
                    scope.shapes.insert(name(), shape);
                }
            }
        }
        scope
    }

    /// Whether the types declared in a graph inside of this one can be relied on.
    pub(super) fn trusts(&self, inner: &Graph) -> bool {
        infer::trusts_inside(self.is_trusted, inner)
    }
}

/// Whether a value that the graphs inside of an operator read is read by one of them only, and by nothing else.
fn has_one_reader(graph: &Graph, node: NodeId, value: ValueId) -> bool {
    let name = graph.value(value).name();
    let reads = |inner: &Graph| inner.find_value(name).is_some_and(|value| inner.value(value).is_outer());
    graph.use_count(value) == 1 && graph.node(node).subgraphs().iter().filter(|inner| reads(&inner.graph)).count() == 1
}

/// The constant of that name in the graphs around an inner one. Of more distant graphs it is not known who else reads it.
pub(super) fn outer_constant(enclosing: &[Scope], name: &str) -> Option<(Tensor, u64)> {
    let find = |(distance, scope): (usize, &Scope)| {
        let constant = scope.constants.get(name)?;
        Some((constant.tensor.clone(), if distance == 0 { constant.own_bytes } else { 0 }))
    };
    enclosing.iter().rev().enumerate().find_map(find)
}

/// What the file declares and what inference adds to it, in a graph and in those around it.
#[derive(Debug)]
pub(super) struct Understood<'a> {
    pub(super) enclosing: &'a [Scope],
    pub(super) is_trusted: bool,
    pub(super) known: &'a Known,
}

impl Facts for Understood<'_> {
    fn shape(&self, graph: &Graph, value: ValueId) -> Option<Shape> {
        let held = graph.value(value);
        if held.is_outer() {
            return self.enclosing.iter().rev().find_map(|scope| scope.shapes.get(held.name()).cloned());
        }
        shape_of(graph, value, self.is_trusted, self.known)
    }

    fn contents(&self, graph: &Graph, value: ValueId) -> Option<Tensor> {
        self.known.contents(graph.value(value).name()).cloned()
    }
}

/// The declared shape, with the numbers that inference has for dimensions that it leaves open.
fn shape_of(graph: &Graph, value: ValueId, is_trusted: bool, known: &Known) -> Option<Shape> {
    let inferred = known.shape(graph.value(value).name());
    let Some(declared) = declared(graph, value).filter(|_| is_trusted) else { return inferred.cloned() };
    let Some(inferred) = inferred.filter(|inferred| inferred.rank() == declared.rank()) else { return Some(declared) };
    let dims = declared.0.into_iter().zip(&inferred.0);
    Some(Shape(dims.map(|(said, found)| if said.fixed().is_some() { said } else { found.clone() }).collect()))
}

fn declared(graph: &Graph, value: ValueId) -> Option<Shape> {
    let held = graph.value(value);
    // An input with a default is what a caller makes of it, but the caller has to keep to the declared type.
    if held.is_input() || held.initializer().is_none() {
        let ValueType::Tensor(tensor) = held.ty() else { return None };
        return tensor.shape.clone();
    }
    held.shape()
}
