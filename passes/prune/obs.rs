//! Which weights of a row go in which order, and what each costs, when those left make up for every one that goes.
//!
//! Optimal Brain Surgeon (Hassibi and Stork, 1992), row by row, as in Frantar, Singh and Alistarh, "Optimal Brain
//! Compression", 2022, section 4: a weight `w_p` costs `w_p^2 / [H^-1]_pp`, the cheapest goes, and the inverse of what is
//! left follows by one step of Gaussian elimination. While many are left, several go at a time.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
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
    let mut state = State::new(inverse, weights);
    let mut left_in_group = groups.map(|groups| {
        let count = groups.of_column.iter().max().map_or(0, |&last| last as usize + 1);
        let mut left = vec![0usize; count];
        groups.of_column.iter().for_each(|&group| left[group as usize] += 1);
        left
    });
    let mut may_go = |column: usize| match (&mut left_in_group, groups) {
        (Some(left), Some(groups)) => {
            let left = &mut left[groups.of_column[column] as usize];
            let may_go = *left > groups.kept;
            *left -= usize::from(may_go);
            may_go
        }
        _ => true,
    };
    let mut highest = 0.0f64;
    loop {
        let left = state.left as f64;
        let goes = match left > SINGLE_BELOW * dim as f64 {
            true => state.cheapest((STRIDE * left).ceil() as usize, &mut may_go),
            false => Vec::from_iter(state.cheapest_one(&mut may_go)),
        };
        if goes.is_empty() {
            return result;
        }
        for &at in &goes {
            highest = highest.max(state.cost(at));
            result[state.columns[at]] = highest;
        }
        let serves = match goes[..] {
            [one] => state.remove_one(one),
            _ => state.remove(goes),
        };
        if !serves {
            return result;
        }
    }
}

/// Whether a weight may still go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Open,
    /// Its group has no more left than it is to keep.
    Stays,
    Gone,
}

/// What is left of a row. Weights that went one by one stay in it as zeros for a while: moving the rest together each time
/// would take longer than all that is computed.
struct State {
    /// The columns of the weights.
    columns: Vec<usize>,
    fates: Vec<Fate>,
    weights: Vec<f64>,
    /// Row by row; as it is symmetric, only what is left of the diagonal, and that, is kept up to date.
    inverse: Vec<f64>,
    /// Weights that did not go.
    left: usize,
}

impl State {
    fn new(inverse: &[f64], weights: &[f64]) -> Self {
        let left = weights.len();
        Self {
            columns: (0..left).collect(),
            fates: vec![Fate::Open; left],
            weights: weights.to_vec(),
            inverse: inverse.to_vec(),
            left,
        }
    }

    fn cost(&self, at: usize) -> f64 {
        let cost = self.weights[at].powi(2) / self.inverse[at * (self.columns.len() + 1)];
        if cost.is_nan() { f64::INFINITY } else { cost }
    }

    /// Up to `count` weights in the order of their costs, of those that `may_go`, which is asked in that order.
    fn cheapest(&mut self, count: usize, mut may_go: impl FnMut(usize) -> bool) -> Vec<usize> {
        let mut order: Vec<(f64, usize)> = self.open().collect();
        order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let mut goes = Vec::with_capacity(count);
        for (_, at) in order {
            match may_go(self.columns[at]) {
                true => goes.push(at),
                false => self.fates[at] = Fate::Stays,
            }
            if goes.len() == count {
                break;
            }
        }
        goes
    }

    /// The first of those.
    fn cheapest_one(&mut self, mut may_go: impl FnMut(usize) -> bool) -> Option<usize> {
        loop {
            let (_, at) = self.open().min_by(|a, b| a.0.total_cmp(&b.0))?;
            if may_go(self.columns[at]) {
                return Some(at);
            }
            self.fates[at] = Fate::Stays;
        }
    }

    /// The costs of the weights that may go, and where they are.
    fn open(&self) -> impl Iterator<Item = (f64, usize)> {
        (0..self.columns.len()).filter(|&at| self.fates[at] == Fate::Open).map(|at| (self.cost(at), at))
    }

    /// A whole row of the inverse.
    fn row(&self, at: usize) -> Vec<f64> {
        let all = self.columns.len();
        let to_the_left = &self.inverse[at * all..=at * (all + 1)];
        to_the_left.iter().copied().chain((at + 1..all).map(|below| self.inverse[below * all + at])).collect()
    }

    /// Lets a weight go; the others make up for it. Says whether the numbers still serve.
    fn remove_one(&mut self, at: usize) -> bool {
        let all = self.columns.len();
        let row = self.row(at);
        let (pivot, weight) = (row[at], self.weights[at]);
        if pivot.is_nan() || pivot <= 0.0 {
            return false;
        }
        for (other, lower) in self.inverse.chunks_exact_mut(all).enumerate() {
            let share = row[other] / pivot;
            if share != 0.0 {
                lower[..=other].iter_mut().zip(&row).for_each(|(entry, across)| *entry -= share * across);
                self.weights[other] -= share * weight;
            }
        }
        self.clear(at);
        self.left -= 1;
        if self.left < all - all / 8 {
            self.draw_together();
        }
        true
    }

    /// Makes exact zeros of what is zero but for rounding.
    fn clear(&mut self, at: usize) {
        let all = self.columns.len();
        self.fates[at] = Fate::Gone;
        self.weights[at] = 0.0;
        self.inverse[at * all..=at * (all + 1)].fill(0.0);
        (at + 1..all).for_each(|below| self.inverse[below * all + at] = 0.0);
    }

