//! Which tensors are weights that may be pruned.

use std::collections::{BTreeMap, BTreeSet};

use crate::error::{Error, Result, Site, did_you_mean};
use crate::ir::{Graph, Model, Node, NodeId, Tensor, ValueId};
use crate::pass::Cx;
use crate::passes::common::exclude::Exclude;

use super::pattern::Axes;

/// Operators that compute with weights, and the slots where those may be.
const WEIGHT_SLOTS: &[(&str, &[usize])] = &[
    ("Conv", &[1]),
    ("ConvTranspose", &[1]),
    ("GRU", &[1, 2]),
    ("Gemm", &[0, 1]),
    ("LSTM", &[1, 2]),
    ("MatMul", &[0, 1]),
    ("RNN", &[1, 2]),
];

/// Operators whose weights are integers; pruning works on floats.
const QUANTIZED: &[&str] = &[
    "ConvInteger",
    "DynamicQuantizeLSTM",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "MatMulIntegerToFloat",
    "MatMulNBits",
    "QGemm",
    "QLinearConv",
    "QLinearMatMul",
];

/// A constant of the model: the number of its graph, in the order of [`for_each_graph`], and its value there.
pub(super) type Place = (usize, ValueId);

/// A tensor to prune.
#[derive(Debug, Clone)]
pub(super) struct Target {
    pub(super) place: Place,
    pub(super) tensor: Tensor,
    pub(super) name: String,
    /// The first operator that reads it.
    pub(super) site: Site,
    /// Where its inputs and its outputs lie.
    pub(super) axes: Axes,
}

/// What was found out about one constant.
struct Candidate {
    tensor: Tensor,
    name: String,
    path: Vec<String>,
    /// The first operator that reads it as weights.
    weight_of: Option<(Site, Axes)>,
    /// Something that reads it as anything else.
    other_use: Option<String>,
    is_excluded: bool,
}

/// The constants of a graph, by the names under which inner graphs read them.
type Visible = BTreeMap<String, Place>;

/// What the user wants pruned.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) exclude: Exclude,
    pub(super) embeddings: bool,
}

/// Finds the weights of every graph. A weight that several operators read is found once.
///
/// # Errors
/// Fails where an excluded name is that of no operator and no constant.
pub(super) fn find(model: &Model, choice: &Choice, cx: &mut Cx<'_>) -> Result<Vec<Target>> {
    let mut search = Search { choice, candidates: BTreeMap::new(), names: BTreeSet::new(), graphs: 0 };
    for (root, graph) in model.roots() {
        let mut enclosing: Vec<Visible> = Vec::new();
        graph.visit_outer_first(&root, |graph, path| {
            cx.enter(path);
            enclosing.truncate(path.len() - root.len());
            search.graph(graph, path, &mut enclosing, cx);
            Ok(())
        })?;
    }
    cx.enter(&[]);
    search.check_excluded()?;
    Ok(search.candidates.into_iter().filter_map(|(place, candidate)| candidate.decide(place, cx)).collect())
}

/// Shows every graph to `edit` with its number, in the order in which [`find`] numbers them.
///
/// # Errors
/// Passes on what `edit` returns.
pub(super) fn for_each_graph(model: &mut Model, mut edit: impl FnMut(&mut Graph, usize) -> Result<()>) -> Result<()> {
    let mut number = 0;
    for (root, graph) in model.roots_mut() {
        graph.edit_outer_first(&root, |graph, _| {
            edit(graph, number)?;
            number += 1;
            Ok(())
        })?;
    }
    Ok(())
}

/// The contents of targets in a copy of the model.
///
/// # Errors
/// Fails where the copy has no such graphs, which is a defect.
pub(super) fn contents(copy: &Model, targets: &[Target]) -> Result<Vec<Tensor>> {
    let mut found: BTreeMap<Place, Tensor> = BTreeMap::new();
    let mut number = 0;
    for (root, graph) in copy.roots() {
        graph.visit_outer_first(&root, |graph, _| {
            for target in targets.iter().filter(|target| target.place.0 == number) {
                found.extend(graph.constant(target.place.1).map(|tensor| (target.place, tensor)));
            }
            number += 1;
            Ok(())
        })?;
    }
    Ok(targets.iter().map(|target| found.remove(&target.place).unwrap_or_else(|| target.tensor.clone())).collect())
}

