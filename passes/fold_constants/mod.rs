//! Computes operators whose inputs are all constant, and puts their results in their place.
//!
//! ```text
//! < int64[2] a = {2, 3}, int64[1] one = {1} >        < int64[3] s = {2, 3, 1} >
//! s = Concat<axis = 0>(a, one)                  =>   y = Reshape(x, s)
//! y = Reshape(x, s)
//! ```
//!
//! Constants are initializers, what `Constant` operators yield, constants of enclosing graphs, and the shape of a value
//! whose dimensions are fixed. These are declared, or follow from what is: shape inference also tells small integers that
//! operators pick out of shapes which are not fixed as a whole. `Constant` operators become initializers where the graph
//! can have some. Shape arithmetic and the movement of elements are computed here, exactly; the rest by a backend, which
//! may round floats in its own way.
//!
//! Left alone are
//! 1. operators whose results would make the file larger than all that they make superfluous saves, beyond `max-growth`
//!    bytes for the whole file: the operators before them are tried in their place;
//! 2. random operators, training Dropout and BatchNormalization, and what holds graphs;
//! 3. QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear: the stored form of a quantized model;
//! 4. what a backend would have to compute where the size of the result has no known bound, or no backend here can, or
//!    the work allowed for all of it is used up;
//! 5. attributes that the caller of a function sets, and values that parts of the file besides operators name.

mod bound;
mod eligible;
mod eval;
mod facts;
mod inferred;
mod plan;
mod single;

use std::collections::BTreeSet;

use crate::error::{Result, Site};
use crate::infer::Trusted;
use crate::ir::{Graph, Model, NodeId, NodeSpec, Tensor, ValueId};
use crate::pass::{Changed, Cx, Effect, OptKind, OptSpec, Opts, Pass, PassInfo, Scope as PassScope, enumerate};
use facts::{Scope, Understood};
use inferred::Known;
use plan::{Budget, Place, Plan};
use single::Versions;

/// What users read about the pass.
pub(super) const INFO: PassInfo = PassInfo {
    name: "fold-constants",
    summary: "computes operators on constants once and stores their results",
    effect: Effect::Rounding,
    scope: PassScope::AllGraphs,
    min_opset: None,
    may_grow: false,
    options: &[OptSpec {
        key: "max-growth",
        kind: OptKind::UInt,
        default: Some("0"),
        help: "bytes by which the file may grow in all",
    }],
    build,
};

/// Operators that a backend may compute in one run, and the elements they may read and multiply.
const MAX_EVALUATIONS: u64 = 2000;
const MAX_STEPS: u64 = 1 << 30;

/// Times the model is swept at most; each time but the last, something was folded.
const MAX_SWEEPS: usize = 8;

/// The first version of the file format in which an initializer need not be an input.
const FREE_INITIALIZERS_IR_VERSION: i64 = 4;

#[derive(Debug)]
struct FoldConstants {
    max_growth_bytes: u64,
}

fn build(opts: &Opts) -> Result<Box<dyn Pass>> {
    Ok(Box::new(FoldConstants { max_growth_bytes: opts.uint("max-growth").unwrap_or(0) }))
}

impl Pass for FoldConstants {
    fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
        let mut budget = Budget { growth_bytes: self.max_growth_bytes, evaluations: MAX_EVALUATIONS, steps: MAX_STEPS };
        let mut changed = Changed::No;
        let mut applied = Cx::new(cx.env, INFO.name);
        for sweep in 1..=MAX_SWEEPS {
            let mut skipped = Cx::new(cx.env, INFO.name);
            let trusted = cx.trusted(model)?;
            let swept = fold_model(model, trusted.as_deref(), &mut budget, &mut applied, &mut skipped)?;
            changed |= swept.changed;
            if !swept.is_worth_another() || sweep == MAX_SWEEPS {
                cx.append(skipped);
                break;
            }
        }
        cx.append(applied);
        Ok(changed)
    }
}

/// What one sweep over a model did.
#[derive(Debug, Default)]
struct Swept {
    changed: Changed,
    has_folded: bool,
    has_refused: bool,
}

impl Swept {
    /// What was too large may be small beside what it makes superfluous, now that other readers of that are gone.
    fn is_worth_another(&self) -> bool {
        self.has_folded && self.has_refused
    }
}

