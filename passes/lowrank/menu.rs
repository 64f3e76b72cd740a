//! The forms that a layer may take for an amount, of which the best is taken.

use super::form::{Form, Geometry, Split};
use super::options::Amount;
use super::solver::{Losses, Solver};

/// Of the forms that may do, by what each part alone loses, so many are worked out.
const TRIED: usize = 2;

/// The shares of weights that a layer may have left where a target decides.
const SHARES: [f64; 6] = [0.2, 0.35, 0.5, 0.65, 0.8, 0.92];

/// The amounts that a layer may have.
pub(super) fn amounts(amount: Amount) -> Vec<Amount> {
    match amount {
        Amount::Target(_) => SHARES.into_iter().map(Amount::Share).collect(),
        one => vec![one],
    }
}

/// The forms that an amount may mean for a layer, with what each loses, were what its parts lose to add up: those that save
/// weights and multiplications, the best first.
fn forms(geometry: &Geometry, losses: &Losses, amount: Amount) -> Vec<(f64, Form)> {
    let tucker = |amount| {
        let inputs = losses.splits.iter().find(|(split, _)| *split == Split::Channels).map(|(_, losses)| losses)?;
        both(geometry, inputs, &losses.outputs, amount)
    };
    let of_both = tucker(amount);
    // The rank of a kernel is that of both its ends; what takes as many weights otherwise may be better.
    let amount = match (amount, of_both) {
        (Amount::Rank(_), Some((_, form))) => {
            Amount::Share(geometry.cost(form).weights as f64 / geometry.whole().weights as f64)
        }
        _ => amount,
    };
    let mut found: Vec<(f64, Form)> = of_both.into_iter().collect();
    found.extend(single(geometry, &losses.outputs, amount, |rank| Form { inputs: None, outputs: Some(rank) }));
    for (split, losses) in &losses.splits {
        found.extend(single(geometry, losses, amount, |rank| Form { inputs: Some((*split, rank)), outputs: None }));
    }
    found.retain(|(_, form)| geometry.pays(*form));
    let weights = |form: &Form| geometry.cost(*form).weights;
    match amount {
        // All of them lose as little as was asked for.
        Amount::Energy(_) => found.sort_by_key(|(_, form)| weights(form)),
        _ => found.sort_by(|a, b| a.0.total_cmp(&b.0).then(weights(&a.1).cmp(&weights(&b.1)))),
    }
    found
}

/// The one rank of a form for an amount, with what is lost.
fn single(geometry: &Geometry, losses: &[f64], amount: Amount, of: impl Fn(usize) -> Form) -> Option<(f64, Form)> {
    let most = losses.len().checked_sub(1).filter(|&most| most > 0)?;
    let rank = match amount {
        Amount::Rank(rank) => rank,
        Amount::Share(share) => largest(geometry, losses.len(), share, &of),
        Amount::Energy(energy) => losses.iter().position(|&loss| loss <= 1.0 - energy).unwrap_or(most),
        Amount::Target(_) => return None,
    };
    let rank = rank.clamp(1, most);
    Some((losses[rank], of(rank)))
}

/// The largest rank with which no more than a share of the weights is left, below `end`; 0 where none is that small.
fn largest(geometry: &Geometry, end: usize, share: f64, of: impl Fn(usize) -> Form) -> usize {
    let most = share * geometry.whole().weights as f64;
    let fits = |rank: usize| geometry.cost(of(rank)).weights as f64 <= most;
    let ranks: Vec<usize> = (1..end).collect();
    ranks.partition_point(|&rank| fits(rank))
}

/// Ranks of inputs and outputs (Tucker-2) with which an amount loses least, or least is left of the weights.
fn both(geometry: &Geometry, inputs: &[f64], outputs: &[f64], amount: Amount) -> Option<(f64, Form)> {
    let of = |input: usize, output: usize| Form { inputs: Some((Split::Channels, input)), outputs: Some(output) };
    let last = |losses: &[f64]| losses.len().checked_sub(1).filter(|&last| last > 0);
    let (most_inputs, most_outputs) = (last(inputs)?, last(outputs)?);
    let loss = |input: usize, output: usize| inputs[input] + outputs[output];
    match amount {
        Amount::Rank(rank) => {
            let (input, output) = (rank.min(most_inputs), rank.min(most_outputs));
            Some((loss(input, output), of(input, output)))
        }
        Amount::Share(share) => {
            let output = |input| largest(geometry, outputs.len(), share, |output| of(input, output));
            let pairs = (1..=most_inputs).map(|input| (input, output(input))).filter(|&(_, output)| output > 0);
            let best = pairs.min_by(|a, b| loss(a.0, a.1).total_cmp(&loss(b.0, b.1)));
            best.map(|(input, output)| (loss(input, output), of(input, output)))
        }
        Amount::Energy(energy) => {
            let output = |input: usize| outputs.iter().position(|&loss| loss + inputs[input] <= 1.0 - energy);
            let pairs = (1..=most_inputs).filter_map(|input| Some((input, output(input)?.max(1))));
            let best = pairs.min_by_key(|&(input, output)| geometry.cost(of(input, output)).weights);
            best.map(|(input, output)| (loss(input, output), of(input, output)))
        }
        Amount::Target(_) => None,
    }
}

/// The best form for an amount, worked out; `None` where none saves anything or can be found.
pub(super) fn best<T>(
    geometry: &Geometry,
    solver: &Solver<'_>,
    amount: Amount,
    work_out: impl Fn(Form) -> Option<(f64, T)>,
) -> Option<T> {
    let tried = forms(geometry, &solver.losses(), amount).into_iter().take(TRIED);
    let mut worked: Vec<(f64, T)> = tried.filter_map(|(_, form)| work_out(form)).collect();
    if let Amount::Energy(energy) = amount {
        // The parts of a kernel lose a little more or less than was thought.
        let enough = worked.iter().position(|(loss, _)| *loss <= 1.0 - energy).unwrap_or(0);
        return (enough < worked.len()).then(|| worked.swap_remove(enough).1);
    }
    let least = (0..worked.len()).min_by(|&a, &b| worked[a].0.total_cmp(&worked[b].0))?;
    Some(worked.swap_remove(least).1)
}
