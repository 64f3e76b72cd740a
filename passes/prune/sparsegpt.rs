//! SparseGPT: weights go column after column, and the columns to come make up for them.
//!
//! Frantar and Alistarh, "SparseGPT: Massive Language Models Can Be Accurately Pruned in One-Shot", 2023, algorithm 1: what
//! goes is chosen for blocks of columns by `w^2 / U_jj^2`, with `U` the upper factor of the inverse moments,
//! `H^-1 = U^T U`.

use faer::linalg::matmul::matmul;
use faer::linalg::triangular_inverse::invert_lower_triangular;
use faer::{Accum, Mat, MatMut, MatRef, Par, Side};
use rayon::prelude::*;

use super::pattern::{Columns, smallest};

/// Columns for which what goes is chosen together, the paper's.
const BLOCK: usize = 128;

/// The upper factor of the inverse of moments, row by row, with columns in another order.
pub(super) fn factor(moments: MatRef<'_, f64>, order: &[usize]) -> Option<Vec<f64>> {
    // With J the reversal, J H J = L L^T gives U = J L^-1 J.
    let dim = order.len();
    let last = dim.checked_sub(1)?;
    let reversed = Mat::from_fn(dim, dim, |i, j| moments[(order[last - i], order[last - j])]);
    let lower = reversed.llt(Side::Lower).ok()?;
    let mut inverse = Mat::zeros(dim, dim);
    invert_lower_triangular(inverse.as_mut(), lower.L(), Par::Seq);
    let mut factor = vec![0.0; dim * dim];
    for i in 0..dim {
        (i..dim).for_each(|j| factor[i * dim + j] = inverse[(last - i, last - j)]);
    }
    let is_sound = factor.iter().all(|v| v.is_finite()) && (0..dim).all(|i| factor[i * dim + i] > 0.0);
    is_sound.then_some(factor)
}

/// What is to go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'c> {
    /// The share of all weights, where columns are free or in tiles.
    pub(super) share: f64,
    pub(super) columns: &'c Columns,
}

/// Prunes rows; what is zero in them goes first. Gives back which weights stay, and leaves the others made up for.
pub(super) fn prune(rows: &mut [f64], moments: MatRef<'_, f64>, wanted: Wanted<'_>) -> Option<Vec<bool>> {
    let dim = moments.nrows();
    let order = wanted.columns.order(dim);
    let factor = factor(moments, &order)?;
    prune_by(rows, &factor, &order, wanted)
}

/// The same with a [`factor`] that is known, for columns in this order.
pub(super) fn prune_by(rows: &mut [f64], factor: &[f64], order: &[usize], wanted: Wanted<'_>) -> Option<Vec<bool>> {
    let dim = order.len();
    let count = rows.len() / dim.max(1);
    let upper = MatRef::from_row_major_slice(factor, dim, dim);
    let mut left: Vec<f64> = rows.chunks(dim).flat_map(|row| order.iter().map(|&k| row[k])).collect();
    let mut goes = vec![false; left.len()];
    let mut gone = 0;
    for (start, end) in blocks(wanted.columns, order) {
        let width = end - start;
        if !wanted.columns.is_of() {
            // Exactly the share of all columns up to here.
            let due = ((count * end) as f64 * (wanted.share + f64::EPSILON)) as usize;
            let costs: Vec<f64> =
                (left.chunks(dim)).flat_map(|row| (start..end).map(|j| cost(row[j], factor[j * dim + j]))).collect();
            let chosen = smallest(&costs, &wanted.columns.tiles(&order[start..end], count), due.saturating_sub(gone));
            for (row, chosen) in goes.chunks_mut(dim).zip(chosen.chunks(width)) {
                row[start..end].copy_from_slice(chosen);
                gone += chosen.iter().filter(|&&goes| goes).count();
            }
        }
        let mut errors = vec![0.0; count * width];
        (left.par_chunks_mut(dim)).zip(goes.par_chunks_mut(dim)).zip(errors.par_chunks_mut(width)).for_each(
            |((row, goes), errors)| {
                for j in start..end {
                    let diagonal = &factor[j * dim..(j + 1) * dim];
                    if let Some((group, kept)) = wanted.columns.group_at(order, j) {
                        let costs: Vec<f64> = group.clone().map(|k| cost(row[k], factor[k * dim + k])).collect();
                        let most = group.len().saturating_sub(kept);
                        goes[group].copy_from_slice(&smallest(&costs, &[], most));
                    }
                    if goes[j] {
                        let error = row[j] / diagonal[j];
                        errors[j - start] = error;
                        row[j] = 0.0;
                        let rest = row[j + 1..end].iter_mut().zip(&diagonal[j + 1..end]);
                        rest.for_each(|(weight, share)| *weight -= error * share);
                    }
                }
            },
        );
        let errors = MatRef::from_row_major_slice(&errors, count, width);
        let mut rest = MatMut::from_row_major_slice_mut(&mut left, count, dim);
        let share = upper.subrows(start, width).subcols(end, dim - end);
        matmul(rest.as_mut().subcols_mut(end, dim - end), Accum::Add, errors, share, -1.0, Par::Seq);
    }
    let mut stays = vec![true; rows.len()];
    for (row, place) in (0..count).flat_map(|row| (0..dim).map(move |place| (row, place))) {
        rows[row * dim + order[place]] = left[row * dim + place];
        stays[row * dim + order[place]] = !goes[row * dim + place];
    }
    rows.iter().all(|weight| weight.is_finite()).then_some(stays)
}

