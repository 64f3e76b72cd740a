//! Which weights become zero, and how large the others are taken to be.

/// Of the mean magnitude: the threshold that is best for weights of an even or a normal distribution (Li et al., 2016,
/// section 2.2).
const TWN_SHARE: f64 = 0.7;

/// How a threshold is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// Where the error is least.
    Exact,
    /// By the mean magnitude.
    Twn,
}

/// Weights of one scale: those of a magnitude of `least` and more are `scale` or its negative, the others zero.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Split {
    pub(super) least: f32,
    pub(super) scale: f64,
}

impl Split {
    /// Splits finite weights.
    pub(super) fn of(weights: &[f32], rule: Rule) -> Self {
        match rule {
            Rule::Exact => exact(weights),
            Rule::Twn => twn(weights),
        }
    }

    /// -1, 0 or 1.
    pub(super) fn level(self, weight: f32) -> i8 {
        match weight {
            _ if weight.abs() < self.least => 0,
            _ if weight > 0.0 => 1,
            _ => -1,
        }
    }
}

/// Nothing but zeros.
const NOTHING: Split = Split { least: f32::INFINITY, scale: 0.0 };

/// With `k` weights left the best scale is the mean of their magnitudes, and the error is what `(sum of magnitudes)^2 / k`
/// is short of the sum of all squares; so the `k` largest are left, and all `k` are tried.
fn exact(weights: &[f32]) -> Split {
    let mut magnitudes: Vec<f32> = weights.iter().map(|weight| weight.abs()).filter(|&m| m > 0.0).collect();
    magnitudes.sort_unstable_by(|a, b| b.total_cmp(a));
    let (mut sum, mut best) = (0.0, (0.0, NOTHING));
    for (index, &magnitude) in magnitudes.iter().enumerate() {
        sum += f64::from(magnitude);
        let count = (index + 1) as f64;
        // Equal magnitudes go the same way: a split between them is never the best one.
        let is_cut = magnitudes.get(index + 1) != Some(&magnitude);
        if is_cut && sum * sum / count > best.0 {
            best = (sum * sum / count, Split { least: magnitude, scale: sum / count });
        }
    }
    best.1
}

/// The rule of the paper.
fn twn(weights: &[f32]) -> Split {
    let magnitude = |weight: &f32| f64::from(weight.abs());
    let threshold = TWN_SHARE * weights.iter().map(magnitude).sum::<f64>() / weights.len().max(1) as f64;
    let left: Vec<f64> = weights.iter().map(magnitude).filter(|&m| m > threshold).collect();
    let least = left.iter().copied().fold(f64::INFINITY, f64::min);
    match left.len() {
        0 => NOTHING,
        count => Split { least: least as f32, scale: left.iter().sum::<f64>() / count as f64 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(weights: &[f32], levels: &[i8], scale: f64) -> f64 {
        weights.iter().zip(levels).map(|(&w, &level)| (f64::from(w) - f64::from(level) * scale).powi(2)).sum()
    }

    /// The least error over all ways to give each weight a level, each with its best scale.
    fn least_error(weights: &[f32]) -> f64 {
        let all = 3usize.pow(weights.len() as u32);
        let levels = |mut number: usize| -> Vec<i8> {
            let digit = |_| {
                let digit = (number % 3) as i8 - 1;
                number /= 3;
                digit
            };
            (0..weights.len()).map(digit).collect()
        };
        (0..all)
            .map(|number| {
                let levels = levels(number);
                let count = levels.iter().filter(|&&level| level != 0).count().max(1) as f64;
                let sum: f64 = weights.iter().zip(&levels).map(|(&w, &level)| f64::from(w) * f64::from(level)).sum();
                error(weights, &levels, sum / count)
            })
            .fold(f64::INFINITY, f64::min)
    }

    #[test]
    fn no_levels_and_no_scale_have_less_error() {
        for seed in 0..40 {
            let weights: Vec<f32> = (0..7).map(|i| ((i * 7919 + seed * 104_729) % 1013) as f32 / 506.0 - 1.0).collect();
            let split = Split::of(&weights, Rule::Exact);
            let levels: Vec<i8> = weights.iter().map(|&weight| split.level(weight)).collect();
            let (found, least) = (error(&weights, &levels, split.scale), least_error(&weights));
            assert!((found - least).abs() < 1e-9, "{weights:?}: {found} against {least}");
        }
    }

    #[test]
    fn equal_magnitudes_go_the_same_way() {
        let split = Split::of(&[1.0, -1.0, 1.0, 0.0], Rule::Exact);
        assert_eq!((split.least, split.scale), (1.0, 1.0));
        assert_eq!([1.0, -1.0, 0.0, -0.0].map(|w| split.level(w)), [1, -1, 0, 0]);
        assert_eq!(Split::of(&[0.0, 0.0], Rule::Exact), NOTHING);
        assert_eq!(Split::of(&[0.0, 0.0], Rule::Twn), NOTHING);
    }

    #[test]
    fn the_rule_of_the_paper_is_a_share_of_the_mean() {
        // Mean magnitude 1, threshold 0.7.
        let split = Split::of(&[0.5, -0.75, 1.75, 1.0], Rule::Twn);
        assert_eq!((split.least, split.scale), (0.75, 3.5 / 3.0));
    }
}
