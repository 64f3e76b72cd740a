//! Which weights of a row go in which order, and what each costs, when those left make up for every one that goes.
//!
//! Optimal Brain Surgeon (Hassibi and Stork, 1992), row by row, as in Frantar, Singh and Alistarh, "Optimal Brain
//! Compression", 2022, section 4: a weight `w_p` costs `w_p^2 / [H^-1]_pp`, the cheapest goes, and the inverse of what is
//! left follows by one step of Gaussian elimination. While many are left, several go at a time.

use faer::linalg::matmul::matmul;
use faer::linalg::solvers::Solve;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// So much of what is left goes at a time, as long as more than `SINGLE_BELOW` of the row is left.
const STRIDE: f64 = 0.03;
const SINGLE_BELOW: f64 = 0.35;

/// How many weights of each group of columns stay.
#[derive(Debug, Clone, Copy)]
pub(super) struct Groups<'g> {
    /// The group of each column.
    pub(super) of_column: &'g [u32],
    pub(super) kept: usize,
}

/// About how many multiplications the orders of `rows` rows of `dim` weights take.
pub(super) fn cost(rows: usize, dim: usize) -> f64 {
    rows as f64 * (dim as f64).powi(3) * 0.64
}

/// What it costs to let each weight go in its turn, never less than what went before; infinite for what stays in its group.
pub(super) fn costs(inverse: &[f64], weights: &[f64], groups: Option<Groups<'_>>) -> Vec<f64> {
    let dim = weights.len();
    let mut result = vec![f64::INFINITY; dim];
    let mut state = State { places: (0..dim).collect(), weights: weights.to_vec(), inverse: inverse.to_vec() };
    let mut left_in_group = groups.map(|groups| {
        let count = groups.of_column.iter().max().map_or(0, |&last| last as usize + 1);
        let mut left = vec![0usize; count];
        groups.of_column.iter().for_each(|&group| left[group as usize] += 1);
        left
    });
    let mut highest = 0.0f64;
    loop {
        let left = state.places.len();
        let at_once = if left as f64 > SINGLE_BELOW * dim as f64 { (STRIDE * left as f64).ceil() as usize } else { 1 };
        let goes = state.cheapest(at_once, |place| match (&mut left_in_group, groups) {
            (Some(left), Some(groups)) => {
                let left = &mut left[groups.of_column[place] as usize];
                let may_go = *left > groups.kept;
                *left -= usize::from(may_go);
                may_go
            }
            _ => true,
        });
        if goes.is_empty() {
            return result;
        }
        for &at in &goes {
            highest = highest.max(state.cost(at));
            result[state.places[at]] = highest;
        }
        if !state.remove(goes) {
            return result;
        }
    }
}

/// What is left of a row.
struct State {
    /// The columns of what is left.
    places: Vec<usize>,
    weights: Vec<f64>,
    /// Row by row.
    inverse: Vec<f64>,
}

impl State {
    fn cost(&self, at: usize) -> f64 {
        let cost = self.weights[at].powi(2) / self.inverse[at * (self.places.len() + 1)];
        if cost.is_nan() { f64::INFINITY } else { cost }
    }

    /// Up to `count` weights in the order of their costs, of those that `may_go`, which is asked in that order.
    fn cheapest(&self, count: usize, mut may_go: impl FnMut(usize) -> bool) -> Vec<usize> {
        let mut order: Vec<(f64, usize)> = (0..self.places.len()).map(|at| (self.cost(at), at)).collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        order.into_iter().map(|(_, at)| at).filter(|&at| may_go(self.places[at])).take(count).collect()
    }

    /// Lets weights go; the others make up for them. Says whether the numbers still serve.
    fn remove(&mut self, mut goes: Vec<usize>) -> bool {
        goes.sort_unstable();
        let all = self.places.len();
        let rows: Vec<f64> =
            goes.iter().flat_map(|&at| self.inverse[at * all..(at + 1) * all].iter().copied()).collect();
        let block = Mat::from_fn(goes.len(), goes.len(), |i, j| rows[i * all + goes[j]]);
        let Ok(factor) = block.llt(Side::Lower) else { return false };
        // Rows that go, columns that stay.
        let across: Vec<f64> = rows.chunks(all).flat_map(|row| without(row, &goes)).collect();
        let left = all - goes.len();
        let across = MatRef::from_row_major_slice(&across, goes.len(), left);
        let shares = factor.solve(across);
        let mut inverse = Vec::with_capacity(left * left);
        let mut next = 0;
        for (at, row) in self.inverse.chunks(all).enumerate() {
            if goes.get(next) == Some(&at) {
                next += 1;
            } else {
                inverse.extend(without(row, &goes));
            }
        }
        let updated = MatMut::from_row_major_slice_mut(&mut inverse, left, left);
        matmul(updated, Accum::Add, across.transpose(), shares.as_ref(), -1.0, Par::Seq);
        let gone = Mat::from_fn(1, goes.len(), |_, i| self.weights[goes[i]]);
        let mut weights = without(&self.weights, &goes);
        let updated = MatMut::from_row_major_slice_mut(&mut weights, 1, left);
        matmul(updated, Accum::Add, gone.as_ref(), shares.as_ref(), -1.0, Par::Seq);
        self.weights = weights;
        self.inverse = inverse;
        self.places = without(&self.places, &goes);
        true
    }
}

/// What is left without some places, which are in order.
fn without<T: Copy>(values: &[T], goes: &[usize]) -> Vec<T> {
    let mut left = Vec::with_capacity(values.len() - goes.len());
    let mut start = 0;
    for &at in goes {
        left.extend_from_slice(&values[start..at]);
        start = at + 1;
    }
    left.extend_from_slice(&values[start..]);
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `[[2, 1], [1, 2]]` inverted.
    const INVERSE: [f64; 4] = [2.0 / 3.0, -1.0 / 3.0, -1.0 / 3.0, 2.0 / 3.0];

    #[test]
    fn the_second_cost_is_that_of_what_the_first_left() {
        // The first goes for 1 / (2/3). The other becomes 3 + 1/2, with 1/2 for an inverse: 24.5.
        let costs = costs(&INVERSE, &[1.0, 3.0], None);
        assert!((costs[0] - 1.5).abs() < 1e-12 && (costs[1] - 24.5).abs() < 1e-12, "{costs:?}");
    }

    #[test]
    fn zeros_cost_nothing_and_go_first() {
        let costs = costs(&INVERSE, &[5.0, 0.0], None);
        assert!(costs[1] == 0.0 && costs[0] > 0.0, "{costs:?}");
    }

    #[test]
    fn groups_keep_as_many_as_they_are_to() {
        let inverse: Vec<f64> = (0..36).map(|at| if at % 7 == 0 { 1.0 } else { 0.0 }).collect();
        let groups = Groups { of_column: &[0, 0, 0, 1, 1, 1], kept: 1 };
        let costs = costs(&inverse, &[1.0, 2.0, 3.0, 9.0, 8.0, 7.0], Some(groups));
        assert_eq!(costs, [1.0, 4.0, f64::INFINITY, f64::INFINITY, 64.0, 49.0]);
    }
}
