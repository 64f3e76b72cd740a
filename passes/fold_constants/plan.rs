//! Computes what is constant and chooses which of it takes the place of operators.
//!
//! Two sweeps over the operators of a graph. The first, from inputs to outputs, computes every operator whose inputs are
//! constant or were computed. The second, from outputs to inputs, looks at each computed operator that something else
//! still needs: its results are weighed against the operators and constants that nothing else needs once they are there.
//! Where they weigh more, the operator stays, and those before it are looked at in turn: of
//! `Concat -> ConstantOfShape -> Expand` only the small beginning becomes a constant.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use super::super::common::size::{constant_bytes, constant_node_bytes, info_bytes, node_bytes, tensor_bytes};
use super::bound::bound;
use super::eligible::{Stays, why_it_stays};
use super::eval::{self, Call, Decline};
use super::facts::{Facts, Scope, outer_constant};
use super::single::{self, Versions};
use crate::backend::BackendChoice;
use crate::error::Result;
use crate::ir::{DType, Graph, NodeId, Tensor, ValueId};
use crate::pass::Cx;

/// No result is larger.
const MAX_RESULT_BYTES: u64 = 64 << 20;

/// Results up to this size are computed even where they are larger than what they are made of: what reads them may make
/// them small again.
const SMALL_BYTES: u64 = 64 << 10;

/// How many operators that a result would make superfluous may save too little before the search for more is given up.
const MAX_CONE: usize = 1000;

/// What the pass may still spend, over all graphs of a model.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes the file may grow by.
    pub(super) growth_bytes: u64,
    /// Operators that a backend may compute.
    pub(super) evaluations: u64,
    /// Steps of work in a backend: elements read and multiplied.
    pub(super) steps: u64,
}

/// A graph and what surrounds it.
#[derive(Debug)]
pub(super) struct Place<'a> {
    pub(super) graph: &'a Graph,
    pub(super) versions: Versions,
    pub(super) enclosing: &'a [Scope],
    pub(super) facts: &'a dyn Facts,
    /// Whether constants can be initializers; else they are `Constant` operators.
    pub(super) has_initializers: bool,
}

/// What to do with a graph.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Operators whose results become constants, with the results that are needed.
    pub(super) folded: Vec<(NodeId, Vec<(ValueId, Tensor)>)>,
    /// Operators that nothing needs then, readers before what they read.
    pub(super) superfluous: Vec<NodeId>,
    /// Constants that nothing needs then.
    pub(super) unread: Vec<ValueId>,
    /// Names of constants of the enclosing graph that nothing needs then.
    pub(super) unread_outside: BTreeSet<String>,
    /// Whether the results of some operator were too large.
    pub(super) has_refused: bool,
}

/// An operator whose results are known.
#[derive(Debug)]
struct Computed {
    node: NodeId,
    results: BTreeMap<ValueId, Tensor>,
}

/// Values known so far, with the bytes of everything they are made of.
type Known = BTreeMap<ValueId, (Tensor, u64)>;

/// Plans what to fold in a graph.
///
/// # Errors
/// Fails where the graph has a cycle or the scratch file cannot be written.
pub(super) fn plan(place: &Place<'_>, budget: &mut Budget, cx: &mut Cx<'_>) -> Result<Plan> {
    let computed = compute_all(place, budget, cx)?;
    Ok(choose(place, computed, budget, cx))
}

