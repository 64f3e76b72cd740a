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
    pub(super) scale: Scale,
    /// The share of weights that are not zero; 1 where none is pruned.
    pub(super) kept: f64,
}

/// What scales shared values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// Nothing: all weights of a tensor share them as they are.
    None,
    /// Each output channel.
    Channel,
    /// Each so many neighbours of a channel, in 16 bits.
    Block(usize),
}

/// Weights of a block: 16-bit scales take half a bit of each.
const BLOCK: usize = 32;

/// Values in blocks: of fewer the scales would be much, more need no blocks.
const VALUES_IN_BLOCKS: [usize; 2] = [4, 16];

/// Numbers of values of which several codes go into a byte well: 8, 5, 4, 3, 2 and 1.
const VALUES: [usize; 6] = [2, 3, 4, 6, 16, 256];

/// Shares of weights that are kept where the others are pruned, from 1.2 bits a weight to 3.2, and the values of those with zero.
const KEPT: [f64; 6] = [0.05, 0.1, 0.18, 0.28, 0.4, 0.55];
const VALUES_KEPT: usize = 17;

/// Every form with shared values. A channel's scale costs its bytes and no more.
pub(super) fn shared() -> Vec<Shared> {
    let plain = |values, scale, kept| Shared { values, scale, kept };
    let all =
        VALUES.into_iter().flat_map(|values| [Scale::None, Scale::Channel].map(|scale| plain(values, scale, 1.0)));
    let blocks = VALUES_IN_BLOCKS.map(|values| plain(values, Scale::Block(BLOCK), 1.0));
    all.chain(blocks).chain(KEPT.map(|kept| plain(VALUES_KEPT, Scale::None, kept))).collect()
}

impl fmt::Display for Form {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Float => write!(out, "float"),
            Self::Half => write!(out, "16 bits"),
            Self::Shared(Shared { values, kept, .. }) if *kept < 1.0 => write!(out, "pruned, {} values", values - 1),
            Self::Shared(Shared { values, scale: Scale::Channel, .. }) => {
                write!(out, "{values} values and a scale a channel")
            }
            Self::Shared(Shared { values, scale: Scale::Block(block), .. }) => {
                write!(out, "{values} values and a scale for {block} weights each")
            }
            Self::Shared(Shared { values, .. }) => write!(out, "{values} values"),
        }
    }
}
