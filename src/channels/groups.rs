//! From the walk to classes and groups.

use std::collections::BTreeMap;

use super::sets::{Atom, Atoms};
use super::walk::{Axis, Walk};
use super::{Channels, Class, Constant, Declined, Group, KEPT};
use crate::ir::{NodeId, ValueId};

/// Turns what the walk found into classes and groups.
pub(super) struct Finder<'a> {
    walk: Walk<'a>,
}

/// How often each axis of each constant has a class: axis number, elements.
type Signature = Vec<(u32, u32)>;

impl<'a> Finder<'a> {
    pub(super) fn new(walk: Walk<'a>) -> Self {
        Self { walk }
    }

    pub(super) fn finish(mut self) -> Channels {
        let (constants, values) = self.sort_values();
        let roots: Vec<Atom> = (0..self.walk.sets.len() as Atom).map(|atom| self.walk.sets.find(atom)).collect();
        let root = |atom: Atom| roots.get(atom as usize).copied().unwrap_or(atom);
        let barriers: Vec<Option<u32>> =
            (0..roots.len() as Atom).map(|atom| self.walk.sets.barrier(atom)).collect();
        let is_free = |atom: Atom| barriers.get(atom as usize).copied().flatten().is_none();

        // Only what the output of a layer has is removed; constants among themselves are no channels.
        let mut layers_of: BTreeMap<Atom, Vec<usize>> = BTreeMap::new();
        for (place, layer) in self.walk.layers.iter().enumerate() {
            for &atom in layer.out.iter().flat_map(|out| out.iter()).filter(|&&atom| is_free(atom)) {
                let layers = layers_of.entry(root(atom)).or_default();
                if layers.last() != Some(&place) {
                    layers.push(place);
                }
            }
        }
        let mut signatures: BTreeMap<Atom, Signature> = BTreeMap::new();
        let mut order: Vec<Atom> = Vec::new();
        let mut number = 0;
        for atoms in constants.iter().flat_map(|constant| constant.axes.iter()) {
            number += 1;
            for &atom in atoms.iter().flat_map(|atoms| atoms.iter()).filter(|&&atom| is_free(atom)) {
                let class = root(atom);
                if !layers_of.contains_key(&class) {
                    continue;
                }
                let signature = signatures.entry(class).or_insert_with(|| {
                    order.push(class);
                    Vec::new()
                });
                match signature.last_mut() {
                    Some((axis, count)) if *axis == number => *count += 1,
                    _ => signature.push((number, 1)),
                }
            }
        }
        // The order of channels is that in the first layer that has them.
        let mut in_layers: Vec<Atom> = Vec::with_capacity(order.len());
        let mut seen = vec![false; roots.len()];
        for layer in &self.walk.layers {
            for &atom in layer.out.iter().flat_map(|out| out.iter()) {
                let class = root(atom);
                if signatures.contains_key(&class)
                    && let Some(seen) = seen.get_mut(class as usize)
                    && !*seen
                {
                    *seen = true;
                    in_layers.push(class);
                }
            }
        }
        let mut class_of_root: BTreeMap<Atom, Class> = BTreeMap::new();
        let mut places: BTreeMap<&Signature, usize> = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        for atom in in_layers {
            let Some(signature) = signatures.get(&atom) else { continue };
            let class = class_of_root.len() as Class;
            class_of_root.insert(atom, class);
            let place = *places.entry(signature).or_insert_with(|| {
                let layers = layers_of.get(&atom).into_iter().flatten();
                let layers = layers.filter_map(|&place| self.walk.layers.get(place)).map(|layer| layer.node);
                groups.push(Group { classes: Vec::new(), layers: layers.collect() });
                groups.len() - 1
            });
            if let Some(group) = groups.get_mut(place) {
                group.classes.push(class);
            }
        }
        let class_of = roots.iter().map(|atom| class_of_root.get(atom).copied().unwrap_or(KEPT)).collect();
        let declined = self.declined(&barriers);
        let known_ints = self.known_ints();
        Channels {
            class_of,
            class_count: class_of_root.len(),
            groups,
            declined,
            constants,
            values,
            edits: self.walk.edits,
            layers: self.walk.layers,
            known_ints,
            opset: self.walk.opset,
        }
    }

    /// Constants with channels and other values with channels.
    #[allow(clippy::type_complexity, reason = "both lists are fields of the result")]
    fn sort_values(&mut self) -> (Vec<Constant>, Vec<(ValueId, Vec<Option<Atoms>>)>) {
        let (mut constants, mut values) = (Vec::new(), Vec::new());
        for (value, axes) in std::mem::take(&mut self.walk.values) {
            let axes: Vec<Option<Atoms>> = axes.iter().map(|axis| axis.atoms().cloned()).collect();
            if axes.iter().all(Option::is_none) {
                continue;
            }
            match self.walk.graph.constant(value) {
                Some(tensor) => {
                    let is_maskable = tensor.dtype().is_float() && !self.walk.divisors.contains(&value);
                    constants.push(Constant { value, is_maskable, axes });
                }
                None => values.push((value, axes)),
            }
        }
        (constants, values)
    }

    fn declined(&self, barriers: &[Option<u32>]) -> Vec<Declined> {
        let of = |layer: &super::Layer| {
            let kept = |atom: &Atom| barriers.get(*atom as usize).copied().flatten();
            let whys: Vec<u32> = layer.out.as_ref()?.iter().filter_map(kept).collect();
            let barrier = self.walk.barriers.get(*whys.iter().min()? as usize)?.clone();
            Some(Declined { layer: layer.node, channels: whys.len(), barrier })
        };
        self.walk.layers.iter().filter_map(of).collect()
    }

    /// What computed inputs of corrected operators hold.
    fn known_ints(&self) -> BTreeMap<ValueId, Vec<i64>> {
        let nodes = self.walk.edits.iter().filter_map(|edit| match edit {
            super::Edit::Bounds { node, .. } => Some(*node),
            _ => None,
        });
        let inputs = nodes.flat_map(|node: NodeId| self.walk.graph.node_inputs(node).into_iter().flatten());
        inputs.filter_map(|input| Some((input, self.walk.ints(input)?))).collect()
    }
}

impl Axis {
    /// The channels of an axis that was walked.
    pub(super) fn into_atoms(self) -> Option<Atoms> {
        match self {
            Self::Fixed(_) => None,
            Self::Channels { atoms, .. } => Some(atoms),
        }
    }
}