fn compute_all(place: &Place<'_>, budget: &mut Budget, cx: &mut Cx<'_>) -> Result<Vec<Computed>> {
    let graph = place.graph;
    let mut known = Known::new();
    let mut computed = Vec::new();
    let mut stored = 0;
    for node in graph.topological_order()? {
        let stays = why_it_stays(graph, node, place.versions.opset);
        if stays == Some(Stays::Silently) {
            continue;
        }
        let Some((results, cone_bytes)) = results_of(place, node, &mut known, stays, budget, cx) else {
            stored += usize::from(stays == Some(Stays::AsStorage) && reads_constants(place, node, &mut known));
            continue;
        };
        let mut parked = BTreeMap::new();
        for (output, tensor) in results {
            let tensor = match tensor.strings() {
                None => Tensor::new(tensor.dtype(), tensor.shape(), cx.env.scratch.park(tensor.data().clone())?)?,
                Some(_) => tensor,
            };
            known.insert(output, (tensor.clone(), cone_bytes));
            parked.insert(output, tensor);
        }
        computed.push(Computed { node, results: parked });
    }
    if stored > 0 {
        let noun = crate::pass::counted(stored, "operator");
        cx.skipped(crate::Site::default(), format!("{noun} on constants left as the stored form of a quantized model"));
    }
    Ok(computed)
}

/// The inputs of an operator where all of them are known, and the bytes of everything they are made of.
fn inputs_of(place: &Place<'_>, node: NodeId, known: &mut Known) -> Option<(Vec<Option<Tensor>>, u64)> {
    let mut cone_bytes = 0;
    let mut inputs = Vec::new();
    for input in place.graph.node_inputs(node) {
        let Some(value) = input else {
            inputs.push(None);
            continue;
        };
        let (tensor, bytes) = match known.entry(value) {
            Entry::Occupied(found) => found.get().clone(),
            Entry::Vacant(unseen) => unseen.insert(constant(place, value)?).clone(),
        };
        inputs.push(Some(tensor));
        cone_bytes += bytes;
    }
    Some((inputs, cone_bytes))
}

fn reads_constants(place: &Place<'_>, node: NodeId, known: &mut Known) -> bool {
    inputs_of(place, node, known).is_some()
}

/// A constant of this graph, or of one around it, with its bytes where they can be saved here.
fn constant(place: &Place<'_>, value: ValueId) -> Option<(Tensor, u64)> {
    let held = place.graph.value(value);
    if held.is_outer() {
        return outer_constant(place.enclosing, held.name());
    }
    let tensor = place.graph.constant(value)?;
    let bytes = tensor.byte_len();
    Some((tensor, bytes))
}

/// The results of an operator that are read, if they can be known.
fn results_of(
    place: &Place<'_>,
    node: NodeId,
    known: &mut Known,
    stays: Option<Stays>,
    budget: &mut Budget,
    cx: &mut Cx<'_>,
) -> Option<(Vec<(ValueId, Tensor)>, u64)> {
    let graph = place.graph;
    let own_bytes = node_bytes(graph, node);
    let outputs = graph.node_outputs(node);
    if stays.is_none()
        && let [Some(output)] = *outputs.as_slice()
        && let Some(tensor) = from_shape(place, node)
    {
        return Some((vec![(output, tensor)], own_bytes));
    }
    if stays == Some(Stays::AsStorage) {
        return None;
    }
    let Some((inputs, input_bytes)) = inputs_of(place, node, known) else {
        let results = stays.is_none().then(|| from_facts(place, &outputs)).flatten()?;
        return Some((results, own_bytes));
    };
    if let Some(Stays::Because(reason)) = stays {
        cx.skipped(graph.site(node), reason);
        return None;
    }
    let cone_bytes = input_bytes + own_bytes;
    let worth_bytes = (cone_bytes + budget.growth_bytes).clamp(SMALL_BYTES, MAX_RESULT_BYTES);
    let call = Call { node: graph.node(node), opset: place.versions.opset, inputs: &inputs, max_bytes: worth_bytes };
    let results = match eval::evaluate(&call) {
        Ok(results) => Ok(results.into_iter().map(Some).collect()),
        Err(Decline::TooLarge) => Err("its result takes more room than could be saved".to_owned()),
        Err(Decline::NotHere) => by_backend(place, node, &inputs, worth_bytes, budget, cx.env.backend),
    };
    match results {
        Ok(results) if overflows(&inputs, &results) => {
            cx.skipped(graph.site(node), "its result overflows 16 bits, in which not every runtime computes it");
            None
        }
        Ok(results) => {
            let pairs = outputs.into_iter().zip(results);
            Some((pairs.filter_map(|(output, result)| Some((output?, result?))).collect(), cone_bytes))
        }
        Err(reason) => {
            cx.skipped(graph.site(node), reason);
            None
        }
    }
}

