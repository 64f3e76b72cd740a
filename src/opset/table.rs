//! Finds the record of an operator in `operators.txt`.
//!
//! The first question indexes the file by its header lines; a record is parsed when it is asked for, once.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::OnceLock;

use super::parse::{self, Group, Key};
use super::schema::Schema;

const TEXT: &str = include_str!("operators.txt");

/// The name of the default domain in the file, and the other of its two names in models.
const DEFAULT_DOMAIN: &str = "ai.onnx";

struct Table {
    groups: Vec<Group>,
    /// The newest version of each domain, sorted by domain.
    domains: Vec<(&'static str, i64)>,
    /// Sorted by key.
    entries: Vec<Entry>,
    /// Where the entries of an operator lie, by domain and operator: passes ask for every operator of a model.
    places: HashMap<(&'static str, &'static str), Range<usize>>,
}

struct Entry {
    key: Key,
    record: &'static str,
    schema: OnceLock<Option<Schema>>,
}

impl Entry {
    fn schema(&self, groups: &[Group]) -> Option<&Schema> {
        self.schema.get_or_init(|| parse::schema(self.record, groups)).as_ref()
    }
}

impl Table {
    fn get() -> &'static Self {
        static TABLE: OnceLock<Table> = OnceLock::new();
        TABLE.get_or_init(|| Self::index(TEXT))
    }

    fn index(text: &'static str) -> Self {
        let (preamble, records) = text.split_once("\nop ").unwrap_or((text, ""));
        let group = |line: &'static str| line.strip_prefix("group ").and_then(parse::group);
        let domain = |line: &'static str| {
            let (name, version) = line.strip_prefix("domain ")?.split_once(' ')?;
            Some((canonical(name), version.parse().ok()?))
        };
        let entry = |record: &'static str| {
            let key = Key::parse(record.lines().next()?)?;
            Some(Entry { key, record, schema: OnceLock::new() })
        };
        let entries: Vec<Entry> = records.split("\nop ").filter_map(entry).collect();
        let mut places: HashMap<_, Range<usize>> = HashMap::new();
        for (place, entry) in entries.iter().enumerate() {
            places.entry((entry.key.domain, entry.key.op_type)).or_insert(place..place).end = place + 1;
        }
        Self {
            groups: preamble.lines().filter_map(group).collect(),
            domains: preamble.lines().filter_map(domain).collect(),
            entries,
            places,
        }
    }

    /// The records of an operator, oldest first.
    fn of(&self, domain: &str, op_type: &str) -> &[Entry] {
        let place = self.places.get(&(canonical(domain), op_type)).cloned();
        place.and_then(|place| self.entries.get(place)).unwrap_or_default()
    }
}

/// The domain by its one name: the default domain is empty.
pub(super) fn canonical(domain: &str) -> &str {
    if domain == DEFAULT_DOMAIN { "" } else { domain }
}

/// The operator as a version of its operator set has it: the newest definition that is not newer than `version`.
///
/// `None` for operators that the version does not have yet, and for those not known at all.
pub fn schema(domain: &str, op_type: &str, version: i64) -> Option<&'static Schema> {
    let table = Table::get();
    let entries = table.of(domain, op_type);
    let newer = entries.partition_point(|entry| entry.key.since_version <= version);
    entries.get(newer.checked_sub(1)?)?.schema(&table.groups)
}

/// The versions that brought a definition of the operator, oldest first; empty for an operator that is not known.
pub fn versions(domain: &str, op_type: &str) -> impl ExactSizeIterator<Item = i64> {
    Table::get().of(domain, op_type).iter().map(|entry| entry.key.since_version)
}

/// Every operator in every version, ordered by domain, operator and version.
pub fn all() -> impl Iterator<Item = &'static Schema> {
    let table = Table::get();
    table.entries.iter().filter_map(|entry| entry.schema(&table.groups))
}

/// The known domains with the newest version of each; the default domain is empty.
pub fn domains() -> &'static [(&'static str, i64)] {
    &Table::get().domains
}

/// The newest known version of a domain; `None` for a domain that is not known.
pub fn latest(domain: &str) -> Option<i64> {
    domains().iter().find(|(name, _)| *name == canonical(domain)).map(|&(_, version)| version)
}

/// The newest known version of the default domain.
pub fn latest_opset() -> i64 {
    latest("").unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_sorted_and_every_record_of_it_parses() {
        let table = Table::get();
        assert_eq!(table.entries.len(), TEXT.lines().filter(|line| line.starts_with("op ")).count());
        assert!(table.entries.windows(2).all(|pair| pair[0].key < pair[1].key));
        for entry in &table.entries {
            assert!(entry.schema(&table.groups).is_some(), "cannot parse {}", entry.record);
        }
        assert_eq!(table.groups.len(), TEXT.lines().filter(|line| line.starts_with("group ")).count());
        assert_eq!(table.domains.len(), TEXT.lines().filter(|line| line.starts_with("domain ")).count());
    }

    #[test]
    fn a_version_has_the_newest_definition_that_is_not_newer() {
        let since = |op, version| schema("", op, version).map(|schema| schema.since_version);
        assert_eq!(since("Clip", 10), Some(6));
        assert_eq!(since("Clip", 11), Some(11));
        assert_eq!(since("Gelu", 19), None);
        assert_eq!(since("Gelu", 20), Some(20));
        assert_eq!(since("Conv", 0), None);
        assert_eq!(since("NoSuchOperator", 20), None);
        assert_eq!(versions("ai.onnx", "Clip").collect::<Vec<_>>(), [1, 6, 11, 12, 13]);
    }

    #[test]
    fn domains_are_apart_and_the_default_one_has_two_names() {
        assert!(schema("ai.onnx", "Relu", 14).is_some_and(|relu| relu.domain.is_empty()));
        assert!(schema("com.microsoft", "Relu", 1).is_none());
        assert!(schema("com.microsoft", "FusedConv", 1).is_some());
        assert!(schema("ai.onnx.ml", "Scaler", 3).is_some());
        assert_eq!(latest("com.example"), None);
        assert_eq!(Some(latest_opset()), all().filter(|one| one.domain.is_empty()).map(|one| one.since_version).max());
    }
}
