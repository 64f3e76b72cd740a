//! What rows of a layer that read the same inputs are to be, and what rounding them needs to know.

use rayon::prelude::*;

use super::feedback::Feedback;
use super::least_squares::Equations;
use crate::calib::{Gram, PairGram};

/// The best rows of any values, and how errors in them show in the outputs.
#[derive(Debug)]
pub(in crate::passes) struct Wanted {
    pub(in crate::passes) equations: Equations,
    pub(in crate::passes) feedback: Feedback,
    pub(in crate::passes) rows: Vec<f32>,
}

impl Wanted {
    /// Rows that go on reading what they did; `None` where the moments do not serve.
    pub(in crate::passes) fn plain(rows: &[f32], gram: &Gram, is_centred: bool) -> Option<Self> {
        let equations = Equations::plain(gram, &in_f64(rows), is_centred)?;
        let feedback = Feedback::new(&equations.own, equations.dim, gram.rows())?;
        Some(Self { equations, feedback, rows: rows.to_vec() })
    }

    /// Rows that read what compressed layers hand on, towards what they gave in the original; zeros but where `stays` holds.
    /// `None` where the moments do not serve.
    pub(in crate::passes) fn corrected(
        rows: &[f32],
        pair: &PairGram,
        is_centred: bool,
        stays: impl Fn(f32) -> bool,
    ) -> Option<Self> {
        let original = in_f64(rows);
        let equations = Equations::corrected(pair, &original, is_centred)?;
        let feedback = Feedback::new(&equations.own, equations.dim, pair.copy().rows())?;
        let stays: Vec<bool> = rows.iter().map(|&weight| stays(weight)).collect();
        let wanted = equations.solve(&stays, &original)?;
        Some(Self { equations, feedback, rows: wanted.into_iter().map(|weight| weight as f32).collect() })
    }
}

/// Numbers as moments have them.
pub(in crate::passes) fn in_f64(numbers: &[f32]) -> Vec<f64> {
    numbers.iter().copied().map(f64::from).collect()
}

/// Splits the rows of a tensor evenly among the groups of channels that read the same inputs, of `dim` numbers each; `None`
/// where they do not come in such groups, or `new` makes nothing of one.
pub(in crate::passes) fn by_group<'r, S: Sync, G: Send>(
    rows: &'r [f32],
    of: &[S],
    dim: impl Fn(&S) -> usize,
    new: impl Fn(&'r [f32], &S) -> Option<G> + Sync,
) -> Option<Vec<G>> {
    let (depth, group_len) = (dim(of.first()?), rows.len() / of.len());
    if depth == 0 || group_len == 0 || !group_len.is_multiple_of(depth) || rows.len() != group_len * of.len() {
        return None;
    }
    of.par_iter().zip(rows.par_chunks(group_len)).map(|(one, rows)| new(rows, one)).collect()
}
