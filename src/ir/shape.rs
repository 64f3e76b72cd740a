//! Shapes whose dimensions may be symbolic or unknown.

use std::fmt;
use std::sync::Arc;

/// One dimension of a tensor.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known extent.
    Fixed(u64),
    /// An extent with a name: equal names in one model stand for equal extents.
    Sym(Arc<str>),
    /// Nothing is known.
    Unknown,
}

impl Dim {
    /// The extent where it is known.
    pub fn fixed(&self) -> Option<u64> {
        match self {
            Self::Fixed(extent) => Some(*extent),
            _ => None,
        }
    }
}

impl Dim {
    /// Whether everything this one admits is admitted by `wider` too: names may change, what is fixed may not.
    fn narrows(&self, wider: &Self) -> bool {
        match (self, wider) {
            (Self::Fixed(extent), Self::Fixed(promised)) => extent == promised,
            (_, Self::Unknown) | (Self::Fixed(_) | Self::Sym(_), Self::Sym(_)) => true,
            _ => false,
        }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(extent) => write!(f, "{extent}"),
            Self::Sym(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// Whether the name of a dimension is one that exporters write for everything they know nothing of, so that equal names
/// do not stand for equal extents.
pub fn names_nothing(name: &str) -> bool {
    matches!(name, "" | "?" | "None" | "unknown")
}

/// The dimensions of a tensor; the rank is known, each extent may not be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Shape(pub Vec<Dim>);

impl Shape {
    /// A shape with every extent known.
    pub fn fixed(dims: impl IntoIterator<Item = u64>) -> Self {
        Self(dims.into_iter().map(Dim::Fixed).collect())
    }

    /// The number of dimensions.
    pub fn rank(&self) -> usize {
        self.0.len()
    }

    /// Whether a tensor of this shape also has the shape `wider`.
    pub fn narrows(&self, wider: &Self) -> bool {
        self.rank() == wider.rank() && self.0.iter().zip(&wider.0).all(|(dim, wider)| dim.narrows(wider))
    }

    /// The dimensions that the operator `Shape` gives with these attributes: places below 0 count from the end.
    pub fn between(&self, start: i64, end: i64) -> &[Dim] {
        let rank = self.0.len() as i64;
        let place = |place: i64| (if place < 0 { place.saturating_add(rank) } else { place }).clamp(0, rank) as usize;
        self.0.get(place(start)..place(end)).unwrap_or_default()
    }

    /// The extents, where all of them are known.
    pub fn as_fixed(&self) -> Option<Vec<u64>> {
        self.0.iter().map(Dim::fixed).collect()
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, dim) in self.0.iter().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            write!(f, "{dim}")?;
        }
        Ok(())
    }
}
