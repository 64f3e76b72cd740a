//! What is known of values whose contents are not.

use std::collections::BTreeMap;
use std::fmt::Debug;

use crate::ir::{Graph, Shape, Tensor, ValueId, ValueType};

/// Knows shapes. Declarations in the file are one source; shape inference can be another.
pub(super) trait Facts: Debug {
    /// The shape of a value of `graph`, where its rank is known.
    fn shape(&self, graph: &Graph, value: ValueId) -> Option<Shape>;
}

/// What an inner graph can see of a graph around it.
#[derive(Debug, Default)]
pub(super) struct Scope {
    pub(super) constants: BTreeMap<String, Tensor>,
    shapes: BTreeMap<String, Shape>,
    /// Whether the declared types of the graph can be relied on.
    is_trusted: bool,
}

impl Scope {
    /// What inner graphs can see of `graph`.
    pub(super) fn of(graph: &Graph, is_trusted: bool) -> Self {
        let mut scope = Self { is_trusted, ..Self::default() };
        for node in graph.nodes() {
            for value in graph.captures(node) {
                let name = || graph.value(value).name().to_owned();
                if let Some(tensor) = graph.constant(value) {
                    scope.constants.insert(name(), tensor);
                } else if let Some(shape) = declared(graph, value).filter(|_| is_trusted) {
                    scope.shapes.insert(name(), shape);
                }
            }
        }
        scope
    }

    /// Whether the types in a graph inside of this one can be relied on. The inputs of a loop body change their shapes in
    /// some models, whatever is declared.
    pub(super) fn trusts(&self, inner: &Graph) -> bool {
        self.is_trusted && inner.inputs().is_empty()
    }
}

/// What the file declares, in a graph and in those around it.
#[derive(Debug)]
pub(super) struct Declared<'a> {
    pub(super) enclosing: &'a [Scope],
    pub(super) is_trusted: bool,
}

impl Facts for Declared<'_> {
    fn shape(&self, graph: &Graph, value: ValueId) -> Option<Shape> {
        let held = graph.value(value);
        if held.is_outer() {
            return self.enclosing.iter().rev().find_map(|scope| scope.shapes.get(held.name()).cloned());
        }
        declared(graph, value).filter(|_| self.is_trusted)
    }
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
