//! Which tensors to quantize less, so that the noise of all together stays within a budget at the least cost.

use crate::ir::ValueId;
use crate::passes::quant8::levels::Level;

/// One weight tensor and the levels it can have, from the least exact on.
#[derive(Debug, Clone)]
pub(super) struct Item {
    pub(super) value: ValueId,
    /// Its part of the bytes of all.
    pub(super) bytes: f64,
    pub(super) options: Vec<Choice>,
}

impl Item {
    /// The place of a level among the options.
    pub(super) fn option(&self, level: Level) -> Option<usize> {
        self.options.iter().position(|option| option.level == level)
    }
}

/// One level of one tensor.
#[derive(Debug, Clone)]
pub(super) struct Choice {
    pub(super) level: Level,
    /// What it alone adds to the noise of each output, relative to the signal there.
    pub(super) noise: Vec<f64>,
    /// What it costs in time and bytes, in any unit; ascending.
    pub(super) cost: f64,
}

/// The option of each item, by its index. Noises of single tensors are taken to add up.
///
/// The rule is greedy: as long as an output has more noise than the budget, the change that takes most of it away for its
/// cost is made. What turns out not to have been needed is undone, the dearest first.
pub(super) fn choose(items: &[Item], budget: f64) -> Vec<usize> {
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

/// The noise of the worst output for these options, were the noises of single tensors to add up.
pub(super) fn predict(items: &[Item], chosen: &[usize]) -> f64 {
    (0..outputs(items)).map(|output| noise_of(items, chosen, output)).fold(0.0, f64::max)
}

fn outputs(items: &[Item]) -> usize {
    items.iter().flat_map(|item| &item.options).map(|option| option.noise.len()).max().unwrap_or(0)
}

fn noise_of(items: &[Item], chosen: &[usize], output: usize) -> f64 {
    items.iter().zip(chosen).filter_map(|(item, &option)| item.options[option].noise.get(output)).sum()
}

fn cost(items: &[Item], chosen: &[usize], item: usize) -> f64 {
    items[item].options[chosen[item]].cost
}

/// The output with the most noise, where that is over the budget.
fn worst_output(items: &[Item], chosen: &[usize], outputs: usize, budget: f64) -> Option<usize> {
    let noise = |output| noise_of(items, chosen, output);
    let worst = (0..outputs).max_by(|&a, &b| noise(a).total_cmp(&noise(b)))?;
    (noise(worst) > budget).then_some(worst)
}

/// The change of one item that takes most noise off an output for its cost.
fn best_change(items: &[Item], chosen: &[usize], output: usize) -> Option<(usize, usize)> {
    let noise = |option: &Choice| option.noise.get(output).copied().unwrap_or(0.0);
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

    fn item(options: &[(f64, f64)]) -> Item {
        let mut graph = Graph::default();
        let value = graph.add_value("w", crate::ir::ValueType::Unknown);
        let levels = [Level::Integers, Level::Weights, Level::Float];
        let options = options.iter().zip(levels);
        let choice = |(&(noise, cost), level): (&(f64, f64), Level)| Choice { level, noise: vec![noise], cost };
        Item { value, bytes: 1.0, options: options.map(choice).collect() }
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
