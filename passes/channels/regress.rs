//! Least squares: the matrix that tells values from others, as near to a matrix given as the data allow.

/// Sums of products of values to tell, `count` of them, and values known, `known` of them.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    count: usize,
    known: usize,
    /// `known` by `known`: known with known.
    own: Vec<f64>,
    /// `count` by `known`: to tell with known.
    cross: Vec<f64>,
}

impl Moments {
    /// No samples yet.
    pub(super) fn new(count: usize, known: usize) -> Self {
        Self { count, known, own: vec![0.0; known * known], cross: vec![0.0; count * known] }
    }

    /// Adds samples: rows of values to tell and rows of values known, one row of all samples for each value.
    pub(super) fn add(&mut self, tell: &[Vec<f64>], known: &[Vec<f64>]) {
        // Of the symmetric sums only those up to the diagonal; the rest follows from them.
        for (place, (sums, values)) in self.own.chunks_mut(self.known.max(1)).zip(known).enumerate() {
            sums.iter_mut().zip(known).take(place + 1).for_each(|(sum, other)| *sum += dot(values, other));
        }
        for (sums, values) in self.cross.chunks_mut(self.known.max(1)).zip(tell) {
            sums.iter_mut().zip(known).for_each(|(sum, other)| *sum += dot(values, other));
        }
    }

    /// Adds the samples of another sum.
    pub(super) fn merge(mut self, other: &Self) -> Self {
        self.own.iter_mut().zip(&other.own).for_each(|(a, b)| *a += b);
        self.cross.iter_mut().zip(&other.cross).for_each(|(a, b)| *a += b);
        self
    }

    /// The matrix, `count` by `known`, whose product with the values known is nearest to those to tell. `damping`, of the
    /// mean square of a value, draws it towards `start`. `None` where the values known are all zero.
    pub(super) fn solve(&self, start: &[f64], damping: f64) -> Option<Vec<f64>> {
        let n = self.known;
        let mean = (0..n).filter_map(|i| self.own.get(i * n + i)).sum::<f64>() / n.max(1) as f64;
        if !(mean.is_finite() && mean > 0.0) {
            return None;
        }
        let mut own = self.own.clone();
        for i in 0..n {
            for j in 0..i {
                *own.get_mut(j * n + i)? = *self.own.get(i * n + j)?;
            }
        }
        let mut damped = own.clone();
        for i in 0..n {
            *damped.get_mut(i * n + i)? += damping * mean;
        }
        let factor = cholesky(damped, n)?;
        let mut result = Vec::with_capacity(self.cross.len());
        for (row, start) in self.cross.chunks(n.max(1)).zip(start.chunks(n.max(1))) {
            // What `start` leaves to tell.
            let mut rest = row.to_vec();
            for (value, sums) in start.iter().zip(own.chunks(n)) {
                if *value != 0.0 {
                    rest.iter_mut().zip(sums).for_each(|(rest, sum)| *rest -= value * sum);
                }
            }
            let change = substitute(&factor, n, rest)?;
            result.extend(start.iter().zip(change).map(|(start, change)| start + change));
        }
        Some(result).filter(|result| result.len() == self.count * n && result.iter().all(|v| v.is_finite()))
    }
}

/// The sum of products, in eight sums side by side: one after the other would take as long as eight.
fn dot(a: &[f64], b: &[f64]) -> f64 {
    let (a, a_rest) = a.as_chunks::<8>();
    let (b, b_rest) = b.as_chunks::<8>();
    let mut sums = [0f64; 8];
    for (a, b) in a.iter().zip(b) {
        sums.iter_mut().zip(a).zip(b).for_each(|((sum, a), b)| *sum += a * b);
    }
    sums.iter().sum::<f64>() + a_rest.iter().zip(b_rest).map(|(a, b)| a * b).sum::<f64>()
}

/// The lower factor of a positive definite matrix; `None` where it is none.
fn cholesky(mut matrix: Vec<f64>, n: usize) -> Option<Vec<f64>> {
    for i in 0..n {
        let (above, row) = matrix.split_at_mut_checked(i * n)?;
        for j in 0..i {
            let other = above.get(j * n..j * n + j + 1)?;
            let sum: f64 = row.iter().zip(other).take(j).map(|(a, b)| a * b).sum();
            let pivot = other.get(j)?;
            let value = row.get_mut(j)?;
            *value = (*value - sum) / pivot;
        }
        let sum: f64 = row.iter().take(i).map(|v| v * v).sum();
        let pivot = row.get_mut(i)?;
        let square = *pivot - sum;
        if square.is_nan() || square <= 0.0 {
            return None;
        }
        *pivot = square.sqrt();
    }
    Some(matrix)
}

/// Solves a system from the lower factor of its matrix.
fn substitute(factor: &[f64], n: usize, mut right: Vec<f64>) -> Option<Vec<f64>> {
    for i in 0..n {
        let row = factor.get(i * n..i * n + i + 1)?;
        let sum: f64 = row.iter().zip(&right).take(i).map(|(a, b)| a * b).sum();
        let value = right.get_mut(i)?;
        *value = (*value - sum) / row.get(i)?;
    }
    for i in (0..n).rev() {
        let row = factor.get(i * n..i * n + i + 1)?;
        let value = *right.get(i)? / row.get(i)?;
        *right.get_mut(i)? = value;
        for (place, weight) in row.iter().enumerate().take(i) {
            *right.get_mut(place)? -= value * weight;
        }
    }
    Some(right)
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
        let known = [vec![1.0, 0.0, 2.0, 1.0], vec![0.0, 1.0, 1.0, 3.0]];
        let tell = [vec![2.0, -1.0, 3.0, -1.0]];
        let mut moments = Moments::new(1, 2);
        moments.add(&tell, &known);
        close(&moments.solve(&[0.0, 0.0], 0.0).unwrap(), &[2.0, -1.0]);
        let twice = moments.clone().merge(&moments);
        close(&twice.solve(&[0.0, 0.0], 0.0).unwrap(), &[2.0, -1.0]);
    }

    #[test]
    fn damping_draws_towards_the_start() {
        let mut moments = Moments::new(1, 1);
        moments.add(&[vec![1.0]], &[vec![1.0]]);
        close(&moments.solve(&[0.0], 1.0).unwrap(), &[0.5]);
        close(&moments.solve(&[3.0], 1.0).unwrap(), &[2.0]);
    }

    #[test]
    fn says_so_where_nothing_is_known() {
        assert!(Moments::new(1, 2).solve(&[0.0, 0.0], 0.1).is_none());
    }

    #[test]
    fn factors_a_matrix() {
        // [4 2; 2 5] = L L^T with L = [2 0; 1 2].
        let factor = cholesky(vec![4.0, 2.0, 2.0, 5.0], 2).unwrap();
        close(&[factor[0], factor[2], factor[3]], &[2.0, 1.0, 2.0]);
        close(&substitute(&factor, 2, vec![8.0, 14.0]).unwrap(), &[0.75, 2.5]);
        assert!(cholesky(vec![1.0, 2.0, 2.0, 1.0], 2).is_none());
    }
}