/// Whether finite operands give a float of 16 bits that is not finite: runtimes without kernels for it compute in 32 bits,
/// and go on with a number.
fn overflows(inputs: &[Option<Tensor>], results: &[Option<Tensor>]) -> bool {
    let is_narrow = |tensor: &&Tensor| matches!(tensor.dtype(), DType::F16 | DType::BF16);
    let is_finite =
        |tensor: &Tensor| tensor.to_f32().is_none_or(|values| values.into_iter().all(|value| value.is_finite()));
    let mut narrow = results.iter().flatten().filter(is_narrow);
    narrow.any(|tensor| !is_finite(tensor)) && inputs.iter().flatten().all(is_finite)
}

/// What `Shape` and `Size` give for a value of known shape, whose contents need not be known.
fn from_shape(place: &Place<'_>, node: NodeId) -> Option<Tensor> {
    let held = place.graph.node(node);
    let shape = || place.facts.shape(place.graph, place.graph.input(node, 0)?);
    if held.is("Shape") {
        return eval::shape_of(shape()?.between(held.attr_int("start", 0), held.attr_int("end", i64::MAX)));
    }
    if held.is("Size") {
        return eval::size_of(&shape()?.as_fixed()?);
    }
    None
}

/// The results that are known although not all that the operator reads is constant: all of them, or none.
fn from_facts(place: &Place<'_>, outputs: &[Option<ValueId>]) -> Option<Vec<(ValueId, Tensor)>> {
    let contents = |&output: &ValueId| Some((output, place.facts.contents(place.graph, output)?));
    outputs.iter().flatten().map(contents).collect()
}

fn by_backend(
    place: &Place<'_>,
    node: NodeId,
    inputs: &[Option<Tensor>],
    max_bytes: u64,
    budget: &mut Budget,
    choice: BackendChoice,
) -> Result<Vec<Option<Tensor>>, String> {
    let held = place.graph.node(node);
    let Some((bytes, steps)) = bound(held, inputs) else {
        return Err("how large its result gets is not known".to_owned());
    };
    if bytes > max_bytes {
        return Err("its result takes more room than could be saved".to_owned());
    }
    let (Some(evaluations), Some(steps)) = (budget.evaluations.checked_sub(1), budget.steps.checked_sub(steps)) else {
        return Err("the work that folding may take is used up".to_owned());
    };
    (budget.evaluations, budget.steps) = (evaluations, steps);
    single::compute(place.graph, node, inputs, &place.versions, choice).map_err(|error| {
        tracing::debug!(%error, "a backend declined");
        "no backend here computes it".to_owned()
    })
}

/// How many readings of values are left, given what was decided so far.
#[derive(Debug)]
struct Readers<'a> {
    graph: &'a Graph,
    left: BTreeMap<ValueId, usize>,
}

impl Readers<'_> {
    fn of(&self, value: ValueId) -> usize {
        self.left.get(&value).copied().unwrap_or_else(|| self.graph.use_count(value))
    }

    /// Takes one reading away; whether it was the last.
    fn drop_one(&mut self, value: ValueId) -> bool {
        let left = self.of(value).saturating_sub(1);
        self.left.insert(value, left);
        left == 0
    }

    fn add_one(&mut self, value: ValueId) {
        let left = self.of(value) + 1;
        self.left.insert(value, left);
    }
}

