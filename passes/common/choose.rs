//! Which tensors to quantize less, so that the noise of all together stays within a budget at the least cost.

use crate::error::Result;
use crate::ir::ValueId;

/// Choices that are run at most before the best of them is taken.
const MAX_CHOICES: usize = 7;

/// Corrections closer together than this lead to much the same choice.
const STEP: f64 = 1.2;

/// One weight tensor and the levels it can have, from the least exact on.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Item<L> {
    pub(in crate::passes) value: ValueId,
    pub(in crate::passes) options: Vec<Choice<L>>,
}

/// One level of one tensor.
#[derive(Debug, Clone)]
pub(in crate::passes) struct Choice<L> {
    pub(in crate::passes) level: L,
    /// What it alone adds to the noise of each output, relative to the signal there.
    pub(in crate::passes) noise: Vec<f64>,
    /// What it costs in time and bytes, in any unit; ascending.
    pub(in crate::passes) cost: f64,
}

/// The option of each item, by its index. Noises of single tensors are taken to add up.
///
/// The rule is greedy: as long as an output has more noise than the budget, the change that takes most of it away for its
/// cost is made. What turns out not to have been needed is undone, the dearest first.
pub(in crate::passes) fn choose<L>(items: &[Item<L>], budget: f64) -> Vec<usize> {
    let mut chosen = vec![0; items.len()];
    let outputs = outputs(items);
    while let Some(worst) = worst_output(items, &chosen, outputs, budget) {
        let Some((item, option)) = best_change(items, &chosen, worst) else { break };
        chosen[item] = option;
    }
    let mut dearest: Vec<usize> = (0..items.len()).filter(|&item| chosen[item] > 0).collect();
    dearest.sort_by(|&a, &b| cost(items, &chosen, b).total_cmp(&cost(items, &chosen, a)));
    for item in dearest {
        let kept = chosen[item];
        for lower in 0..kept {
            chosen[item] = lower;
            if worst_output(items, &chosen, outputs, budget).is_none() {
                break;
            }
            chosen[item] = kept;
        }
    }
    chosen
}

/// More options together than this are not exchanged: every pair of them would be looked at.
const MAX_EXCHANGED: usize = 3000;

/// Makes a choice cheaper by taking a lower option of one item, and where that adds too much noise, a higher one of another,
/// as long as there is such a pair. The rule of [`choose`] sees one change at a time.
pub(in crate::passes) fn exchange<L>(items: &[Item<L>], mut chosen: Vec<usize>, budget: f64) -> Vec<usize> {
    if items.iter().map(|item| item.options.len()).sum::<usize>() > MAX_EXCHANGED {
        return chosen;
    }
    let outputs = outputs(items);
    loop {
        let noise: Vec<f64> = (0..outputs).map(|output| noise_of(items, &chosen, output)).collect();
        let step = |item: usize, option: usize, output: usize| {
            let of = |option: usize| items[item].options[option].noise.get(output).copied().unwrap_or(0.0);
            of(option) - of(chosen[item])
        };
        let paid = |item: usize, option: usize| items[item].options[option].cost - cost(items, &chosen, item);
        let mut best: Option<(f64, Vec<(usize, usize)>)> = None;
        let mut offer = |saved: f64, changes: &[(usize, usize)]| {
            let fits = || {
                let added = |output| changes.iter().map(|&(item, option)| step(item, option, output)).sum::<f64>();
                (0..outputs).all(|output| noise[output] + added(output) <= budget)
            };
            // A saving of a byte is worth an exchange, a rounding error is not.
            if saved >= 1.0 && best.as_ref().is_none_or(|(most, _)| saved > *most) && fits() {
                best = Some((saved, changes.to_vec()));
            }
        };
        for item in 0..items.len() {
            for lower in 0..chosen[item] {
                let saved = -paid(item, lower);
                offer(saved, &[(item, lower)]);
                for other in (0..items.len()).filter(|&other| other != item) {
                    for higher in chosen[other] + 1..items[other].options.len() {
                        offer(saved - paid(other, higher), &[(item, lower), (other, higher)]);
                    }
                }
            }
        }
        let Some((_, changes)) = best else { return chosen };
        changes.into_iter().for_each(|(item, option)| chosen[item] = option);
    }
}

