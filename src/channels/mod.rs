//! Which channels must go together: for every axis of every value of a graph, the classes that its channels belong to.
//!
//! ```text
//! a = Conv(x, w1)        rows of w1, rows of w2 and columns of w3: channel i of each goes with channel i of the others,
//! b = Conv(x, w2)   =>   n classes, one group
//! c = Add(a, b)
//! y = Conv(c, w3)        rows of w3: what the graph's output `y` holds, kept
//! ```
//!
//! [`Channels::analyze`] walks the operators in topological order. Each axis of each constant brings one atom for each
//! of its elements; the rule of an operator (`rules`, one file a family) says how atoms of its inputs become those of its
//! outputs and which must be one. So channel i of an axis may be any element of another, whatever was concatenated, sliced,
//! shuffled or folded into heads between them. Weights are values like all others: whatever computes one, and however
//! many operators read it, its axes are followed the same way. Batch and spatial extents may be names.
//!
//! Removing a class is exact in this sense: the outputs are those of the graph with the weights of the class set to zero,
//! up to float rounding. What stands in the way is a [`Barrier`]: a softmax or a mean over the channels, an output of the
//! graph, an operator or an extent that is not known. What is not understood is kept.
//!
//! [`Channels::remove`] takes classes out of a graph: slices every constant, and corrects whatever holds a number of
//! channels (attributes, sizes of Split, bounds of Slice, targets of Reshape). It knows no pass and no criterion.

mod apply;
mod edit;
mod groups;
mod product;
mod rules;
mod sets;
mod walk;

use std::collections::BTreeMap;

use crate::error::{Result, Site};
use crate::infer::GraphFacts;
use crate::ir::{Graph, NodeId, ValueId};

use edit::Edit;
use groups::Finder;
use sets::Atoms;
use walk::Walk;

/// The number of a class of channels that go together.
pub type Class = u32;

/// The class of channels that stay.
const KEPT: Class = Class::MAX;

/// What keeps channels from being removed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barrier {
    /// The operator or value that needs them.
    pub site: Site,
    /// Why: the end of a sentence that begins with the place.
    pub reason: String,
}

/// Classes that lie on the same axes of the same constants, as often: any number of them may go, each as good as another.
#[derive(Debug, Clone)]
pub struct Group {
    /// The classes, in the order of the channels.
    pub classes: Vec<Class>,
    /// The operators whose outputs have these channels, in topological order; never empty.
    pub layers: Vec<NodeId>,
}

/// Channels of an operator's output that must stay.
#[derive(Debug, Clone)]
pub struct Declined {
    /// The operator.
    pub layer: NodeId,
    /// How many channels.
    pub channels: usize,
    /// What keeps the first of them.
    pub barrier: Barrier,
}

/// A constant with channels.
#[derive(Debug, Clone)]
pub struct Constant {
    /// The value.
    pub value: ValueId,
    /// Whether setting its elements to zero masks their channels: it is a float, and nothing divides by it.
    pub is_maskable: bool,
    axes: Vec<Option<Atoms>>,
}

/// An operator that multiplies by weights.
#[derive(Debug, Clone)]
pub struct Layer {
    /// The operator.
    pub node: NodeId,
    /// The channels of its output.
    out: Option<Atoms>,
    /// The axes whose numbers of channels its work is proportional to.
    factors: Vec<Atoms>,
    /// Multiplications for one channel of each factor.
    rest: f64,
}

/// A constant weight whose columns meet the channels of a value: what is lost of the value can be made up for here.
#[derive(Debug, Clone)]
pub struct Reader {
    /// The operator: a convolution, or a product with a matrix.
    pub node: NodeId,
    /// The value it reads.
    pub input: ValueId,
    /// The axis of the value with the channels.
    pub axis: usize,
    /// The weight, which nothing else reads.
    pub weight: ValueId,
    /// The axis of the weight with the same channels; of a convolution with groups, with those of one group.
    pub weight_axis: usize,
}

/// Classes to remove.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removal {
    gone: Vec<bool>,
}

impl Removal {
    /// Removes nothing yet.
    pub fn new(channels: &Channels) -> Self {
        Self { gone: vec![false; channels.class_count] }
    }

    /// Adds a class.
    pub fn insert(&mut self, class: Class) {
        if let Some(place) = self.gone.get_mut(class as usize) {
            *place = true;
        }
    }

    /// Takes a class out again.
    pub fn retain(&mut self, class: Class) {
        if let Some(place) = self.gone.get_mut(class as usize) {
            *place = false;
        }
    }

    /// Whether a class goes.
    pub fn contains(&self, class: Class) -> bool {
        self.gone.get(class as usize).copied().unwrap_or_default()
    }

    /// Whether nothing goes.
    pub fn is_empty(&self) -> bool {
        !self.gone.contains(&true)
    }
}

