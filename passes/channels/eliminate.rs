//! Which columns of weights go first: those whose loss the columns that are left make up for best.
//!
//! Hassibi and Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon", with whole groups of
//! columns in place of single weights: with `H = E[x x^T]`, taking the columns `S` out of `W` and moving the rest in the
//! best way adds `tr(W_S (H^-1)_SS^-1 W_S^T)` to the square of the error.

use faer::linalg::solvers::DenseSolveCore as _;
use faer::{Mat, Side};

/// Of more classes than this, several go between two looks at what is left.
const ONE_BY_ONE: usize = 128;

/// Then, this part of what is left goes.
const STEP: usize = 32;

/// A layer that loses columns.
#[derive(Debug)]
pub(super) struct Eliminator {
    depth: usize,
    /// `H^-1` of the columns that are left, row by row; zeros elsewhere.
    inverse: Vec<f64>,
    /// The weights of each output, row by row.
    weights: Vec<f64>,
    /// The square of what the layer gives.
    energy: f64,
    /// The columns of each class.
    blocks: Vec<Vec<usize>>,
}

impl Eliminator {
    /// A layer from the moments of what it reads, `depth` by `depth`, its weights, as many for each output, and the columns
    /// of each class; `energy` is what losses are measured by. `damping` is a share of the mean of the diagonal. `None`
    /// where the moments cannot be inverted.
    pub(super) fn new(
        moments: &[f64],
        weights: Vec<f64>,
        energy: f64,
        blocks: Vec<Vec<usize>>,
        damping: f64,
    ) -> Option<Self> {
        let depth = moments.len().isqrt();
        let mean = (0..depth).map(|i| moments[i * depth + i]).sum::<f64>() / depth.max(1) as f64;
        if !(mean.is_finite() && mean > 0.0 && energy.is_finite() && energy > 0.0) {
            return None;
        }
        let held = |i, j| if i == j { damping * mean } else { 0.0 };
        let damped = Mat::from_fn(depth, depth, |i, j| moments[i * depth + j] + held(i, j));
        let inverse = damped.llt(Side::Lower).ok()?.inverse();
        let inverse: Vec<f64> = (0..depth * depth).map(|at| inverse[(at / depth, at % depth)]).collect();
        inverse.iter().all(|v| v.is_finite()).then_some(Self { depth, inverse, weights, energy, blocks })
    }

    /// What the best correction leaves of the loss of a class, as a part of what the layer gives.
    fn loss(&self, class: usize) -> f64 {
        let Some(block) = self.blocks.get(class).filter(|block| !block.is_empty()) else { return 0.0 };
        let Some(factor) = self.factor(block) else { return 0.0 };
        let mut sum = 0.0;
        let mut z = vec![0.0; block.len()];
        for row in self.weights.chunks(self.depth) {
            for (i, &column) in block.iter().enumerate() {
                let known: f64 = factor[i * block.len()..][..i].iter().zip(&z).map(|(l, z)| l * z).sum();
                z[i] = (row[column] - known) / factor[i * block.len() + i];
                sum += z[i] * z[i];
            }
        }
        sum / self.energy
    }

    /// The lower Cholesky factor of the inverse at a block.
    fn factor(&self, block: &[usize]) -> Option<Vec<f64>> {
        let n = block.len();
        let mut factor = vec![0.0; n * n];
        for i in 0..n {
            for j in 0..=i {
                let known: f64 = (0..j).map(|k| factor[i * n + k] * factor[j * n + k]).sum();
                let rest = self.inverse[block[i] * self.depth + block[j]] - known;
                factor[i * n + j] = match i == j {
                    true if rest > 0.0 => rest.sqrt(),
                    true => return None,
                    false => rest / factor[j * n + j],
                };
            }
        }
        Some(factor)
    }

