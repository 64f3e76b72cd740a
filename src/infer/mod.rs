//! Shape and type inference: what is known of every value before the model runs.
//!
//! [`infer`] walks the operators in topological order and asks the rule of each (`rules`, one file an operator family)
//! for element types, extents and, of small tensors, the elements: exporters compute shapes by operators, and following
//! those is what makes most shapes known. Extents are expressions over the names the model gives its dimensions
//! ([`SymExpr`]). Branches of If, bodies of Loop and Scan and functions are walked too. What cannot be known stays
//! unknown; a declared type is believed only where inference has nothing to say.
//!
//! Nothing is changed in the model: [`write_back`] does that.

mod control;
mod cx;
mod demand;
mod engine;
mod fact;
mod rules;
mod state;
mod sym;
mod sym_text;
mod trusted;

use std::collections::BTreeMap;

pub use demand::{Conflict, Demand};
pub use fact::{Element, Extent, Fact, MAX_ELEMENTS};
pub use sym::{SymExpr, Symbol};
pub(crate) use trusted::{Trusted, trusted, trusts_inside};

use crate::error::{Result, Site};
use crate::ir::{Graph, Model, NodeId, ValueId, ValueType};

/// A place where the model declares another type than the one inferred.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Contradiction {
    /// The value.
    pub site: Site,
    /// What the file says.
    pub declared: String,
    /// What follows from the operators.
    pub inferred: String,
}

/// What is known of the values of one graph and of the graphs inside of it.
#[derive(Debug, Clone, Default)]
pub struct GraphFacts {
    pub(super) values: BTreeMap<ValueId, Fact>,
    pub(super) subgraphs: BTreeMap<(NodeId, usize), GraphFacts>,
}

impl GraphFacts {
    /// What is known of a value; `None` where the walk did not come to it.
    pub fn get(&self, value: ValueId) -> Option<&Fact> {
        self.values.get(&value)
    }

    /// What is known inside of a graph that an attribute of an operator holds, by its place in
    /// [`Node::subgraphs`](crate::ir::Node::subgraphs).
    pub fn subgraph(&self, node: NodeId, index: usize) -> Option<&Self> {
        self.subgraphs.get(&(node, index))
    }

    /// Every value with what is known of it.
    pub fn iter(&self) -> impl Iterator<Item = (ValueId, &Fact)> {
        self.values.iter().map(|(value, fact)| (*value, fact))
    }

    /// What holds of both walks over one graph.
    pub(super) fn join(&self, other: &Self) -> Self {
        let values = self.values.iter().map(|(value, fact)| {
            let joined = other.values.get(value).map_or_else(|| fact.clone(), |second| fact.join(second));
            (*value, joined)
        });
        let subgraphs = self.subgraphs.iter().map(|(place, facts)| {
            let joined = other.subgraphs.get(place).map_or_else(|| facts.clone(), |second| facts.join(second));
            (*place, joined)
        });
        Self { values: values.collect(), subgraphs: subgraphs.collect() }
    }

    fn map_expressions(&mut self, map: &dyn Fn(&SymExpr) -> Option<SymExpr>) {
        self.values.values_mut().for_each(|fact| *fact = fact.map_expressions(map));
        self.subgraphs.values_mut().for_each(|facts| facts.map_expressions(map));
    }
}

/// What is known of every value of a model.
#[derive(Debug, Clone, Default)]
pub struct Inference {
    main: GraphFacts,
    functions: BTreeMap<usize, GraphFacts>,
    contradictions: Vec<Contradiction>,
    conflicts: Vec<Conflict>,
    demands: Vec<Demand>,
}

impl Inference {
    /// The main graph.
    pub fn main(&self) -> &GraphFacts {
        &self.main
    }

    /// The body of a function, by its place in [`Model::functions`](crate::ir::Model::functions): what holds at all of
    /// its calls. `None` where nothing calls it.
    pub fn function(&self, index: usize) -> Option<&GraphFacts> {
        self.functions.get(&index)
    }

    /// Where the model declares other types than those inferred.
    pub fn contradictions(&self) -> &[Contradiction] {
        &self.contradictions
    }

    /// Operators that always run, and whose inputs do not go together.
    pub fn conflicts(&self) -> &[Conflict] {
        &self.conflicts
    }

    /// What must hold of dimensions with names for the model to run, as far as that was seen; sorted. Those of branches
    /// that may not run are among them.
    pub fn demands(&self) -> &[Demand] {
        &self.demands
    }
}

/// Infers types, shapes and small contents of every value.
///
/// # Errors
/// Fails on a graph with a cycle.
pub fn infer(model: &Model) -> Result<Inference> {
    engine::run(model)
}

/// Writes what was inferred into the types of the model's values; says how many changed.
///
/// Inputs and outputs of every graph keep what they declare: the main graph's are its signature. Nothing that was known
/// is forgotten: a declared extent stays where inference has none.
///
/// # Errors
/// Fails where the inference belongs to another model.
pub fn write_back(model: &mut Model, inference: &Inference) -> Result<usize> {
    let mut changed = write_graph(&mut model.graph, &inference.main)?;
    for (index, facts) in &inference.functions {
        if let Some(function) = model.functions.get_mut(*index) {
            changed += write_graph(&mut function.body, facts)?;
        }
    }
    Ok(changed)
}

fn write_graph(graph: &mut Graph, facts: &GraphFacts) -> Result<usize> {
    let mut changed = 0;
    for (value, fact) in facts.iter() {
        let held = graph.value(value);
        if held.is_input() || held.is_output() || held.is_outer() || held.initializer().is_some() {
            continue;
        }
        let ty = with_declared(fact.to_type(), held.ty());
        if ty != ValueType::Unknown && ty != *held.ty() {
            graph.set_type(value, ty)?;
            changed += 1;
        }
    }
    let mut places: BTreeMap<NodeId, Vec<(usize, &GraphFacts)>> = BTreeMap::new();
    for ((node, index), inner) in &facts.subgraphs {
        places.entry(*node).or_default().push((*index, inner));
    }
    for (node, inner) in places {
        changed += graph.edit_subgraphs(node, |subgraphs| {
            let mut changed = 0;
            for (index, facts) in inner {
                if let Some(subgraph) = subgraphs.get_mut(index) {
                    changed += write_graph(&mut subgraph.graph, facts)?;
                }
            }
            Ok(changed)
        })?;
    }
    Ok(changed)
}

/// The inferred type, completed by what the file declares.
fn with_declared(inferred: ValueType, declared: &ValueType) -> ValueType {
    let ValueType::Tensor(mut tensor) = inferred else { return declared.clone() };
    match (&mut tensor.shape, declared.shape()) {
        (None, Some(shape)) => tensor.shape = Some(shape.clone()),
        (Some(shape), Some(declared)) if shape.rank() == declared.rank() => {
            for (dim, declared) in shape.0.iter_mut().zip(&declared.0) {
                if *dim == crate::ir::Dim::Unknown {
                    *dim = declared.clone();
                }
            }
        }
        _ => {}
    }
    ValueType::Tensor(tensor)
}
