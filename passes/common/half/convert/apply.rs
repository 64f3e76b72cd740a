//! Changes the types of a planned graph, and puts Casts where 16 bits meet 32.

use std::collections::BTreeMap;

use super::super::HalfType;
use super::super::fit::narrowed;
use super::{GraphPlan, Verdict, allows};
use crate::error::Result;
use crate::ir::{AttrRef, DType, Graph, NodeId, NodeSpec, Port, Tensor, ValueId, ValueType};
use crate::opset::{self, Schema};

/// The type that a value of floats is going to have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Home {
    Half,
    Float,
}

impl Home {
    fn of(is_half: bool) -> Self {
        if is_half { Self::Half } else { Self::Float }
    }
}

/// The types of values around a graph, by name.
type Around = BTreeMap<String, Home>;

/// Changes the main graph and those inside of it; says how many Casts that took.
///
/// # Errors
/// Fails where an edit does, which is a defect.
pub(super) fn apply(graph: &mut Graph, plan: &GraphPlan, half: HalfType, opset: i64) -> Result<usize> {
    Change { plan, half, opset, around: &Around::new(), homes: BTreeMap::new(), others: BTreeMap::new(), casts: 0 }
        .run(graph, Home::Float)
}

struct Change<'a> {
    plan: &'a GraphPlan,
    half: HalfType,
    opset: i64,
    around: &'a Around,
    homes: BTreeMap<ValueId, Home>,
    /// The same values in the other type, where something needed them.
    others: BTreeMap<ValueId, ValueId>,
    casts: usize,
}