/// Puts new contents in the place of the targets.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn place(model: &mut Model, targets: &[Target], tensors: Vec<Tensor>) -> Result<()> {
    let mut edits: BTreeMap<usize, Vec<(ValueId, Tensor)>> = BTreeMap::new();
    for (target, tensor) in targets.iter().zip(tensors) {
        let (graph, value) = target.place;
        if !tensor.same_as(&target.tensor) {
            edits.entry(graph).or_default().push((value, tensor));
        }
    }
    for_each_graph(model, |graph, number| {
        let edits = edits.remove(&number).unwrap_or_default();
        edits.into_iter().try_for_each(|(value, tensor)| graph.set_constant(value, tensor))
    })
}

struct Search<'a> {
    choice: &'a Choice,
    candidates: BTreeMap<Place, Candidate>,
    /// Names that may be excluded.
    names: BTreeSet<String>,
    graphs: usize,
}

impl Search<'_> {
    fn graph(&mut self, graph: &Graph, path: &[String], enclosing: &mut Vec<Visible>, cx: &mut Cx<'_>) {
        let number = self.graphs;
        self.graphs += 1;
        let mut visible = Visible::new();
        for value in graph.values() {
            let Some(tensor) = graph.constant(value).filter(|tensor| tensor.dtype().is_float()) else { continue };
            let name = graph.value(value).name().to_owned();
            let place = (number, value);
            visible.insert(name.clone(), place);
            let other_use = graph.value(value).is_output().then(|| "is an output of the graph".to_owned());
            let is_excluded = self.choice.exclude.has(&name);
            self.names.insert(name.clone());
            let path = path.to_vec();
            self.candidates.insert(place, Candidate { tensor, name, path, weight_of: None, other_use, is_excluded });
        }
        enclosing.push(visible);
        for node in graph.nodes() {
            self.node(graph, path, node, enclosing, cx);
        }
    }

    fn node(&mut self, graph: &Graph, path: &[String], node: NodeId, enclosing: &[Visible], cx: &mut Cx<'_>) {
        let held = graph.node(node);
        let label = graph.node_label(node);
        let is_excluded = self.choice.exclude.has(&label);
        self.names.insert(label);
        if QUANTIZED.contains(&held.op_type()) {
            cx.skipped(graph.site(node), "its weights are quantized already");
            return;
        }
        let roles = WEIGHT_SLOTS.iter().find(|(op_type, _)| held.is(op_type)).map_or(&[][..], |(_, slots)| slots);
        for (slot, value) in graph.node_inputs(node).into_iter().enumerate() {
            let Some(value) = value else { continue };
            let may_be_weight = roles.contains(&slot) || (self.choice.embeddings && slot == 0 && held.is("Gather"));
            let Some(place) = origin(graph, value, enclosing) else {
                if may_be_weight && let Some(reason) = why_not(graph, value) {
                    cx.skipped(graph.site(node), reason);
                }
                continue;
            };
            let Some(candidate) = self.candidates.get_mut(&place) else { continue };
            candidate.is_excluded |= is_excluded && may_be_weight;
            if may_be_weight && candidate.tensor.rank() >= 2 {
                let axes = axes(held, slot, candidate.tensor.shape());
                candidate.weight_of.get_or_insert_with(|| (graph.site(node).in_path(path), axes));
            } else if !held.is("Identity")
                || graph.node_outputs(node).into_iter().flatten().any(|o| graph.value(o).is_output())
            {
                candidate.other_use.get_or_insert_with(|| format!("is read by {} too", graph.site(node)));
            }
        }
    }

    fn check_excluded(&self) -> Result<()> {
        let Some(name) = self.choice.exclude.unknown_among(&self.names) else { return Ok(()) };
        let error =
            Error::usage(format!("`prune` cannot leave out `{name}`: the model has no such operator or tensor"));
        Err(match did_you_mean(name, self.names.iter().map(String::as_str)) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error.help("`onnx-shrink inspect MODEL` lists operators and tensors"),
        })
    }
}

