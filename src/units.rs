//! Numbers with units.

/// Units of sizes.
pub(crate) const BYTES: &[(&str, f64)] = &[
    ("KiB", 1024.0),
    ("MiB", 1_048_576.0),
    ("GiB", 1_073_741_824.0),
    ("kB", 1e3),
    ("KB", 1e3),
    ("MB", 1e6),
    ("GB", 1e9),
    ("B", 1.0),
    ("", 1.0),
];

/// A number with one of the units, the first that fits, in the unit's measure.
pub(crate) fn number(text: &str, units: &[(&str, f64)]) -> Option<f64> {
    let (number, factor) = units.iter().find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, factor)))?;
    number.trim().parse::<f64>().ok().filter(|number| number.is_finite()).map(|number| number * factor)
}

/// A size in bytes: `700`, `500KB`, `1.5MiB`.
pub(crate) fn bytes(text: &str) -> Option<f64> {
    number(text, BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units() {
        assert_eq!(
            ["700", "500KB", "1.5MiB", "2 MB"].map(bytes),
            [Some(700.0), Some(5e5), Some(1_572_864.0), Some(2e6)]
        );
        assert_eq!(["", "KB", "5TB", "nanB", "1e999"].map(bytes), [None; 5]);
    }
}
