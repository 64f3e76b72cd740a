//! Least squares: the matrix that tells values from others, as near to a matrix given as the data allow.

use faer::linalg::matmul::matmul;
use faer::linalg::matmul::triangular::{self, BlockStructure};
use faer::linalg::solvers::Solve as _;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};

/// Rows that are held back, so that products are of large matrices.
const HELD_ROWS: usize = 512;

/// Sums of products of values to tell, `count` of them, and values known, `known` of them.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    count: usize,
    known: usize,
    rows: usize,
    /// `known` by `known`, row by row: known with known, up to the diagonal.
    own: Vec<f64>,
    /// `count` by `known`, row by row: to tell with known.
    cross: Vec<f64>,
    held_tell: Vec<f64>,
    held_known: Vec<f64>,
}

impl Moments {
    /// No samples yet.
    pub(super) fn new(count: usize, known: usize) -> Self {
        Self {
            count,
            known,
            rows: 0,
            own: vec![0.0; known * known],
            cross: vec![0.0; count * known],
            held_tell: Vec::new(),
            held_known: Vec::new(),
        }
    }

    /// How many rows were added.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// Adds rows that lie one behind the other: of values to tell, and as many of values known. Rows that do not fit, or
    /// hold anything but numbers, are left out.
    pub(super) fn add(&mut self, tell: &[f64], known: &[f64]) {
        let count = known.len() / self.known.max(1);
        let fits = known.len() == count * self.known && tell.len() == count * self.count;
        if !fits || !known.iter().chain(tell).all(|v| v.is_finite()) {
            return;
        }
        self.rows += count;
        self.held_known.extend_from_slice(known);
        self.held_tell.extend_from_slice(tell);
        if self.held_known.len() >= HELD_ROWS * self.known {
            self.settle();
        }
    }

    /// Adds the samples of another sum.
    pub(super) fn merge(&mut self, mut other: Self) {
        self.settle();
        other.settle();
        self.own.iter_mut().zip(&other.own).for_each(|(a, b)| *a += b);
        self.cross.iter_mut().zip(&other.cross).for_each(|(a, b)| *a += b);
        self.rows += other.rows;
    }

    /// Adds what is held back.
    fn settle(&mut self) {
        let (n, rows) = (self.known, self.held_known.len().checked_div(self.known).unwrap_or(0));
        if rows == 0 {
            return;
        }
        let known = MatRef::from_row_major_slice(&self.held_known, rows, n);
        let own = MatMut::from_row_major_slice_mut(&mut self.own, n, n);
        // Of the symmetric sums only those up to the diagonal; the rest follows from them.
        let whole = BlockStructure::Rectangular;
        let lower = BlockStructure::TriangularLower;
        triangular::matmul(own, lower, Accum::Add, known.transpose(), whole, known, whole, 1.0, Par::Seq);
        if self.count > 0 {
            let tell = MatRef::from_row_major_slice(&self.held_tell, rows, self.count);
            let cross = MatMut::from_row_major_slice_mut(&mut self.cross, self.count, n);
            matmul(cross, Accum::Add, tell.transpose(), known, 1.0, Par::Seq);
        }
        self.held_known.clear();
        self.held_tell.clear();
    }

    /// The mean products of the values known, `known` by `known`, row by row.
    pub(super) fn mean_products(&mut self) -> Vec<f64> {
        self.settle();
        let (n, scale) = (self.known, 1.0 / self.rows.max(1) as f64);
        let mut products = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let value = self.own[i * n + j] * scale;
                products[i * n + j] = value;
                products[j * n + i] = value;
            }
        }
        products
    }

    /// The matrix, `count` by `known`, whose product with the values known is nearest to those to tell. `damping`, of the
    /// square of each value, draws it towards `start`. `None` where the values known are all zero.
    pub(super) fn solve(&mut self, start: &[f64], damping: f64) -> Option<Vec<f64>> {
        let (n, count) = (self.known, self.count);
        let own = self.mean_products();
        let mean = (0..n).map(|i| own[i * n + i]).sum::<f64>() / n.max(1) as f64;
        if !(mean.is_finite() && mean > 0.0) || start.len() != count * n {
            return None;
        }
        let own = MatRef::from_row_major_slice(&own, n, n);
        let start_matrix = MatRef::from_row_major_slice(start, count, n);
        // What `start` leaves to tell, a column for each value.
        let scale = 1.0 / self.rows.max(1) as f64;
        let mut rest = Mat::from_fn(n, count, |i, j| self.cross[j * n + i] * scale);
        matmul(rest.as_mut(), Accum::Add, own, start_matrix.transpose(), -1.0, Par::Seq);
        // A value that hardly occurs is held by the mean of all as well, which keeps the factor sound.
        let held = |i: usize| damping * own[(i, i)] + 1e-3 * damping * mean;
        let damped = Mat::from_fn(n, n, |i, j| own[(i, j)] + if i == j { held(i) } else { 0.0 });
        let change = damped.llt(Side::Lower).ok()?.solve(&rest);
        let result: Vec<f64> =
            start.iter().enumerate().map(|(place, start)| start + change[(place % n, place / n)]).collect();
        result.iter().all(|v| v.is_finite()).then_some(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: &[f64], expected: &[f64]) {
        assert_eq!(found.len(), expected.len());
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-9), "{found:?}");
    }

    #[test]
    fn finds_what_is_a_sum_of_others() {
        // z = 2 x - y, over four samples.
        let (known, tell) = ([1.0, 0.0, 0.0, 1.0, 2.0, 1.0, 1.0, 3.0], [2.0, -1.0, 3.0, -1.0]);
        let mut moments = Moments::new(1, 2);
        moments.add(&tell, &known);
        close(&moments.clone().solve(&[0.0, 0.0], 0.0).unwrap(), &[2.0, -1.0]);
        let other = moments.clone();
        moments.merge(other);
        assert_eq!(moments.rows(), 8);
        close(&moments.solve(&[0.0, 0.0], 0.0).unwrap(), &[2.0, -1.0]);
        close(&moments.mean_products(), &[1.5, 1.25, 1.25, 2.75]);
    }

    #[test]
    fn damping_draws_towards_the_start() {
        let mut moments = Moments::new(1, 1);
        moments.add(&[1.0], &[1.0]);
        let at = |moments: &mut Moments, start: f64| moments.solve(&[start], 1.0).unwrap()[0];
        assert!((at(&mut moments, 0.0) - 0.5).abs() < 1e-3);
        assert!((at(&mut moments, 3.0) - 2.0).abs() < 2e-3);
    }

    #[test]
    fn says_so_where_nothing_is_known() {
        let mut moments = Moments::new(1, 2);
        moments.add(&[f64::NAN], &[1.0, 1.0]);
        assert_eq!(moments.rows(), 0);
        assert!(moments.solve(&[0.0; 2], 0.1).is_none());
    }
}