impl Candidate {
    fn decide(self, place: Place, cx: &mut Cx<'_>) -> Option<Target> {
        let (mut site, axes) = self.weight_of?;
        if self.tensor.is_empty() {
            return None;
        }
        site.tensor = Some(format!("{} {}", self.tensor.type_text(), self.name));
        if self.is_excluded {
            cx.skipped(site, "excluded");
            return None;
        }
        if let Some(other_use) = self.other_use {
            cx.skipped(site, format!("`{}` {other_use}", self.name));
            return None;
        }
        let name = self.path.iter().chain([&self.name]).map(String::as_str).collect::<Vec<_>>().join(" > ");
        Some(Target { place, tensor: self.tensor, name, site, axes })
    }
}

/// Where the inputs and the outputs of weights lie, as an operator reads them.
fn axes(node: &Node, slot: usize, shape: &[u64]) -> Axes {
    let last = shape.len().saturating_sub(1);
    let is_turned = |attribute: &str| node.attr_int(attribute, 0) != 0;
    let (output, input) = match (node.op_type(), slot) {
        ("Conv", _) => (0, 1),
        ("ConvTranspose", _) => (1, 0),
        ("Gemm", 0) if is_turned("transA") => (1, 0),
        ("Gemm", 1) if !is_turned("transB") => (1, 0),
        ("MatMul", 1) => (last, last.saturating_sub(1)),
        _ => (last.saturating_sub(1), last),
    };
    let shape: Vec<usize> = shape.iter().map(|&extent| extent as usize).collect();
    let outputs = shape.get(output).copied().unwrap_or(1);
    let groups = if node.is("Conv") { usize::try_from(node.attr_int("group", 1)).unwrap_or(1) } else { 1 };
    let groups = if groups > 0 && outputs.is_multiple_of(groups) { groups } else { 1 };
    Axes { shape, output, input, groups }
}

/// The constant that a value is: in this graph or an enclosing one, behind `Identity` operators too.
fn origin(graph: &Graph, value: ValueId, enclosing: &[Visible]) -> Option<Place> {
    let mut value = value;
    while let Some((node, _)) = graph.producer(value)
        && graph.node(node).is("Identity")
    {
        value = graph.input(node, 0)?;
    }
    let held = graph.value(value);
    let (own, around) = enclosing.split_last()?;
    if held.is_outer() {
        return around.iter().rev().find_map(|visible| visible.get(held.name())).copied();
    }
    own.get(held.name()).copied()
}

/// Why a value that is computed from a constant is not pruned; `None` where it is no weight at all.
fn why_not(graph: &Graph, value: ValueId) -> Option<String> {
    let name = graph.value(value).name();
    if graph.value(value).initializer().is_some() {
        return Some(format!("`{name}` {}", graph.why_not_constant(value)));
    }
    let (node, _) = graph.producer(value).filter(|_| is_computed_from_constants(graph, value, 4))?;
    match graph.node(node).op_type() {
        "DequantizeLinear" => Some(format!("its weights `{name}` are quantized already")),
        op_type => Some(format!("its weights `{name}` are computed by {op_type}")),
    }
}

/// Whether only constants go into a value, through at most `depth` operators.
fn is_computed_from_constants(graph: &Graph, value: ValueId, depth: usize) -> bool {
    if graph.constant(value).is_some() {
        return true;
    }
    let Some((node, _)) = graph.producer(value).filter(|_| depth > 0) else { return false };
    let mut inputs = graph.node_inputs(node).into_iter().flatten().peekable();
    inputs.peek().is_some() && inputs.all(|input| is_computed_from_constants(graph, input, depth - 1))
}
