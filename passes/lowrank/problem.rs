//! What a layer is to give, and matrices of lower rank that give nearly that.
//!
//! A layer gives `W x`. With `H = E[x x^T] = L L^T`, the matrix of rank `r` whose outputs are closest to that is
//! `P P^T W`, where `P` holds the first `r` left singular vectors of `W L` (data-whitened SVD; SVD-LLM, Wang et al. 2024,
//! has the same optimum). Nothing is inverted: `P` is one factor and `P^T W` the other. Without data, `H` is the identity
//! and this is the plain SVD.
//!
//! A convolution is first split: each of its taps reads the same few mixtures of inputs. They span the leading singular
//! vectors of the weights of all taps together; what then multiplies them is fitted by least squares.

use faer::linalg::solvers::Solve;
use faer::{Mat, MatRef, Side};

/// Squares of singular values below this share of the largest are noise of the arithmetic.
const LEAST_SQUARE: f64 = 1e-13;

/// Rows of weights, and the second moments of what they multiply.
#[derive(Debug, Clone)]
pub(super) struct Problem {
    rows: Mat<f64>,
    /// Positive definite; `None` for the identity.
    moments: Option<Mat<f64>>,
}

/// Directions, those that matter most first.
#[derive(Debug, Clone)]
pub(super) struct Basis {
    /// A direction a column.
    directions: Mat<f64>,
    /// What each carries of the sum of squares of the outputs.
    squares: Vec<f64>,
}

impl Basis {
    /// What is lost of the outputs, as a share, with so many directions left; from none to all.
    pub(super) fn losses(&self) -> Vec<f64> {
        let total = self.squares.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        let mut losses = vec![0.0];
        for square in self.squares.iter().rev() {
            losses.push(losses.last().copied().unwrap_or(0.0) + square);
        }
        losses.reverse();
        losses.into_iter().map(|loss| loss / total).collect()
    }

    /// What so many directions carry of the squares.
    pub(super) fn kept(&self, count: usize) -> f64 {
        self.squares.iter().take(count).sum()
    }

    /// How many directions carry anything.
    pub(super) fn len(&self) -> usize {
        let first = self.squares.first().copied().unwrap_or(0.0);
        self.squares.iter().take_while(|&&square| square > LEAST_SQUARE * first).count()
    }

    fn of_product(self) -> Self {
        Self { squares: self.squares.into_iter().map(f64::sqrt).collect(), ..self }
    }

    fn first(&self, count: usize) -> MatRef<'_, f64> {
        self.directions.subcols(0, count.min(self.directions.ncols()))
    }
}

impl Problem {
    /// Rows one behind the other, of `depth` weights each, with moments of as many numbers down and across. `order` says
    /// which weight comes in which place.
    pub(super) fn new(rows: &[f64], moments: Option<&[f64]>, depth: usize, order: &[usize]) -> Self {
        let count = rows.len() / depth.max(1);
        let rows = Mat::from_fn(count, order.len(), |row, place| rows[row * depth + order[place]]);
        let moments =
            moments.map(|moments| Mat::from_fn(order.len(), order.len(), |i, j| moments[order[i] * depth + order[j]]));
        Self { rows, moments }
    }

    /// The mean of the sum of squares of the outputs.
    pub(super) fn energy(&self) -> f64 {
        match &self.moments {
            Some(moments) => inner(self.rows.as_ref(), (&self.rows * moments).as_ref()),
            None => inner(self.rows.as_ref(), self.rows.as_ref()),
        }
    }

