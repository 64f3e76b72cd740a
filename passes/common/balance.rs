//! Rounding whose errors cancel within a channel.
//!
//! A channel of weights is multiplied by inputs that mostly have a mean: what comes out of an activation function is
//! seldom negative. The errors of its weights then add up to a shift of the output, which the errors of single products,
//! of either sign, do not. So the few weights that lie closest to the middle of two numbers are rounded to the other one,
//! until the errors sum to next to nothing. Weights that are kept exactly, zeros among them, stay so.

use rayon::prelude::*;

use super::layout::Layout;

/// An element, as it was rounded to the nearest number.
#[derive(Debug, Clone, Copy)]
pub(in crate::passes) struct Rounded {
    /// The rounded value less the value.
    pub(in crate::passes) error: f64,
    /// The number on the other side of the value, less the rounded value; 0 where there is none.
    pub(in crate::passes) step: f64,
}

/// The elements to be rounded to the other side, in order, in a tensor of so many elements.
pub(in crate::passes) fn flips(layout: Layout, len: usize, rounded: impl Fn(usize) -> Rounded + Sync) -> Vec<usize> {
    let of_channel = |channel: usize| flips_of(layout.elements(channel, len).map(|index| (index, rounded(index))));
    let mut all: Vec<usize> = (0..layout.channels).into_par_iter().flat_map_iter(of_channel).collect();
    all.sort_unstable();
    all
}

/// The same of the elements of one channel.
fn flips_of(elements: impl Iterator<Item = (usize, Rounded)> + Clone) -> Vec<usize> {
    let mut sum: f64 = elements.clone().map(|(_, one)| one.error).filter(|error| error.is_finite()).sum();
    let helps = |(_, one): &(usize, Rounded)| one.step * sum < 0.0 && one.step.is_finite();
    let mut candidates: Vec<(usize, Rounded)> = elements.filter(helps).collect();
    // What the error grows by, for each unit that the sum changes by.
    let price = |one: &Rounded| one.step.abs() - 2.0 * one.error.abs();
    candidates.sort_unstable_by(|(i, a), (k, b)| price(a).total_cmp(&price(b)).then(i.cmp(k)));
    let mut chosen = Vec::new();
    for (index, one) in candidates {
        if (sum + one.step).abs() < sum.abs() {
            sum += one.step;
            chosen.push(index);
        }
    }
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds to whole numbers.
    fn rounded(value: f64) -> Rounded {
        let error = value.round_ties_even() - value;
        Rounded { error, step: if error == 0.0 { 0.0 } else { -error.signum() } }
    }

    fn flipped(values: &[f64], layout: Layout) -> Vec<usize> {
        flips(layout, values.len(), |index| rounded(values[index]))
    }

    #[test]
    fn the_closest_to_the_middle_goes_first() {
        // Errors: -0.3, -0.4, -0.45, 0: a sum of -1.15, which one step brings to -0.15.
        let layout = Layout { channels: 1, inner: 4 };
        assert_eq!(flipped(&[0.3, 1.4, 2.45, 7.0], layout), [2]);
        // -0.4 is closer to nothing than the 0.6 that a step would leave.
        assert_eq!(flipped(&[0.2, 1.2, 2.0, 3.0], layout), [0; 0]);
        // 0.3 + 0.3 = 0.6: a step leaves 0.4; another would leave more.
        assert_eq!(flipped(&[0.3, 0.3, 5.0, 5.0], layout), [0]);
    }

    #[test]
    fn every_channel_has_a_sum_of_its_own() {
        let values = [0.4, 0.6, 0.4, 0.6, 0.4, 0.6];
        assert_eq!(flipped(&values, Layout { channels: 2, inner: 1 }), [0, 1]);
        assert_eq!(flipped(&values, Layout { channels: 1, inner: 6 }), [0; 0]);
    }
}