    /// Lets several go.
    fn remove(&mut self, mut goes: Vec<usize>) -> bool {
        goes.sort_unstable();
        let rows: Vec<Vec<f64>> = goes.iter().map(|&at| self.row(at)).collect();
        let block = Mat::from_fn(goes.len(), goes.len(), |i, j| rows[i][goes[j]]);
        let Ok(factor) = block.llt(Side::Lower) else { return false };
        // Rows that go, columns that stay.
        let across: Vec<f64> = rows.iter().flat_map(|row| without(row, &goes)).collect();
        let gone = Mat::from_fn(1, goes.len(), |_, i| self.weights[goes[i]]);
        goes.iter().for_each(|&at| self.fates[at] = Fate::Gone);
        self.left -= goes.len();
        self.draw_together();
        let across = MatRef::from_row_major_slice(&across, goes.len(), self.left);
        let shares = factor.solve(across);
        let inverse = MatMut::from_row_major_slice_mut(&mut self.inverse, self.left, self.left);
        let (lower, whole) = (BlockStructure::TriangularLower, BlockStructure::Rectangular);
        triangular::matmul(
            inverse,
            lower,
            Accum::Add,
            across.transpose(),
            whole,
            shares.as_ref(),
            whole,
            -1.0,
            Par::Seq,
        );
        let weights = MatMut::from_row_major_slice_mut(&mut self.weights, 1, self.left);
        matmul(weights, Accum::Add, gone.as_ref(), shares.as_ref(), -1.0, Par::Seq);
        true
    }

    /// Drops the places of what went.
    fn draw_together(&mut self) {
        let all = self.columns.len();
        let goes: Vec<usize> = (0..all).filter(|&at| self.fates[at] == Fate::Gone).collect();
        // Row by row to the front. Right of the diagonal nothing is read, so that nothing is moved there.
        let stays = (0..all).filter(|&at| self.fates[at] != Fate::Gone);
        for (row, at) in stays.enumerate() {
            let mut to = row * self.left;
            let mut start = at * all;
            let gone_before = goes.iter().take_while(|&&gone| gone < at).map(|gone| at * all + gone);
            for end in gone_before.chain([at * (all + 1) + 1]) {
                self.inverse.copy_within(start..end, to);
                to += end - start;
                start = end + 1;
            }
        }
        self.inverse.truncate(self.left * self.left);
        self.weights = without(&self.weights, &goes);
        self.columns = without(&self.columns, &goes);
        self.fates = without(&self.fates, &goes);
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
    fn costs_are_those_of_solving_anew_each_time() {
        let dim = 40;
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as f64 / f64::from(1 << 30) - 1.0
        };
        let mut factor = Mat::zeros(dim, 3 * dim);
        (0..dim).for_each(|i| (0..3 * dim).for_each(|j| factor[(i, j)] = random()));
        let hessian = &factor * factor.transpose() * faer::Scale(1.0 / dim as f64) + Mat::<f64>::identity(dim, dim);
        let sign = |i: usize| if i.is_multiple_of(2) { 1.0 } else { -1.0 };
        let weights: Vec<f64> = (0..dim).map(|i| sign(i) * ((i * 29 % 41) as f64 + 1.0) / 10.0).collect();
        let inverse_of = |left: &[usize]| {
            let part = Mat::from_fn(left.len(), left.len(), |i, j| hessian[(left[i], left[j])]);
            part.llt(Side::Lower).unwrap().solve(Mat::<f64>::identity(left.len(), left.len()))
        };
        let inverse = inverse_of(&Vec::from_iter(0..dim));
        let flat: Vec<f64> = (0..dim * dim).map(|at| inverse[(at / dim, at % dim)]).collect();
        let found = costs(&flat, &weights, None);
        // The last ones go one by one: from there on, what is left is known, and so is what it costs. Of equal costs, which are
        // raised to that of one before, the order is not.
        let mut order: Vec<usize> = (0..dim).collect();
        order.sort_by(|&a, &b| found[a].total_cmp(&found[b]));
        let cost = |at: usize| order.get(at).map_or(f64::INFINITY, |&column| found[column]);
        let is_alone = |at: &usize| cost(at - 1) < cost(*at) && cost(*at) < cost(at + 1);
        let known: Vec<usize> = (dim - dim / 3..dim).filter(is_alone).collect();
        assert!(known.len() >= 5, "{found:?}");
        for gone in known {
            let left: Vec<usize> = (0..dim).filter(|at| !order[..gone].contains(at)).collect();
            // Weights that make up for those that went: w_left + H_left^-1 H_left,gone w_gone.
            let moved = Mat::from_fn(left.len(), 1, |i, _| {
                order[..gone].iter().map(|&g| hessian[(left[i], g)] * weights[g]).sum::<f64>()
            });
            let inverse = inverse_of(&left);
            let refit = &inverse * &moved;
            let cheapest = (0..left.len())
                .map(|i| ((weights[left[i]] + refit[(i, 0)]).powi(2) / inverse[(i, i)], left[i]))
                .min_by(|a, b| a.0.total_cmp(&b.0))
                .unwrap();
            assert_eq!(cheapest.1, order[gone], "after {gone}");
            assert!((cost(gone) - cheapest.0).abs() <= 1e-8 * cheapest.0, "{} {}", cost(gone), cheapest.0);
        }
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