    pub(super) fn rows(&self) -> MatRef<'_, f64> {
        self.rows.as_ref()
    }

    /// The directions that outputs vary in; `None` where they cannot be found.
    pub(super) fn outputs(&self) -> Option<Basis> {
        match &self.moments {
            Some(moments) => left(&self.rows * moments.llt(Side::Lower).ok()?.L()),
            None => left(self.rows.clone()),
        }
    }

    /// Two factors of the rows, through the first directions of their outputs.
    pub(super) fn factors(&self, basis: &Basis, rank: usize) -> (Mat<f64>, Mat<f64>) {
        let directions = basis.first(rank);
        (directions.to_owned(), directions.transpose() * &self.rows)
    }

    /// The mixtures of inputs that matter most to all of so many taps, which read one behind the other; `None` where they
    /// cannot be found.
    pub(super) fn inputs(&self, taps: usize) -> Option<Basis> {
        let width = self.rows.ncols() / taps.max(1);
        let mut own = Mat::<f64>::zeros(width, width);
        let mut moments = Mat::<f64>::zeros(width, width);
        for tap in 0..taps {
            let rows = self.rows.subcols(tap * width, width);
            own += rows.transpose() * rows;
            if let Some(all) = &self.moments {
                moments += all.submatrix(tap * width, tap * width, width, width);
            }
        }
        if self.moments.is_none() {
            // Of a product with itself, singular values are squares already.
            return left(own).map(Basis::of_product);
        }
        let factor = moments.llt(Side::Lower).ok()?;
        let through = factor.L().transpose() * &own;
        let found = left(&through * factor.L()).map(Basis::of_product)?;
        // The rows that project, up to their lengths: `S^2 Q^T L^-1`, without the inverse.
        let mut directions = through.transpose() * &found.directions;
        for column in directions.col_iter_mut() {
            let length = column.norm_l2();
            column.iter_mut().for_each(|number| *number /= length.max(f64::MIN_POSITIVE));
        }
        Some(Basis { directions, ..found })
    }

    /// The same outputs from the first mixtures of inputs, as well as can be; `None` where that cannot be found. With it the
    /// rows that mix.
    pub(super) fn mixed(&self, basis: &Basis, rank: usize, taps: usize) -> Option<(Mat<f64>, Self)> {
        let width = self.rows.ncols() / taps.max(1);
        let mixing = basis.first(rank).to_owned();
        let rank = mixing.ncols();
        let mix = |all: MatRef<'_, f64>| {
            let mut mixed = Mat::<f64>::zeros(all.nrows(), taps * rank);
            for tap in 0..taps {
                mixed.subcols_mut(tap * rank, rank).copy_from(all.subcols(tap * width, width) * &mixing);
            }
            mixed
        };
        let Some(all) = &self.moments else {
            return Some((mixing.transpose().to_owned(), Self { rows: mix(self.rows.as_ref()), moments: None }));
        };
        let goals = mix((&self.rows * all).as_ref());
        let moments = mix(mix(all.as_ref()).transpose());
        let solved = moments.llt(Side::Lower).ok()?.solve(goals.transpose());
        let rows = solved.transpose().to_owned();
        Some((mixing.transpose().to_owned(), Self { rows, moments: Some(moments) }))
    }
}

/// The left singular vectors of a matrix, with the largest number of each positive: either sign would do, and only one may.
/// `None` where they cannot be found.
fn left(matrix: Mat<f64>) -> Option<Basis> {
    let svd = matrix.thin_svd().ok()?;
    let squares: Vec<f64> = svd.S().column_vector().iter().map(|value| value * value).collect();
    let mut directions = svd.U().to_owned();
    for column in directions.col_iter_mut() {
        let largest = column.as_ref().iter().copied().reduce(|a, b| if b.abs() > a.abs() { b } else { a });
        if largest.is_some_and(|largest| largest < 0.0) {
            column.iter_mut().for_each(|number| *number = -*number);
        }
    }
    squares.iter().all(|square| square.is_finite()).then_some(Basis { directions, squares })
}

/// The sum of products of the elements.
fn inner(a: MatRef<'_, f64>, b: MatRef<'_, f64>) -> f64 {
    a.col_iter().zip(b.col_iter()).map(|(a, b)| a.iter().zip(b.iter()).map(|(a, b)| a * b).sum::<f64>()).sum()
}
