//! Factors of the weights of one layer, in any form.

use faer::{Mat, MatRef};

use super::form::{Form, Geometry, Split};
use super::problem::{Basis, Problem};
use crate::calib::{Gram, PairGram};
use crate::passes::common::least_squares::Equations;

/// What the outputs of a layer are to be, and the directions that they and its inputs vary in.
pub(super) struct Solver<'g> {
    geometry: &'g Geometry,
    equations: Option<Equations>,
    whole: Problem,
    /// Of the rows as they are.
    outputs: Option<Basis>,
    splits: Vec<(Split, Problem, Basis)>,
}

/// Factors of a layer.
pub(super) struct Factors {
    /// In the order in which they multiply; each a row for each number that it gives. Behind a split, the weights of a tap
    /// lie together.
    pub(super) parts: Vec<Mat<f64>>,
    /// What is lost of the squares of the outputs, as a share; without data, of the weights.
    pub(super) loss: f64,
    /// What the outputs are short of in the mean; `None` where no bias is to make up for it.
    pub(super) shifts: Option<Vec<f64>>,
}

/// What a layer is fitted to.
#[derive(Debug, Clone, Copy)]
pub(super) enum Goal<'m> {
    /// Its weights.
    Weights,
    /// What it gives.
    Outputs(&'m Gram),
    /// What it gave in the original, from what it reads in a copy.
    Original(&'m PairGram),
}

/// What is lost with each rank, as shares, from 0 on.
pub(super) struct Losses {
    pub(super) outputs: Vec<f64>,
    pub(super) splits: Vec<(Split, Vec<f64>)>,
}

impl<'g> Solver<'g> {
    /// For rows of weights, one behind the other; `None` where moments do not serve. `is_centred` says that a bias takes in
    /// the means, and `needs` which splits factors will be asked for.
    pub(super) fn new(
        geometry: &'g Geometry,
        rows: &[f32],
        goal: Goal<'_>,
        is_centred: bool,
        needs: impl Fn(Option<Split>) -> bool,
    ) -> Option<Self> {
        let (depth, rows) = (geometry.depth(), rows.iter().copied().map(f64::from).collect::<Vec<f64>>());
        let fits = |dim: usize| (dim == depth).then_some(());
        let (equations, rows) = match goal {
            Goal::Weights => (None, rows),
            Goal::Outputs(gram) => {
                fits(gram.dim())?;
                (Some(Equations::plain(gram, &rows, is_centred)?), rows)
            }
            Goal::Original(pair) => {
                fits(pair.copy().dim())?;
                let equations = Equations::corrected(pair, &rows, is_centred)?;
                let best = equations.solve(&vec![true; rows.len()], &rows)?;
                (Some(equations), best)
            }
        };
        let moments = equations.as_ref().map(|equations| equations.own.as_slice());
        let order: Vec<usize> = (0..depth).collect();
        let whole = Problem::new(&rows, moments, depth, &order);
        let outputs = match needs(None) {
            true => Some(whole.outputs()?),
            false => None,
        };
        let mut splits = Vec::new();
        for split in [Split::Channels, Split::Columns] {
            if geometry.has(split) && needs(Some(split)) {
                let problem = Problem::new(&rows, moments, depth, &geometry.order(split));
                let basis = problem.inputs(geometry.taps_behind(split))?;
                splits.push((split, problem, basis));
            }
        }
        Some(Self { geometry, equations: equations.filter(|_| is_centred), whole, outputs, splits })
    }

    /// What is lost with each rank alone.
    pub(super) fn losses(&self) -> Losses {
        // Directions that carry nothing are none, and losing them is no loss.
        let effective = |basis: &Basis| {
            let mut losses = basis.losses();
            losses.truncate(basis.len());
            losses.push(0.0);
            losses
        };
        Losses {
            outputs: self.outputs.as_ref().map(effective).unwrap_or_default(),
            splits: self.splits.iter().map(|(split, _, basis)| (*split, effective(basis))).collect(),
        }
    }

    /// Factors of a form; `None` where they cannot be found.
    pub(super) fn factors(&self, form: Form) -> Option<Factors> {
        let energy = self.whole.energy();
        let (parts, combined, kept) = match form.inputs {
            None => {
                let (basis, rank) = (self.outputs.as_ref()?, form.outputs?);
                let (last, core) = self.whole.factors(basis, rank);
                (vec![core.clone(), last.clone()], last * core, basis.kept(rank))
            }
            Some((split, rank)) => {
                let taps = self.geometry.taps_behind(split);
                let (_, problem, basis) = self.splits.iter().find(|(held, ..)| *held == split)?;
                let (mixing, mixed) = problem.mixed(basis, rank, taps)?;
                let (mut parts, combined, kept) = match form.outputs {
                    None => (vec![mixed.rows().to_owned()], mixed.rows().to_owned(), mixed.energy()),
                    Some(rank) => {
                        let basis = mixed.outputs()?;
                        let (last, core) = mixed.factors(&basis, rank);
                        (vec![core.clone(), last.clone()], last * core, basis.kept(rank))
                    }
                };
                let combined = self.unsplit(split, mixing.as_ref(), combined.as_ref());
                parts.insert(0, mixing);
                (parts, combined, kept)
            }
        };
        let loss = if energy > 0.0 { ((energy - kept) / energy).max(0.0) } else { 0.0 };
        let shifts = self.equations.as_ref().map(|equations| {
            let rows = (0..combined.nrows()).flat_map(|row| (0..combined.ncols()).map(move |at| (row, at)));
            equations.shifts(&rows.map(|place| combined[place]).collect::<Vec<f64>>())
        });
        Some(Factors { parts, loss, shifts })
    }

    /// Rows behind a split as rows of the layer.
    fn unsplit(&self, split: Split, mixing: MatRef<'_, f64>, core: MatRef<'_, f64>) -> Mat<f64> {
        let (order, width) = (self.geometry.order(split), mixing.ncols());
        let mut rows = Mat::<f64>::zeros(core.nrows(), order.len());
        for (tap, places) in order.chunks(width.max(1)).enumerate() {
            let through = core.subcols(tap * mixing.nrows(), mixing.nrows()) * mixing;
            for (column, &place) in through.col_iter().zip(places) {
                rows.col_mut(place).copy_from(column);
            }
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(index: usize) -> f64 {
        (index * 7919 % 1013) as f64 / 506.0 - 1.0
    }

    /// Inputs of which those that come later are louder, and follow those before.
    fn gram(dim: usize) -> Gram {
        let mut gram = Gram::new(dim);
        for sample in 0..40 * dim {
            let mut row: Vec<f64> = (0..dim).map(|i| noise(sample * dim + i)).collect();
            (1..dim).for_each(|i| row[i] = 0.7 * row[i - 1] + 0.2 * (i as f64) * row[i]);
            gram.add(&row);
        }
        gram
    }

    /// The product of the factors, in the order of the layer's weights.
    fn restored(solver: &Solver<'_>, form: Form, factors: &Factors) -> Mat<f64> {
        let parts = &factors.parts;
        match form.inputs {
            None => &parts[1] * &parts[0],
            Some((split, _)) => {
                let core = if parts.len() == 3 { &parts[2] * &parts[1] } else { parts[1].clone() };
                solver.unsplit(split, parts[0].as_ref(), core.as_ref())
            }
        }
    }

    const FORMS: [Form; 4] = [
        Form { inputs: None, outputs: Some(3) },
        Form { inputs: Some((Split::Channels, 2)), outputs: Some(4) },
        Form { inputs: Some((Split::Channels, 3)), outputs: None },
        Form { inputs: Some((Split::Columns, 4)), outputs: None },
    ];

    fn geometry() -> Geometry {
        Geometry { outputs: 7, inputs: 4, kernel: vec![3, 2], strides: vec![1, 1] }
    }

    #[test]
    fn the_loss_is_that_of_the_outputs() {
        let geometry = geometry();
        let rows: Vec<f32> = (0..7 * 24).map(|i| noise(3 * i + 1) as f32).collect();
        let gram = gram(24);
        for goal in [Goal::Weights, Goal::Outputs(&gram)] {
            let solver = Solver::new(&geometry, &rows, goal, false, |_| true).unwrap();
            for form in FORMS {
                let factors = solver.factors(form).unwrap();
                let found = restored(&solver, form, &factors);
                let lost = Mat::from_fn(7, 24, |i, j| f64::from(rows[i * 24 + j]) - found[(i, j)]);
                let energy = |rows: &Mat<f64>| match goal {
                    Goal::Weights => rows.squared_norm_l2(),
                    _ => {
                        let moments = Equations::plain(&gram, &[0.0; 24], false).unwrap().own;
                        let through = rows * MatRef::from_row_major_slice(&moments, 24, 24);
                        (0..7).map(|i| (0..24).map(|j| through[(i, j)] * rows[(i, j)]).sum::<f64>()).sum()
                    }
                };
                let all = Mat::from_fn(7, 24, |i, j| f64::from(rows[i * 24 + j]));
                let share = energy(&lost) / energy(&all);
                assert!((share - factors.loss).abs() < 1e-9, "{form:?} {goal:?}: {share} for {}", factors.loss);
                assert!(share > 1e-4 && share < 0.9, "{share}");
            }
        }
    }

    #[test]
    fn outputs_are_closer_with_data_than_without() {
        let geometry = geometry();
        let rows: Vec<f32> = (0..7 * 24).map(|i| noise(3 * i + 1) as f32).collect();
        let gram = gram(24);
        let moments = Equations::plain(&gram, &[0.0; 24], false).unwrap().own;
        let loss = |goal: Goal<'_>, form: Form| {
            let solver = Solver::new(&geometry, &rows, goal, false, |_| true).unwrap();
            let found = restored(&solver, form, &solver.factors(form).unwrap());
            let lost = Mat::from_fn(7, 24, |i, j| f64::from(rows[i * 24 + j]) - found[(i, j)]);
            let through = &lost * MatRef::from_row_major_slice(&moments, 24, 24);
            (0..7).map(|i| (0..24).map(|j| through[(i, j)] * lost[(i, j)]).sum::<f64>()).sum::<f64>()
        };
        for form in FORMS {
            let (plain, fitted) = (loss(Goal::Weights, form), loss(Goal::Outputs(&gram), form));
            assert!(fitted < 0.9 * plain, "{form:?}: {fitted} against {plain}");
        }
    }

    #[test]
    fn weights_of_low_rank_come_back() {
        let geometry = Geometry { outputs: 6, inputs: 9, kernel: Vec::new(), strides: Vec::new() };
        let row = |i: usize, j: usize| noise(i + 50) * noise(j + 9) + noise(7 * i) * noise(3 * j);
        let rows: Vec<f32> = (0..6).flat_map(|i| (0..9).map(move |j| row(i, j) as f32)).collect();
        let solver = Solver::new(&geometry, &rows, Goal::Weights, false, |_| true).unwrap();
        let losses = solver.losses().outputs;
        assert!(losses[1] > 0.01 && losses[2] < 1e-12, "{losses:?}");
        let form = Form { inputs: None, outputs: Some(2) };
        let found = restored(&solver, form, &solver.factors(form).unwrap());
        let close = (0..6).all(|i| (0..9).all(|j| (found[(i, j)] - f64::from(rows[i * 9 + j])).abs() < 1e-6));
        assert!(close, "{found:?}");
    }
}
