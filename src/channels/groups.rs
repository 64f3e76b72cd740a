//! From the walk to classes and groups.

use std::collections::BTreeMap;

use super::sets::{Atom, Atoms};
use super::walk::{Axis, Walk};
use super::{Barrier, Channels, Class, Constant, Declined, Group, KEPT};
use crate::error::Site;
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
        let barriers: Vec<Option<u32>> = (0..roots.len() as Atom).map(|atom| self.walk.sets.barrier(atom)).collect();
        let is_free = |atom: Atom| barriers.get(atom as usize).copied().flatten().is_none();

        // Only what the output of a layer has is removed; constants among themselves are no channels.
        let mut layers_of: Vec<Vec<usize>> = vec![Vec::new(); roots.len()];
        for (place, layer) in self.walk.layers.iter().enumerate() {
            for &atom in layer.out.iter().flat_map(|out| out.iter()).filter(|&&atom| is_free(atom)) {
                if let Some(layers) = layers_of.get_mut(root(atom) as usize)
                    && layers.last() != Some(&place)
                {
                    layers.push(place);
                }
            }
        }
        let mut signatures: Vec<Signature> = vec![Vec::new(); roots.len()];
        let mut number = 0;
        for atoms in constants.iter().flat_map(|constant| constant.axes.iter()) {
            number += 1;
            for &atom in atoms.iter().flat_map(|atoms| atoms.iter()).filter(|&&atom| is_free(atom)) {
                let class = root(atom) as usize;
                if layers_of.get(class).is_none_or(Vec::is_empty) {
                    continue;
                }
                let Some(signature) = signatures.get_mut(class) else { continue };
                match signature.last_mut() {
                    Some((axis, count)) if *axis == number => *count += 1,
                    _ => signature.push((number, 1)),
                }
            }
        }
        // The order of channels is that in the first layer that has them.
        let mut in_layers: Vec<Atom> = Vec::new();
        let mut seen = vec![false; roots.len()];
        for layer in &self.walk.layers {
            for &atom in layer.out.iter().flat_map(|out| out.iter()) {
                let class = root(atom);
                if signatures.get(class as usize).is_some_and(|signature| !signature.is_empty())
                    && let Some(seen) = seen.get_mut(class as usize)
                    && !*seen
                {
                    *seen = true;
                    in_layers.push(class);
                }
            }
        }
        let mut places: BTreeMap<&Signature, usize> = BTreeMap::new();
        let mut members: Vec<Vec<Atom>> = Vec::new();
        for &atom in &in_layers {
            let Some(signature) = signatures.get(atom as usize) else { continue };
            let place = *places.entry(signature).or_insert_with(|| {
                members.push(Vec::new());
                members.len() - 1
            });
            if let Some(members) = members.get_mut(place) {
                members.push(atom);
            }
        }
        let mut class_of_root: BTreeMap<Atom, Class> = BTreeMap::new();
        let mut groups: Vec<Group> = Vec::new();
        // A class that is alone in its group can never go: something would be left without channels.
        for members in members.iter().filter(|members| members.len() > 1) {
            let mut classes = Vec::with_capacity(members.len());
            for &atom in members {
                let class = class_of_root.len() as Class;
                class_of_root.insert(atom, class);
                classes.push(class);
            }
            let layers = members.first().and_then(|&atom| layers_of.get(atom as usize)).into_iter().flatten();
            let layers = layers.filter_map(|&place| self.walk.layers.get(place)).map(|layer| layer.node);
            groups.push(Group { classes, layers: layers.collect() });
        }
        let class_of: Vec<Class> = roots.iter().map(|atom| class_of_root.get(atom).copied().unwrap_or(KEPT)).collect();
        let declined = self.declined(&barriers, &class_of);
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
            readers: self.walk.readers,
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

    /// The layers with channels that stay, each with the first barrier in front of one. Without any barrier they all go
    /// together.
    fn declined(&self, barriers: &[Option<u32>], class_of: &[Class]) -> Vec<Declined> {
        let of = |layer: &super::Layer| {
            let stays = |atom: &&Atom| class_of.get(**atom as usize) == Some(&KEPT);
            let kept: Vec<&Atom> = layer.out.as_ref()?.iter().filter(stays).collect();
            let why = kept.iter().filter_map(|&&atom| barriers.get(atom as usize).copied().flatten()).min();
            let barrier = match why {
                Some(why) => self.walk.barriers.get(why as usize)?.clone(),
                None => Barrier { site: Site::default(), reason: "they only go together".to_owned() },
            };
            (!kept.is_empty()).then_some(Declined { layer: layer.node, channels: kept.len(), barrier })
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
