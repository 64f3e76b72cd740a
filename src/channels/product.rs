//! Axes that are a grid of others: heads by width, groups by members, channels by pixels.
//!
//! Element (i, j) of a grid goes where row i or column j goes. As long as a grid is read both as one axis and as two,
//! what goes must be whole rows or whole columns; which of the two is decided here, once everything is known that keeps
//! rows or columns as they are.

use super::sets::{Atom, Atoms, Sets, Why};
use super::walk::Axis;

/// An axis that is a grid of other axes, in row-major order.
#[derive(Debug, Clone)]
pub(super) struct Product {
    flat: Atoms,
    factors: Vec<(usize, Factor)>,
}

#[derive(Debug, Clone)]
enum Factor {
    Fixed(Why),
    Free(Atoms),
}

impl Product {
    /// A grid; `factors` are the extents with their axes. `None` where the axis is fixed itself: then the factors are to
    /// be kept by the caller.
    pub(super) fn new(flat: &Atoms, factors: &[(usize, Axis)]) -> Self {
        let factor = |axis: &Axis| match axis {
            Axis::Fixed(why) => Factor::Fixed(*why),
            Axis::Channels { atoms, .. } => Factor::Free(atoms.clone()),
        };
        let factors = factors.iter().filter(|(extent, _)| *extent != 1).map(|(extent, axis)| (*extent, factor(axis)));
        Self { flat: flat.clone(), factors: factors.collect() }
    }

    /// Calls `visit` with every atom of the axis and the place it has on a factor.
    fn each(&self, factor: usize, mut visit: impl FnMut(Atom, usize)) {
        let extent = self.factors.get(factor).map_or(1, |(extent, _)| *extent).max(1);
        let inner: usize = self.factors.iter().skip(factor + 1).map(|(extent, _)| *extent).product::<usize>().max(1);
        for (place, &atom) in self.flat.iter().enumerate() {
            visit(atom, place / inner % extent);
        }
    }

    /// Keeps what must be kept for the rest of the grid's sake, and makes one what must be; says whether it is done with.
    fn settle(&mut self, sets: &mut Sets, changed: &mut bool) -> bool {
        let free: Vec<usize> = self.free().collect();
        if free.len() > 1 {
            // While the choice is open, a part that must be kept decides it: what has such a part is kept whole.
            let kept = self.flat.iter().find_map(|&atom| sets.barrier(atom));
            for index in free {
                let Some((_, Factor::Free(atoms))) = self.factors.get(index).cloned() else { continue };
                if let Some(why) = atoms.iter().find_map(|&atom| sets.barrier(atom)).or(kept) {
                    self.fix(index, &atoms, why, sets);
                    *changed = true;
                }
            }
        }
        let free: Vec<usize> = self.free().collect();
        match free.as_slice() {
            [] => {
                let why = self.factors.iter().find_map(|(_, f)| match f {
                    Factor::Fixed(why) => Some(*why),
                    Factor::Free(_) => None,
                });
                for &atom in self.flat.iter() {
                    *changed |= why.is_some_and(|why| sets.block(atom, why));
                }
                true
            }
            [only] => {
                let Some((_, Factor::Free(atoms))) = self.factors.get(*only) else { return true };
                self.each(*only, |atom, place| {
                    if let Some(&factor) = atoms.get(place) {
                        *changed |= sets.union(atom, factor);
                    }
                });
                true
            }
            _ => false,
        }
    }

    fn free(&self) -> impl Iterator<Item = usize> + '_ {
        let is_free =
            |(index, (_, factor)): (usize, &(usize, Factor))| matches!(factor, Factor::Free(_)).then_some(index);
        self.factors.iter().enumerate().filter_map(is_free)
    }

    fn fix(&mut self, index: usize, atoms: &Atoms, why: Why, sets: &mut Sets) {
        atoms.iter().for_each(|&atom| {
            sets.block(atom, why);
        });
        if let Some((_, factor)) = self.factors.get_mut(index) {
            *factor = Factor::Fixed(why);
        }
    }

    /// Decides for one factor: attention heads where it is one of those, else the one with most classes, which leaves
    /// the finest choice of what goes.
    fn decide(&mut self, sets: &mut Sets, why: Why) {
        let mut best: Option<(bool, usize, usize)> = None;
        for index in self.free() {
            let Some((_, Factor::Free(atoms))) = self.factors.get(index) else { continue };
            let is_head = atoms.first().is_some_and(|&atom| sets.is_head(atom));
            let mut classes: Vec<Atom> = atoms.iter().map(|&atom| sets.find(atom)).collect();
            classes.sort_unstable();
            classes.dedup();
            let rank = (is_head, classes.len(), index);
            if best.is_none_or(|best| (rank.0, rank.1) > (best.0, best.1)) {
                best = Some(rank);
            }
        }
        let others: Vec<usize> = self.free().filter(|index| best.is_some_and(|best| best.2 != *index)).collect();
        for index in others {
            if let Some((_, Factor::Free(atoms))) = self.factors.get(index).cloned() {
                self.fix(index, &atoms, why, sets);
            }
        }
    }
}