    /// Takes a class out and moves the rest.
    fn remove(&mut self, class: usize) {
        let block = self.blocks.get_mut(class).map(std::mem::take).unwrap_or_default();
        let depth = self.depth;
        // One column after the other is the same as all at once.
        for &column in &block {
            let row: Vec<f64> = self.inverse[column * depth..][..depth].to_vec();
            let pivot = row[column];
            if pivot.is_nan() || pivot <= 0.0 {
                continue;
            }
            for (i, &factor) in row.iter().enumerate().filter(|(_, factor)| **factor != 0.0) {
                let share = factor / pivot;
                self.inverse[i * depth..][..depth].iter_mut().zip(&row).for_each(|(value, r)| *value -= share * r);
            }
            for weights in self.weights.chunks_mut(depth) {
                let share = weights[column] / pivot;
                if share != 0.0 {
                    weights.iter_mut().zip(&row).for_each(|(weight, r)| *weight -= share * r);
                }
                weights[column] = 0.0;
            }
            for i in 0..depth {
                self.inverse[i * depth + column] = 0.0;
                self.inverse[column * depth + i] = 0.0;
            }
        }
    }
}

/// The order in which so many classes go, and what each adds to the losses of all layers when it does; never less than one
/// that went before.
pub(super) fn order(layers: &mut [Eliminator], classes: usize) -> Vec<(usize, f64)> {
    let mut left: Vec<usize> = (0..classes).collect();
    let mut order = Vec::with_capacity(classes);
    let mut most = 0.0f64;
    while !left.is_empty() {
        let loss = |class: usize| layers.iter().map(|layer| layer.loss(class)).sum::<f64>();
        let mut losses: Vec<(f64, usize)> = left.iter().map(|&class| (loss(class), class)).collect();
        losses.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        let step = if left.len() > ONE_BY_ONE { left.len() / STEP } else { 1 };
        for &(_, class) in losses.iter().take(step) {
            most = most.max(layers.iter().map(|layer| layer.loss(class)).sum());
            layers.iter_mut().for_each(|layer| layer.remove(class));
            order.push((class, most));
        }
        left.retain(|class| !losses.iter().take(step).any(|(_, gone)| gone == class));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_tell_goes_first() {
        // Columns 0 and 1 read nearly the same, column 2 reads little but alone.
        let moments = [1.0, 0.99, 0.0, 0.99, 1.0, 0.0, 0.0, 0.0, 0.5];
        let blocks = vec![vec![0], vec![1], vec![2]];
        let mut layers = [Eliminator::new(&moments, vec![2.0, 2.5, 1.0], 10.0, blocks, 0.0).unwrap()];
        // (H^-1)_00 = 1 / (1 - 0.99^2): losing column 0 costs 4 * 0.0199, what is left of column 2 costs 0.5.
        assert!((layers[0].loss(0) - 4.0 * 0.0199 / 10.0).abs() < 1e-9);
        assert!((layers[0].loss(2) - 0.05).abs() < 1e-9);
        let found = order(&mut layers, 3);
        assert_eq!(found.iter().map(|(class, _)| *class).collect::<Vec<_>>(), [0, 2, 1]);
        // With column 0 gone, column 1 does its work as well: 2.5 + 2 * 0.99.
        assert!((found[2].1 - 4.48f64.powi(2) / 10.0).abs() < 1e-9, "{found:?}");
    }

    #[test]
    fn a_block_costs_what_its_columns_cost_together() {
        let moments = [2.0, 0.5, 0.3, 0.5, 1.0, 0.2, 0.3, 0.2, 1.5];
        let layer =
            |blocks: Vec<Vec<usize>>| Eliminator::new(&moments, vec![1.0, -2.0, 0.5], 1.0, blocks, 0.0).unwrap();
        let whole = layer(vec![vec![0, 1]]).loss(0);
        let mut single = layer(vec![vec![0], vec![1]]);
        let first = single.loss(0);
        single.remove(0);
        assert!((first + single.loss(1) - whole).abs() < 1e-9);
    }
}
