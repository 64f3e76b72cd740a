//! Classes of channels that go together: union-find over atoms, each class with what keeps it from being removed.

use std::sync::Arc;

/// One channel of one axis, before it is known which others it goes with.
pub(super) type Atom = u32;

/// Channels of an axis, in order.
pub(super) type Atoms = Arc<[Atom]>;

/// The number of a barrier.
pub(super) type Why = u32;

const FREE: Why = Why::MAX;

/// Atoms in disjoint classes.
#[derive(Debug, Default)]
pub(super) struct Sets {
    parent: Vec<Atom>,
    /// Of each root: the first barrier met, or `FREE`.
    barrier: Vec<Why>,
    /// Of each root: whether the class is one of attention heads.
    is_head: Vec<bool>,
}

impl Sets {
    /// New atoms, each in a class of its own.
    pub(super) fn fresh(&mut self, count: usize) -> Atoms {
        let start = self.parent.len() as Atom;
        self.parent.extend(start..start + count as Atom);
        self.barrier.resize(self.parent.len(), FREE);
        self.is_head.resize(self.parent.len(), false);
        (start..start + count as Atom).collect()
    }

    /// A new atom behind a barrier.
    pub(super) fn blocked(&mut self, why: Why) -> Atom {
        let atom = self.parent.len() as Atom;
        self.parent.push(atom);
        self.barrier.push(why);
        self.is_head.push(false);
        atom
    }

    /// The number of atoms.
    pub(super) fn len(&self) -> usize {
        self.parent.len()
    }

    /// The atom that stands for a class.
    pub(super) fn find(&mut self, atom: Atom) -> Atom {
        let mut atom = atom;
        loop {
            let up = self.up(atom);
            if up == atom {
                return atom;
            }
            // Halving the path keeps later searches short.
            let above = self.up(up);
            if let Some(place) = self.parent.get_mut(atom as usize) {
                *place = above;
            }
            atom = above;
        }
    }

    /// Makes two classes one; says whether they were two.
    pub(super) fn union(&mut self, a: Atom, b: Atom) -> bool {
        let (a, b) = (self.find(a), self.find(b));
        if a == b {
            return false;
        }
        // The older atom stands for both, so that the result does not depend on the order of unions.
        let (root, other) = (a.min(b), a.max(b));
        let why = self.root_barrier(root).min(self.root_barrier(other));
        let is_head = self.root_is_head(root) || self.root_is_head(other);
        for (place, value) in [(self.parent.get_mut(other as usize), root), (self.barrier.get_mut(root as usize), why)]
        {
            if let Some(place) = place {
                *place = value;
            }
        }
        if let Some(place) = self.is_head.get_mut(root as usize) {
            *place = is_head;
        }
        true
    }

    /// Puts a class behind a barrier; says whether it was free.
    pub(super) fn block(&mut self, atom: Atom, why: Why) -> bool {
        let root = self.find(atom);
        match self.barrier.get_mut(root as usize) {
            Some(place) => {
                let was_free = *place == FREE;
                *place = why.min(*place);
                was_free
            }
            None => false,
        }
    }

    /// What keeps a class from being removed.
    pub(super) fn barrier(&mut self, atom: Atom) -> Option<Why> {
        let root = self.find(atom);
        Some(self.root_barrier(root)).filter(|&why| why != FREE)
    }

    /// Notes that a class is one of attention heads.
    pub(super) fn mark_head(&mut self, atom: Atom) {
        let root = self.find(atom);
        if let Some(place) = self.is_head.get_mut(root as usize) {
            *place = true;
        }
    }

    /// Whether a class is one of attention heads.
    pub(super) fn is_head(&mut self, atom: Atom) -> bool {
        let root = self.find(atom);
        self.root_is_head(root)
    }

    fn up(&self, atom: Atom) -> Atom {
        self.parent.get(atom as usize).copied().unwrap_or(atom)
    }

    fn root_barrier(&self, root: Atom) -> Why {
        self.barrier.get(root as usize).copied().unwrap_or(FREE)
    }

    fn root_is_head(&self, root: Atom) -> bool {
        self.is_head.get(root as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_grow_and_share_barriers() {
        let mut sets = Sets::default();
        let (a, b) = (sets.fresh(3), sets.fresh(3));
        assert!(sets.union(a[0], b[2]) && sets.union(b[2], a[1]));
        assert!(!sets.union(a[0], a[1]));
        assert_eq!(sets.barrier(a[0]), None);
        assert!(sets.block(b[2], 7) && !sets.block(a[0], 9));
        assert_eq!((sets.barrier(a[1]), sets.barrier(a[2])), (Some(7), None));
        sets.block(a[1], 3);
        assert_eq!(sets.barrier(b[2]), Some(3));
        assert_eq!(sets.find(b[2]), a[0]);
    }
}
