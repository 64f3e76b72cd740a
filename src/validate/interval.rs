//! How far a signal-to-noise ratio may be from what more samples would give.
//!
//! The ratio is one of two sums over samples, `r = sum d / sum s` with `d` the energy of the difference and `s` that of
//! the signal. To first order its variance is that of `d - r s` over `n (mean s)^2` (Cochran, Sampling Techniques, ch. 6);
//! Student's t widens the interval where samples are few.

/// Sums over samples of energies and their products.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Spread {
    samples: u64,
    signal: f64,
    noise: f64,
    signal_squared: f64,
    noise_squared: f64,
    product: f64,
}

impl Spread {
    /// One sample: the energies of its difference and of its signal.
    pub(super) fn of((noise, signal): (f64, f64)) -> Self {
        Self {
            samples: 1,
            signal,
            noise,
            signal_squared: signal * signal,
            noise_squared: noise * noise,
            product: signal * noise,
        }
    }

    pub(super) fn merge(&mut self, other: Self) {
        self.samples += other.samples;
        self.signal += other.signal;
        self.noise += other.noise;
        self.signal_squared += other.signal_squared;
        self.noise_squared += other.noise_squared;
        self.product += other.product;
    }

    /// The 95 % interval of the ratio in decibels, lower end first; `None` for a single sample or without a ratio.
    pub(super) fn snr_interval95_db(&self) -> Option<(f64, f64)> {
        if self.samples < 2 || self.signal <= 0.0 || self.noise <= 0.0 {
            return None;
        }
        let (n, ratio) = (self.samples as f64, self.noise / self.signal);
        let residual = self.noise_squared - 2.0 * ratio * self.product + ratio * ratio * self.signal_squared;
        let deviation = (residual.max(0.0) * n / (n - 1.0)).sqrt() / self.signal;
        // On the scale of the logarithm, where the ratio cannot turn negative.
        let half = 10.0 / std::f64::consts::LN_10 * student_t_975(self.samples - 1) * deviation / ratio;
        let snr = -10.0 * ratio.log10();
        let interval = (snr - half, snr + half);
        (interval.0.is_finite() && interval.1.is_finite()).then_some(interval)
    }
}

/// The 97.5th percentile of Student's t distribution.
fn student_t_975(degrees: u64) -> f64 {
    const TABLE: [f64; 10] = [12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228];
    match degrees {
        0 => f64::INFINITY,
        1..=10 => TABLE[degrees as usize - 1],
        // Cornish and Fisher's expansion around the normal distribution, exact to 0.0005 from 11 degrees on.
        _ => {
            let (z, v) = (1.959_963_984_540_054_f64, degrees as f64);
            let first = z.powi(3) + z;
            let second = 5.0 * z.powi(5) + 16.0 * z.powi(3) + 3.0 * z;
            let third = 3.0 * z.powi(7) + 19.0 * z.powi(5) + 17.0 * z.powi(3) - 15.0 * z;
            z + first / (4.0 * v) + second / (96.0 * v * v) + third / (384.0 * v.powi(3))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matches_a_case_computed_by_hand() {
        // Signals 1, 1; differences 0.01, 0.03: r = 0.02, residuals -0.01 and 0.01, so the deviation of r is
        // sqrt(2 * 2e-4) / 2 = 0.01, and half of the interval 4.3429 * 12.706 * 0.5 = 27.59 dB.
        let mut spread = Spread::of((0.01, 1.0));
        spread.merge(Spread::of((0.03, 1.0)));
        let (low, high) = spread.snr_interval95_db().unwrap();
        assert!((high - low - 2.0 * 27.591).abs() < 0.01, "{low} {high}");
        assert!(((low + high) / 2.0 - 16.9897).abs() < 1e-3, "{low} {high}");
    }

    #[test]
    fn equal_samples_leave_no_doubt_and_one_says_nothing() {
        let one = Spread::of((0.5, 2.0));
        assert_eq!(one.snr_interval95_db(), None);
        let mut two = one;
        two.merge(one);
        let (low, high) = two.snr_interval95_db().unwrap();
        assert!((high - low).abs() < 1e-6);
    }

    #[test]
    fn percentiles_match_the_tables() {
        for (degrees, expected) in [(1, 12.706), (10, 2.228), (11, 2.201), (30, 2.042), (120, 1.980)] {
            assert!((student_t_975(degrees) - expected).abs() < 0.002, "{degrees}: {}", student_t_975(degrees));
        }
    }
}
