//! Wording of remarks.

use std::collections::BTreeMap;

/// A number with its noun: `1 operator`, `3 operators`.
pub fn counted(count: usize, noun: &str) -> String {
    if count == 1 { format!("1 {noun}") } else { format!("{count} {noun}s") }
}

/// What there is of several things, in words: `3 operators, 1 initializer`; things that are zero are left out. `None`
/// where all are.
pub fn enumerate(things: &[(usize, &str)]) -> Option<String> {
    let words: Vec<String> = things.iter().filter(|(n, _)| *n > 0).map(|(n, noun)| counted(*n, noun)).collect();
    (!words.is_empty()).then(|| words.join(", "))
}

/// How many there are of each of several operators, in words, and of all: `2 Cast, 1 Pad`. `None` where there are none.
pub fn tally(counts: &BTreeMap<String, usize>) -> Option<(String, usize)> {
    let words: Vec<String> = counts.iter().map(|(name, count)| format!("{count} {name}")).collect();
    (!words.is_empty()).then(|| (words.join(", "), counts.values().sum()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leaves_out_what_there_is_none_of() {
        assert_eq!(enumerate(&[(2, "operator"), (0, "output"), (1, "function")]).unwrap(), "2 operators, 1 function");
        assert_eq!(enumerate(&[(0, "operator")]), None);
    }
}