/// What is known of the channels of one graph.
#[derive(Debug, Clone)]
pub struct Channels {
    /// The class of each atom.
    class_of: Vec<Class>,
    class_count: usize,
    groups: Vec<Group>,
    declined: Vec<Declined>,
    constants: Vec<Constant>,
    /// Every other value with channels.
    values: Vec<(ValueId, Vec<Option<Atoms>>)>,
    edits: Vec<Edit>,
    layers: Vec<Layer>,
    readers: Vec<Reader>,
    known_ints: BTreeMap<ValueId, Vec<i64>>,
    opset: i64,
}

impl Channels {
    /// Finds the classes of a graph. `facts` are what [`infer`](crate::infer::infer) knows of it, `opset` is the version
    /// of the default operator set it is written for.
    ///
    /// # Errors
    /// Fails on a graph with a cycle.
    pub fn analyze(graph: &Graph, facts: &GraphFacts, opset: i64) -> Result<Self> {
        Self::analyze_inner(graph, facts, &[], opset)
    }

    /// The same of a graph inside of others, the outermost first: values of those keep their channels.
    ///
    /// # Errors
    /// Fails on a graph with a cycle.
    pub fn analyze_inner(
        graph: &Graph,
        facts: &GraphFacts,
        outer: &[(&Graph, &GraphFacts)],
        opset: i64,
    ) -> Result<Self> {
        let mut walk = Walk::over(graph, facts, outer, opset)?;
        let whole = walk.barrier(Site::default(), "other rows of the same grid go instead");
        product::resolve(std::mem::take(&mut walk.products), &mut walk.sets, whole);
        Ok(Finder::new(walk).finish())
    }

    /// The groups, in the order of their first layers.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// Layers with channels that must stay, in topological order.
    pub fn declined(&self) -> &[Declined] {
        &self.declined
    }

    /// Every constant with channels.
    pub fn constants(&self) -> &[Constant] {
        &self.constants
    }

    /// The classes of an axis of a constant, element by element, `None` for what stays; `None` where no element of the
    /// axis can go.
    pub fn axis_classes(&self, constant: &Constant, axis: usize) -> Option<Vec<Option<Class>>> {
        let atoms = constant.axes.get(axis)?.as_ref()?;
        let classes: Vec<Option<Class>> = atoms.iter().map(|&atom| self.class(atom)).collect();
        classes.iter().any(Option::is_some).then_some(classes)
    }

    /// Every operator that multiplies by weights, in topological order.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = NodeId> + '_ {
        self.layers.iter().map(|layer| layer.node)
    }

    /// Every weight whose columns meet channels, in topological order.
    pub fn readers(&self) -> &[Reader] {
        &self.readers
    }

    /// How many output channels of a layer stay, and how many there are; `None` where it has none to lose.
    pub fn output_channels(&self, layer: NodeId, removal: &Removal) -> Option<(usize, usize)> {
        let atoms = self.layers.iter().find(|one| one.node == layer)?.out.as_ref()?;
        Some((self.kept(atoms, removal), atoms.len()))
    }

    /// The multiplications of all layers on one sample. Extents with names count as 64: only the quotient of two of
    /// these numbers means something then.
    pub fn multiplications(&self, removal: &Removal) -> f64 {
        let of = |layer: &Layer| layer.factors.iter().fold(layer.rest, |n, f| n * self.kept(f, removal) as f64);
        self.layers.iter().map(of).sum()
    }

    /// Counts multiplications as another analysis of the same graph does, one that knows the extents of more values.
    pub fn take_sizes(&mut self, other: &Self) {
        let rest: BTreeMap<NodeId, (usize, f64)> =
            other.layers.iter().map(|layer| (layer.node, (layer.factors.len(), layer.rest))).collect();
        for layer in &mut self.layers {
            if let Some((_, rest)) = rest.get(&layer.node).filter(|(factors, _)| *factors == layer.factors.len()) {
                layer.rest = *rest;
            }
        }
    }

    /// The elements of all constants with channels.
    pub fn elements(&self, graph: &Graph, removal: &Removal) -> f64 {
        let of = |constant: &Constant| {
            let shape = graph.constant(constant.value).map(|tensor| tensor.shape().to_vec()).unwrap_or_default();
            let extents = constant.axes.iter().zip(shape).map(|(atoms, extent)| match atoms {
                Some(atoms) => self.kept(atoms, removal) as f64,
                None => extent as f64,
            });
            extents.product::<f64>()
        };
        self.constants.iter().map(of).sum()
    }

    /// Takes classes out of the graph that was analyzed.
    ///
    /// # Errors
    /// Fails where the graph is another one.
    pub fn remove(&self, graph: &mut Graph, removal: &Removal) -> Result<()> {
        apply::remove(self, graph, removal)
    }

    fn class(&self, atom: sets::Atom) -> Option<Class> {
        self.class_of.get(atom as usize).copied().filter(|&class| class != KEPT)
    }

    fn is_kept(&self, atom: sets::Atom, removal: &Removal) -> bool {
        self.class(atom).is_none_or(|class| !removal.contains(class))
    }

    fn kept(&self, atoms: &Atoms, removal: &Removal) -> usize {
        atoms.iter().filter(|&&atom| self.is_kept(atom, removal)).count()
    }
}