/// Settles every grid. `why` is the barrier of what is kept because the rest of its grid goes in whole rows.
pub(super) fn resolve(mut products: Vec<Product>, sets: &mut Sets, why: Why) {
    loop {
        let mut changed = false;
        products.retain_mut(|product| !product.settle(sets, &mut changed));
        if changed {
            continue;
        }
        let Some(product) = products.first_mut() else { return };
        product.decide(sets, why);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(atoms: &Atoms) -> Axis {
        Axis::Channels { atoms: atoms.clone(), is_zero: true }
    }

    #[test]
    fn a_fixed_factor_leaves_whole_rows_of_the_other() {
        let mut sets = Sets::default();
        let (flat, rows) = (sets.fresh(6), sets.fresh(2));
        let product = Product::new(&flat, &[(2, axis(&rows)), (3, Axis::Fixed(1))]);
        resolve(vec![product], &mut sets, 9);
        let classes: Vec<_> = flat.iter().map(|&atom| sets.find(atom)).collect();
        assert_eq!(classes, [flat[0], flat[0], flat[0], flat[3], flat[3], flat[3]]);
        assert_eq!((sets.find(rows[1]), sets.barrier(flat[0])), (flat[3], None));
    }

    #[test]
    fn a_decision_holds_for_every_reading_of_the_grid() {
        // A shuffle: 2 x 3 read row by row, then column by column.
        let mut sets = Sets::default();
        let (before, after) = (sets.fresh(6), sets.fresh(6));
        let (rows, columns) = (sets.fresh(2), sets.fresh(3));
        let products = vec![
            Product::new(&before, &[(2, axis(&rows)), (3, axis(&columns))]),
            Product::new(&after, &[(3, axis(&columns)), (2, axis(&rows))]),
        ];
        resolve(products, &mut sets, 9);
        assert_eq!(sets.barrier(rows[0]), Some(9));
        let class = |sets: &mut Sets, atom| sets.find(atom);
        for column in 0..3 {
            let expected = class(&mut sets, columns[column]);
            for atom in [before[column], before[column + 3], after[2 * column], after[2 * column + 1]] {
                assert_eq!(class(&mut sets, atom), expected);
            }
        }
    }

    #[test]
    fn heads_go_before_the_finer_choice() {
        let mut sets = Sets::default();
        let (flat, heads, width) = (sets.fresh(8), sets.fresh(2), sets.fresh(4));
        heads.iter().for_each(|&atom| sets.mark_head(atom));
        resolve(vec![Product::new(&flat, &[(2, axis(&heads)), (4, axis(&width))])], &mut sets, 9);
        assert_eq!((sets.barrier(flat[0]), sets.barrier(width[0])), (None, Some(9)));
        assert_eq!(sets.find(flat[3]), sets.find(flat[0]));
        assert_ne!(sets.find(flat[4]), sets.find(flat[0]));
    }

    #[test]
    fn what_is_kept_of_the_grid_is_kept_of_each_factor() {
        let mut sets = Sets::default();
        let (flat, rows, columns) = (sets.fresh(6), sets.fresh(2), sets.fresh(3));
        sets.block(flat[5], 4);
        resolve(vec![Product::new(&flat, &[(2, axis(&rows)), (3, axis(&columns))])], &mut sets, 9);
        assert!(flat.iter().chain(rows.iter()).chain(columns.iter()).all(|&atom| sets.barrier(atom).is_some()));
    }
}