fn cost(weight: f64, diagonal: f64) -> f64 {
    (weight / diagonal).powi(2)
}

/// Stretches of about [`BLOCK`] columns that divide no group.
fn blocks(columns: &Columns, order: &[usize]) -> Vec<(usize, usize)> {
    let mut blocks = Vec::new();
    let mut start = 0;
    for end in 1..=order.len() {
        let may_end = end == order.len() || columns.group(order[end]) != columns.group(order[end - 1]);
        if may_end && (end - start >= BLOCK || end == order.len()) {
            blocks.push((start, end));
            start = end;
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_makes_up_for_what_goes() {
        // Two inputs that are almost the same.
        let moments = Mat::from_fn(2, 2, |i, j| if i == j { 1.01 } else { 1.0 });
        let mut rows = [0.5, 2.0];
        let wanted = Wanted { share: 0.5, columns: &Columns::free(2) };
        let stays = prune(&mut rows, moments.as_ref(), wanted).unwrap();
        assert_eq!(stays, [false, true]);
        assert!(rows[0] == 0.0 && (rows[1] - 2.495).abs() < 1e-3, "{rows:?}");
    }

    #[test]
    fn the_share_is_exact_over_all_blocks() {
        let dim = 300;
        let moments = Mat::from_fn(dim, dim, |i, j| if i == j { 1.0 + i as f64 } else { 0.1 });
        let mut rows: Vec<f64> = (0..7 * dim).map(|i| ((i * 7919) % 613) as f64 - 300.5).collect();
        let wanted = Wanted { share: 0.29, columns: &Columns::free(dim) };
        let stays = prune(&mut rows, moments.as_ref(), wanted).unwrap();
        assert_eq!(stays.iter().filter(|&&stays| !stays).count(), 7 * dim * 29 / 100);
    }

    #[test]
    fn each_group_keeps_its_number() {
        let moments = Mat::from_fn(6, 6, |i, j| if i == j { 2.0 } else { 0.5 });
        let mut rows = [1.0, -2.0, 3.0, 4.0, 9.0, 8.0];
        // Groups of three that lie apart: columns 0, 2, 4 and 1, 3, 5.
        let columns = Columns::of(vec![0, 1, 0, 1, 0, 1], 1);
        let stays = prune(&mut rows, moments.as_ref(), Wanted { share: 0.0, columns: &columns }).unwrap();
        assert_eq!(stays, [false, false, false, false, true, true]);
        assert_eq!(rows[..4], [0.0; 4]);
    }
}