/// The noise of the worst output for these options, were the noises of single tensors to add up.
pub(in crate::passes) fn predict<L>(items: &[Item<L>], chosen: &[usize]) -> f64 {
    (0..outputs(items)).map(|output| noise_of(items, chosen, output)).fold(0.0, f64::max)
}

/// Chooses, runs the choice, and chooses again with what that tells about the sum of noises; gives back the cheapest result
/// that was seen to stay within the budget. `run` says how much noise the worst output has with these options.
///
/// # Errors
/// Passes on what `run` returns.
pub(in crate::passes) fn settle<L, T>(
    items: &[Item<L>],
    budget: f64,
    run: impl FnMut(&[usize]) -> Result<(f64, T)>,
) -> Result<Option<T>> {
    settle_by(items, budget, |budget| choose(items, budget), run)
}

/// The same with another rule for the choice within a budget.
///
/// # Errors
/// Passes on what `run` returns.
pub(in crate::passes) fn settle_by<L, T>(
    items: &[Item<L>],
    budget: f64,
    choose: impl Fn(f64) -> Vec<usize>,
    mut run: impl FnMut(&[usize]) -> Result<(f64, T)>,
) -> Result<Option<T>> {
    // Noise of all together over the sum of the noises of each alone: 1 where they are independent. It is bracketed: the
    // largest that was too little, the smallest that did.
    let (mut too_little, mut enough) = (0.0f64, f64::INFINITY);
    let mut correction = 1.0;
    let mut best: Option<T> = None;
    for _ in 0..MAX_CHOICES {
        let chosen = choose(budget / correction);
        let (noise, result) = run(&chosen)?;
        let predicted = predict(items, &chosen);
        tracing::debug!(noise, budget, correction, predicted, "a choice of levels was run");
        if noise <= budget {
            enough = correction;
            best = Some(result);
        } else {
            too_little = correction;
        }
        correction = match (too_little, enough) {
            // As the sum falls short of the truth here, it may everywhere.
            (_, f64::INFINITY) => (noise / predicted).max(correction * STEP),
            (0.0, _) => correction / STEP,
            (low, high) => (low * high).sqrt(),
        };
        if enough < too_little * STEP || (enough <= 1.0 && noise > budget / STEP) {
            break;
        }
    }
    Ok(best)
}

fn outputs<L>(items: &[Item<L>]) -> usize {
    items.iter().flat_map(|item| &item.options).map(|option| option.noise.len()).max().unwrap_or(0)
}

fn noise_of<L>(items: &[Item<L>], chosen: &[usize], output: usize) -> f64 {
    items.iter().zip(chosen).filter_map(|(item, &option)| item.options[option].noise.get(output)).sum()
}

fn cost<L>(items: &[Item<L>], chosen: &[usize], item: usize) -> f64 {
    items[item].options[chosen[item]].cost
}

/// The output with the most noise, where that is over the budget.
fn worst_output<L>(items: &[Item<L>], chosen: &[usize], outputs: usize, budget: f64) -> Option<usize> {
    let noise = |output| noise_of(items, chosen, output);
    let worst = (0..outputs).max_by(|&a, &b| noise(a).total_cmp(&noise(b)))?;
    (noise(worst) > budget).then_some(worst)
}