impl Change<'_> {
    /// Changes one graph, whose outputs are to have the given type.
    fn run(mut self, graph: &mut Graph, border: Home) -> Result<usize> {
        for &value in &self.plan.floats {
            let home = self.home(graph, value, border);
            self.homes.insert(value, home);
        }
        let nodes = graph.nodes();
        for &value in &self.plan.floats {
            if self.homes.get(&value) == Some(&Home::Half)
                && let Some(tensor) = graph.constant(value)
            {
                graph.set_constant(value, narrowed(&tensor, self.half, 0, None)?)?;
            }
        }
        self.settle_outputs(graph, border)?;
        for &value in &self.plan.floats {
            if self.homes.get(&value) == Some(&Home::Half) && !graph.value(value).is_outer() {
                self.declare(graph, value)?;
            }
        }
        for node in nodes {
            match self.plan.verdicts.get(&node) {
                None | Some(Verdict::Either) => {}
                Some(verdict) => {
                    let schema = opset::schema("", graph.node(node).op_type(), self.opset);
                    let schema = schema.filter(|_| *verdict == Verdict::Half);
                    self.set_attributes(graph, node, verdict)?;
                    self.connect(graph, node, schema)?;
                }
            }
            self.enter(graph, node)?;
        }
        Ok(self.casts)
    }

    /// The type of a value once everything is changed.
    fn home(&self, graph: &Graph, value: ValueId, border: Home) -> Home {
        let held = graph.value(value);
        if held.is_outer() {
            return self.around.get(held.name()).copied().unwrap_or(Home::Float);
        }
        if held.is_input() || held.is_sparse() || held.is_pinned() {
            return Home::Float;
        }
        if graph.constant(value).is_some() {
            return match held.is_output() {
                true => border,
                false => Home::of(self.is_read_as_half(graph, self.plan, value)),
            };
        }
        let Some((node, slot)) = graph.producer(value) else { return Home::Float };
        if !self.plan.is_half(node) {
            return Home::Float;
        }
        let held = graph.node(node);
        if held.is("If") || held.is("Cast") {
            return Home::Half;
        }
        let schema = opset::schema("", held.op_type(), self.opset);
        Home::of(schema.is_some_and(|schema| allows(schema, schema.output(slot), self.half)))
    }

    /// Gives the outputs of the graph the type of its border, under their names.
    fn settle_outputs(&mut self, graph: &mut Graph, border: Home) -> Result<()> {
        let outputs: Vec<ValueId> = graph.outputs().collect();
        for output in outputs {
            let Some(home) = self.homes.get(&output).copied().filter(|home| *home != border) else { continue };
            let Some((node, slot)) = graph.producer(output) else { continue };
            let inner = graph.add_value(&self.name(graph, output, home), ValueType::Unknown);
            graph.set_output(node, slot, inner)?;
            graph.add_node(self.cast(border), &[Some(inner)], &[output], node)?;
            self.casts += 1;
            self.homes.insert(output, border);
            self.homes.insert(inner, home);
            self.others.insert(output, inner);
            self.others.insert(inner, output);
        }
        Ok(())
    }

    /// Writes the new type of a value down where its type is written.
    fn declare(&self, graph: &mut Graph, value: ValueId) -> Result<()> {
        let ty = |shape| ValueType::tensor(self.half.dtype(), shape);
        if graph.value(value).is_output() {
            graph.declare_output(value, self.half.dtype())?;
        }
        if graph.value(value).ty().dtype().is_some() {
            let shape = graph.value(value).ty().shape().cloned();
            graph.set_type(value, ty(shape))?;
        }
        Ok(())
    }

    /// Attributes that name the type of what an operator gives.
    fn set_attributes(&self, graph: &mut Graph, node: NodeId, verdict: &Verdict) -> Result<()> {
        if *verdict != Verdict::Half {
            return Ok(());
        }
        let number = i64::from(self.half.dtype().to_onnx());
        match graph.node(node).op_type() {
            "Cast" => graph.set_attr(node, "to", number),
            "ConstantOfShape" => {
                let value = match graph.node(node).attr("value") {
                    Some(AttrRef::Tensor(value)) => value.clone(),
                    _ => Tensor::from_f32(vec![1], &[0.0])?,
                };
                graph.set_attr(node, "value", narrowed(&value, self.half, 0, None)?)
            }
            _ => Ok(()),
        }
    }

    /// Makes the slots of an operator read values of the type that it computes in.
    fn connect(&mut self, graph: &mut Graph, node: NodeId, schema: Option<&Schema>) -> Result<()> {
        let is_cast = graph.node(node).is("Cast");
        for (slot, value) in graph.node_inputs(node).into_iter().enumerate() {
            let Some((value, home)) = value.and_then(|value| Some((value, *self.homes.get(&value)?))) else { continue };
            let wanted = Home::of(schema.is_some_and(|schema| allows(schema, schema.input(slot), self.half)));
            if home == wanted || is_cast {
                continue;
            }
            let other = self.other(graph, value, wanted, node)?;
            graph.set_input(node, slot, Some(other))?;
        }
        Ok(())
    }

    /// A value in the other type: one Cast for all that read it.
    fn other(&mut self, graph: &mut Graph, value: ValueId, wanted: Home, reader: NodeId) -> Result<ValueId> {
        if let Some(&other) = self.others.get(&value) {
            return Ok(other);
        }
        let near = graph.producer(value).map_or(reader, |(node, _)| node);
        let name = self.name(graph, value, wanted);
        let other = graph.add_op(self.cast(wanted), &[value], &name, near)?;
        self.casts += 1;
        self.others.insert(value, other);
        Ok(other)
    }

    fn cast(&self, to: Home) -> NodeSpec {
        NodeSpec::new("Cast").attr("to", i64::from(self.dtype(to).to_onnx()))
    }

    fn dtype(&self, home: Home) -> DType {
        if home == Home::Half { self.half.dtype() } else { DType::F32 }
    }

    fn name(&self, graph: &Graph, value: ValueId, home: Home) -> String {
        let suffix = if home == Home::Half { self.half.suffix() } else { "f32" };
        format!("{}_{suffix}", graph.value(value).name())
    }

    /// Changes the graphs inside of an operator.
    fn enter(&mut self, graph: &mut Graph, node: NodeId) -> Result<()> {
        if graph.node(node).subgraphs().is_empty() {
            return Ok(());
        }
        let named = |(value, home): (&ValueId, &Home)| (graph.value(*value).name().to_owned(), *home);
        let mut around = self.around.clone();
        around.extend(self.homes.iter().map(named));
        let border = Home::of(graph.node(node).is("If") && self.plan.is_half(node));
        let (plan, half, opset) = (self.plan, self.half, self.opset);
        self.casts += graph.edit_subgraphs(node, |subgraphs| {
            let mut casts = 0;
            for (place, subgraph) in subgraphs.iter_mut().enumerate() {
                let Some(plan) = plan.inner.get(&(node, place)) else { continue };
                let (homes, others) = (BTreeMap::new(), BTreeMap::new());
                let change = Change { plan, half, opset, around: &around, homes, others, casts: 0 };
                casts += change.run(&mut subgraph.graph, border)?;
            }
            Ok(casts)
        })?;
        Ok(())
    }

    /// Whether an operator that is to compute in 16 bits reads a value, here or in a graph inside.
    fn is_read_as_half(&self, graph: &Graph, plan: &GraphPlan, value: ValueId) -> bool {
        graph.uses(value).iter().any(|one| match one.port {
            Port::In(slot) => {
                let schema = opset::schema("", graph.node(one.node).op_type(), self.opset);
                plan.is_half(one.node)
                    && schema.is_some_and(|schema| allows(schema, schema.input(slot as usize), self.half))
            }
            Port::Capture => {
                let name = graph.value(value).name();
                graph.node(one.node).subgraphs().iter().enumerate().any(|(place, inner)| {
                    let captured = inner.graph.find_value(name).filter(|&v| inner.graph.value(v).is_outer());
                    let plan = plan.inner.get(&(one.node, place));
                    captured
                        .zip(plan)
                        .is_some_and(|(captured, plan)| self.is_read_as_half(&inner.graph, plan, captured))
                })
            }
            Port::Out(_) => false,
        })
    }
}
