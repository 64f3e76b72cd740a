//! A layer as layers in a row, ready to be put in its place.

use super::form::{Cost, Form, Split};
use super::menu;
use super::options::Amount;
use super::plan::Candidate;
use super::solver::{Factors, Goal, Solver};
use crate::error::Result;
use crate::ir::Tensor;
use crate::pass::Scratch;

/// Bytes of an operator and an initializer, besides contents, and how often they spell a name.
const OVERHEAD_BYTES: u64 = 120;
const NAMES: u64 = 5;

/// What rounding to 32 bits loses: less than that is nothing.
const LEAST_LOSS: f64 = 1e-14;

/// What takes the place of a layer.
#[derive(Debug, Clone)]
pub(super) struct Factored {
    pub(super) form: Form,
    /// The weights of the layers, in the order in which they multiply.
    pub(super) parts: Vec<Tensor>,
    pub(super) cost: Cost,
    /// What is lost of the squares of its outputs, as a share; without data, of its weights.
    pub(super) loss: f64,
    /// What its outputs are short of in the mean, where a bias is to make up for it.
    pub(super) shifts: Option<Vec<f64>>,
}

impl Factored {
    fn new(candidate: &Candidate, form: Form, factors: Factors, scratch: &Scratch) -> Result<Self> {
        let park =
            |tensor: Tensor| Tensor::new(tensor.dtype(), tensor.shape().to_vec(), scratch.park(tensor.data().clone())?);
        let parts = candidate.tensors(form, &factors.parts)?.into_iter().map(park).collect::<Result<Vec<Tensor>>>()?;
        Ok(Self { form, parts, cost: candidate.geometry.cost(form), loss: factors.loss, shifts: factors.shifts })
    }

    /// Bytes in the file, as far as they are more than those of what stays.
    pub(super) fn stored_bytes(&self, name: &str) -> u64 {
        let contents: u64 = self.parts.iter().map(Tensor::byte_len).sum();
        contents + (OVERHEAD_BYTES + NAMES * name.len() as u64) * (self.parts.len() as u64 - 1)
    }

    /// The signal-to-noise ratio of its outputs in dB, where what it reads is as it was; without data, of its weights.
    pub(super) fn snr_db(&self) -> f64 {
        -10.0 * self.loss.max(LEAST_LOSS).log10()
    }

    fn is_finite(&self) -> bool {
        self.parts.iter().all(Tensor::is_finite)
    }
}

/// The forms of a layer that amounts stand for and that make the file smaller, from the smallest on; none where there are
/// none, or moments do not serve.
///
/// # Errors
/// Fails where they cannot be kept: the disk is full.
pub(super) fn for_amounts(
    candidate: &Candidate,
    goal: Goal<'_>,
    amounts: &[Amount],
    name: &str,
    scratch: &Scratch,
) -> Result<Vec<Factored>> {
    let solver = Solver::new(&candidate.geometry, &candidate.rows(), goal, candidate.bias.is_some(), |_| true);
    let Some(solver) = solver else { return Ok(Vec::new()) };
    let mut found: Vec<Factored> = Vec::new();
    for &amount in amounts {
        let work_out = |form| solver.factors(form).map(|factors| (factors.loss, (form, factors)));
        let Some((form, factors)) = menu::best(&candidate.geometry, &solver, amount, work_out) else { continue };
        let one = Factored::new(candidate, form, factors, scratch)?;
        // More weights that lose as much are no choice.
        let is_better = found.last().is_none_or(|last| one.loss < last.loss && one.cost.weights > last.cost.weights);
        if one.is_finite() && is_better && one.stored_bytes(name) < candidate.weights.tensor.byte_len() {
            found.push(one);
        }
    }
    Ok(found)
}

/// A layer in a given form; `None` where moments do not serve.
///
/// # Errors
/// Fails where it cannot be kept: the disk is full.
pub(super) fn in_form(
    candidate: &Candidate,
    goal: Goal<'_>,
    form: Form,
    scratch: &Scratch,
) -> Result<Option<Factored>> {
    let needs = |split: Option<Split>| split == form.inputs.map(|(split, _)| split);
    let solver = Solver::new(&candidate.geometry, &candidate.rows(), goal, candidate.bias.is_some(), needs);
    let factors = solver.and_then(|solver| solver.factors(form));
    let factored = factors.map(|factors| Factored::new(candidate, form, factors, scratch)).transpose()?;
    Ok(factored.filter(Factored::is_finite))
}
