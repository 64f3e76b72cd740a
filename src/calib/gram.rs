//! Sums of products of the numbers in rows.

use faer::linalg::matmul::matmul;
use faer::{Accum, MatMut, MatRef, Par};

/// Sums over rows `x` of `dim` numbers: of `x x^T` and of `x`.
#[derive(Debug, Clone, PartialEq)]
pub struct Gram {
    dim: usize,
    rows: u64,
    products: Vec<f64>,
    sums: Vec<f64>,
}

impl Gram {
    /// Sums over no rows.
    pub fn new(dim: usize) -> Self {
        Self { dim, rows: 0, products: vec![0.0; dim * dim], sums: vec![0.0; dim] }
    }

    /// Adds rows that lie one behind the other. Numbers that are not finite make the sums so.
    pub fn add(&mut self, rows: &[f64]) {
        if self.dim == 0 {
            return;
        }
        let count = rows.len() / self.dim;
        let rows = &rows[..count * self.dim];
        self.rows += count as u64;
        let matrix = MatRef::from_row_major_slice(rows, count, self.dim);
        let sums = MatMut::from_row_major_slice_mut(&mut self.products, self.dim, self.dim);
        matmul(sums, Accum::Add, matrix.transpose(), matrix, 1.0, Par::Seq);
        for row in rows.chunks_exact(self.dim) {
            self.sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += x);
        }
    }

    /// How many numbers a row has.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// How many rows were added.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// `E[x x^T]`, row by row; zeros where there were no rows.
    pub fn mean_products(&self) -> Vec<f64> {
        let scale = 1.0 / self.rows.max(1) as f64;
        self.products.iter().map(|sum| sum * scale).collect()
    }

    /// `E[x]`; zeros where there were no rows.
    pub fn means(&self) -> Vec<f64> {
        let scale = 1.0 / self.rows.max(1) as f64;
        self.sums.iter().map(|sum| sum * scale).collect()
    }

    /// Whether every sum is a finite number.
    pub fn is_finite(&self) -> bool {
        self.products.iter().chain(&self.sums).all(|sum| sum.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_are_those_of_the_definition() {
        let rows = [1.0, 2.0, -3.0, 0.5, 0.0, 4.0];
        let mut gram = Gram::new(3);
        gram.add(&rows[..3]);
        gram.add(&rows[3..]);
        let mut expected = [0.0; 9];
        for row in rows.chunks(3) {
            for (i, a) in row.iter().enumerate() {
                for (j, b) in row.iter().enumerate() {
                    expected[i * 3 + j] += a * b / 2.0;
                }
            }
        }
        assert_eq!(gram.mean_products(), expected);
        assert_eq!(gram.means(), [0.75, 1.0, 0.5]);
        assert_eq!((gram.dim(), gram.rows()), (3, 2));
        assert!(gram.is_finite());
        gram.add(&[f64::NAN, 0.0, 0.0]);
        assert!(!gram.is_finite());
    }
}
