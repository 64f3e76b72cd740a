//! The forms that weights can have.

use std::fmt;

/// How the weights of a tensor are stored.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Form {
    /// As they are.
    Float,
    /// In 16 bits.
    Half,
    /// Each as one of a few values.
    Shared(Shared),
}

/// What values weights share.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Shared {
    /// Different values, 2 to 256.
    pub(super) values: usize,
    /// Whether each output channel scales them.
    pub(super) is_scaled: bool,
    /// The share of weights that are not zero; 1 where none is pruned.
    pub(super) kept: f64,
}

/// Numbers of values of which several codes go into a byte well: 8, 5, 4, 3, 2 and 1.
const VALUES: [usize; 6] = [2, 3, 4, 6, 16, 256];

/// Shares of weights that are kept where the others are pruned, from 1.2 bits a weight to 3.2, and the values of those with zero.
const KEPT: [f64; 6] = [0.05, 0.1, 0.18, 0.28, 0.4, 0.55];
const VALUES_KEPT: usize = 17;

/// Every form with shared values. A channel's scale costs its bytes and no more.
pub(super) fn shared() -> Vec<Shared> {
    let all =
        VALUES.into_iter().flat_map(|values| [false, true].map(|is_scaled| Shared { values, is_scaled, kept: 1.0 }));
    all.chain(KEPT.map(|kept| Shared { values: VALUES_KEPT, is_scaled: false, kept })).collect()
}

impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float => write!(out, "float"),
            Self::Half => write!(out, "16 bits"),
            Self::Shared(Shared { values, kept, .. }) if *kept < 1.0 => write!(out, "pruned, {} values", values - 1),
            Self::Shared(Shared { values, is_scaled: true, .. }) => {
                write!(out, "{values} values and a scale a channel")
            }
            Self::Shared(Shared { values, .. }) => write!(out, "{values} values"),
        }
    }
}