/// Folds what there is in every graph of a model; says what in `applied`, and what not in `skipped`.
fn fold_model(
    model: &mut Model,
    trusted: Option<&Trusted>,
    budget: &mut Budget,
    applied: &mut Cx<'_>,
    skipped: &mut Cx<'_>,
) -> Result<Swept> {
    let mut swept = Swept::default();
    let mut unread = BTreeSet::new();
    let ir = model.ir_version();
    let model_opset = model.opset();
    let function_opsets: Vec<i64> = model.functions.iter().map(crate::ir::Function::opset).collect();
    let (inferred, trusts_main) = inferred::main_graphs(model, trusted);
    let mut inferred = inferred.into_iter();
    let opsets = std::iter::once(model_opset).chain(function_opsets);
    for (place, ((root, graph), opset)) in model.roots_mut().into_iter().zip(opsets).enumerate() {
        let is_function = place > 0;
        let mut enclosing: Vec<Scope> = Vec::new();
        graph.edit_outer_first(&root, |graph, path| {
            applied.enter(path);
            skipped.enter(path);
            let depth = path.len() - root.len();
            enclosing.truncate(depth);
            let is_trusted = enclosing.last().map_or(is_function || trusts_main, |outer| outer.trusts(graph));
            let known = if is_function { None } else { inferred.next() }.unwrap_or_default();
            let surroundings = Surroundings {
                versions: Versions { opset, ir },
                has_initializers: ir >= FREE_INITIALIZERS_IR_VERSION && !(is_function && depth == 0),
                is_trusted,
                known: &known,
                enclosing: &enclosing,
            };
            let has_initializers = surroundings.has_initializers;
            let lifted = if has_initializers { lift_constants(graph)? } else { 0 };
            let mut plan = plan_graph(graph, &surroundings, budget, skipped)?;
            unread.append(&mut plan.unread_outside);
            swept.has_folded |= !plan.folded.is_empty();
            swept.has_refused |= plan.has_refused;
            let computed = plan.folded.len() + plan.superfluous.len();
            apply(graph, plan, has_initializers)?;
            swept.changed |= report(computed, lifted, applied);
            enclosing.push(Scope::of(graph, is_trusted, &known));
            Ok(())
        })?;
    }
    if !unread.is_empty() {
        model.edit_graphs(|graph, _| {
            let found: Vec<ValueId> = unread.iter().filter_map(|name| graph.find_value(name)).collect();
            found.into_iter().try_for_each(|value| graph.remove_unread_constant(value).map(|_| ()))
        })?;
    }
    Ok(swept)
}

/// What surrounds a graph.
#[derive(Debug)]
struct Surroundings<'a> {
    versions: Versions,
    has_initializers: bool,
    is_trusted: bool,
    known: &'a Known,
    enclosing: &'a [Scope],
}

fn plan_graph(
    graph: &Graph,
    surroundings: &Surroundings<'_>,
    budget: &mut Budget,
    skipped: &mut Cx<'_>,
) -> Result<Plan> {
    let &Surroundings { versions, has_initializers, is_trusted, known, enclosing } = surroundings;
    let facts = Understood { enclosing, is_trusted, known };
    plan::plan(&Place { graph, versions, enclosing, facts: &facts, has_initializers }, budget, skipped)
}

fn report(computed: usize, lifted: usize, applied: &mut Cx<'_>) -> Changed {
    let parts = [(computed, "computed operator"), (lifted, "Constant operator")];
    let Some(words) = enumerate(&parts) else { return Changed::No };
    let figures = [("computed", computed as f64), ("constants", lifted as f64)];
    applied.measured(Site::default(), format!("put initializers in the place of {words}"), &figures);
    Changed::Yes
}

/// Turns `Constant` operators into initializers. Outputs of the graph need an operator that writes them.
fn lift_constants(graph: &mut Graph) -> Result<usize> {
    let mut lifted = 0;
    for node in graph.nodes() {
        let Some(tensor) = graph.node(node).constant_value() else { continue };
        let Some(output) = graph.output(node, 0) else { continue };
        let held = graph.value(output);
        if held.is_output() || held.is_pinned() {
            continue;
        }
        graph.detach_node(node)?;
        graph.define_constant(output, tensor)?;
        lifted += 1;
    }
    Ok(lifted)
}

fn apply(graph: &mut Graph, plan: Plan, has_initializers: bool) -> Result<()> {
    for (node, results) in plan.folded {
        replace(graph, node, results, has_initializers)?;
    }
    for node in plan.superfluous {
        graph.remove_node(node)?;
    }
    for value in plan.unread {
        graph.remove_unread_constant(value)?;
    }
    Ok(())
}

/// Puts constants in the place of an operator.
fn replace(graph: &mut Graph, node: NodeId, results: Vec<(ValueId, Tensor)>, has_initializers: bool) -> Result<()> {
    let outputs = graph.node_outputs(node);
    let mut yielded = Vec::new();
    let mut initializers = Vec::new();
    for (value, tensor) in results {
        if has_initializers && !graph.value(value).is_output() {
            initializers.push((value, tensor));
        } else {
            // Made before the operator goes, whose place in the file it takes.
            let constant = graph.add_node(NodeSpec::new("Constant").attr("value", tensor), &[], &[], node)?;
            yielded.push((value, constant));
        }
    }
    graph.detach_node(node)?;
    for (value, constant) in yielded {
        graph.set_output(constant, 0, value)?;
    }
    for (value, tensor) in initializers {
        graph.define_constant(value, tensor)?;
    }
    for output in outputs.into_iter().flatten() {
        if graph.is_unread(output) {
            graph.remove_value(output)?;
        }
    }
    Ok(())
}