/// What nothing needs once an operator is gone.
#[derive(Debug, Default)]
struct Cone {
    nodes: Vec<NodeId>,
    constants: Vec<ValueId>,
    outer_constants: Vec<String>,
    saved_bytes: u64,
    dropped: Vec<ValueId>,
}

fn choose(place: &Place<'_>, computed: Vec<Computed>, budget: &mut Budget, cx: &mut Cx<'_>) -> Plan {
    let graph = place.graph;
    let foldable: BTreeSet<NodeId> = computed.iter().map(|one| one.node).collect();
    let mut readers = Readers { graph, left: BTreeMap::new() };
    let mut gone: BTreeSet<NodeId> = BTreeSet::new();
    let mut plan = Plan::default();
    for Computed { node, results } in computed.into_iter().rev() {
        let needed: Vec<(ValueId, Tensor)> =
            results.into_iter().filter(|(output, _)| readers.of(*output) > 0).collect();
        if gone.contains(&node) || needed.is_empty() {
            continue;
        }
        let result_bytes = |(output, tensor): &(ValueId, Tensor)| {
            let name = graph.value(*output).name();
            match place.has_initializers && !graph.value(*output).is_output() {
                true => tensor_bytes(tensor, name),
                // What `value_info` says of it stays.
                false => constant_node_bytes(tensor, name) + info_bytes(graph, *output),
            }
        };
        let added: u64 = needed.iter().map(result_bytes).sum();
        let enough = added.saturating_sub(budget.growth_bytes);
        let cone = cone_of(place, node, enough, &foldable, &mut readers);
        let growth = added.saturating_sub(cone.saved_bytes);
        if growth > budget.growth_bytes {
            cone.dropped.iter().for_each(|&value| readers.add_one(value));
            let reason = format!("its result would make the file {growth} bytes larger");
            cx.skipped(graph.site(node), reason);
            plan.has_refused = true;
            continue;
        }
        budget.growth_bytes -= growth;
        gone.extend(cone.nodes.iter().copied());
        plan.superfluous.extend(cone.nodes.into_iter().skip(1));
        plan.unread.extend(cone.constants);
        plan.unread_outside.extend(cone.outer_constants);
        plan.folded.push((node, needed));
    }
    plan
}

/// Finds what nothing needs once the results of `root` are constants. Readings are taken away as it goes.
/// The search ends early where the first operators it finds do not save `enough` bytes.
fn cone_of(
    place: &Place<'_>,
    root: NodeId,
    enough: u64,
    foldable: &BTreeSet<NodeId>,
    readers: &mut Readers<'_>,
) -> Cone {
    let graph = place.graph;
    let mut cone = Cone { nodes: vec![root], saved_bytes: node_bytes(graph, root), ..Cone::default() };
    let mut next = 0;
    while let Some(&node) = cone.nodes.get(next) {
        next += 1;
        if next > MAX_CONE && cone.saved_bytes < enough {
            break;
        }
        for input in graph.node_inputs(node).into_iter().flatten() {
            cone.dropped.push(input);
            if !readers.drop_one(input) {
                continue;
            }
            match graph.producer(input) {
                Some((before, _)) if foldable.contains(&before) => {
                    if graph.node_outputs(before).into_iter().flatten().all(|output| readers.of(output) == 0) {
                        cone.saved_bytes += node_bytes(graph, before);
                        cone.nodes.push(before);
                    }
                }
                None if graph.value(input).is_outer() => {
                    let name = graph.value(input).name();
                    if let Some((_, bytes)) = outer_constant(place.enclosing, name).filter(|&(_, bytes)| bytes > 0) {
                        cone.saved_bytes += bytes;
                        cone.outer_constants.push(name.to_owned());
                    }
                }
                _ => {
                    let bytes = constant_bytes(graph, input);
                    if bytes > 0 {
                        cone.saved_bytes += bytes;
                        cone.constants.push(input);
                    }
                }
            }
        }
    }
    cone
}