/// The change of one item that takes most noise off an output for its cost.
fn best_change<L>(items: &[Item<L>], chosen: &[usize], output: usize) -> Option<(usize, usize)> {
    let noise = |option: &Choice<L>| option.noise.get(output).copied().unwrap_or(0.0);
    let mut best: Option<(f64, usize, usize)> = None;
    for (index, (item, &current)) in items.iter().zip(chosen).enumerate() {
        let now = &item.options[current];
        for (number, option) in item.options.iter().enumerate().skip(current + 1) {
            let saved = noise(now) - noise(option);
            let worth = saved / (option.cost - now.cost).max(f64::MIN_POSITIVE);
            if saved > 0.0 && best.is_none_or(|(most, ..)| worth > most) {
                best = Some((worth, index, number));
            }
        }
    }
    best.map(|(_, item, option)| (item, option))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Graph;

    fn item(options: &[(f64, f64)]) -> Item<usize> {
        let mut graph = Graph::default();
        let value = graph.add_value("w", crate::ir::ValueType::Unknown);
        let choice = |(level, &(noise, cost))| Choice { level, noise: vec![noise], cost };
        Item { value, options: options.iter().enumerate().map(choice).collect() }
    }

    #[test]
    fn what_is_within_the_budget_stays_as_it_is() {
        let items = [item(&[(1.0, 0.0), (0.0, 1.0)]), item(&[(2.0, 0.0), (0.0, 1.0)])];
        assert_eq!(choose(&items, 3.0), [0, 0]);
    }

    #[test]
    fn the_most_noise_for_the_least_cost_goes_first() {
        let items = [
            item(&[(4.0, 0.0), (1.0, 10.0), (0.0, 20.0)]),
            item(&[(3.0, 0.0), (0.5, 1.0), (0.0, 9.0)]),
            item(&[(0.1, 0.0), (0.05, 1.0), (0.0, 2.0)]),
        ];
        assert_eq!(choose(&items, 5.0), [0, 1, 0]);
        assert_eq!(choose(&items, 1.7), [1, 1, 0]);
        assert_eq!(choose(&items, 0.0), [2, 2, 2]);
    }

    #[test]
    fn what_a_dearer_change_made_needless_is_undone() {
        // The first change is the better bargain, but does not do; the second does alone.
        let items = [item(&[(1.0, 0.0), (0.0, 0.1)]), item(&[(5.0, 0.0), (0.0, 5.0)])];
        assert_eq!(choose(&items, 1.0), [0, 1]);
    }

    #[test]
    fn a_pair_is_exchanged_where_that_is_cheaper() {
        // Greedily the first item goes up, which saves most noise for its cost; the second alone would do for less.
        let items = [item(&[(4.0, 0.0), (0.0, 10.0)]), item(&[(4.0, 0.0), (1.5, 7.0), (0.0, 20.0)])];
        assert_eq!(choose(&items, 6.0), [1, 0]);
        assert_eq!(exchange(&items, vec![1, 0], 6.0), [0, 1]);
        assert_eq!(exchange(&items, vec![1, 2], 9.0), [0, 0]);
        assert_eq!(exchange(&items, vec![1, 0], 4.0), [1, 0]);
    }

    #[test]
    fn what_the_sum_of_noises_misses_is_learnt_by_running() {
        // Together they are twice as noisy as they should be.
        let items = [item(&[(1.0, 0.0), (0.0, 1.0)]), item(&[(1.0, 0.0), (0.0, 2.0)]), item(&[(1.0, 0.0), (0.0, 3.0)])];
        let settled = settle(&items, 3.0, |chosen| Ok((2.0 * predict(&items, chosen), chosen.to_vec()))).unwrap();
        assert_eq!(settled, Some(vec![1, 1, 0]));
        assert_eq!(settle(&items, 3.0, |_| Ok((4.0, ()))).unwrap(), None);
    }

    #[test]
    fn every_output_has_to_hold() {
        let mut first = item(&[(0.0, 0.0), (0.0, 1.0)]);
        first.options[0].noise = vec![0.0, 2.0];
        first.options[1].noise = vec![0.0, 0.0];
        let mut second = item(&[(0.0, 0.0), (0.0, 1.0)]);
        second.options[0].noise = vec![3.0, 0.1];
        second.options[1].noise = vec![0.0, 0.0];
        assert_eq!(choose(&[first.clone(), second.clone()], 1.0), [1, 1]);
        assert_eq!(choose(&[first, second], 2.5), [0, 1]);
    }
}
