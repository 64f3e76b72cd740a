//! Golden files.
//!
//! ```text
//! // What is tested and why, in a sentence or two.
//! // RUN: pipeline
//! graph
//! ---
//! the expected graph, or `= same`
//! ---
//! the expected remarks, one a line: `applied|skipped|note SITE: text (figure=1.23)`
//! ```
//!
//! Further directives, each a comment of its own:
//! - `// OPSET: 13`: the default operator set; 17 without it. A text with a header imports what its header says.
//! - `// CALIB: synthetic:4`: the pass gets this calibration data.
//! - `// DATA: 64`: tensors of up to so many elements are printed in full, larger ones as a hash; 16 without it.
//! - `// BACKEND: none, REASON`: the graphs are not executed.
//! - `// ONCE: REASON`: a second run of a lossy pass may change the graph once more, or miss what the options name.
//! - `// ERROR: TEXT`: the run fails, and TEXT is part of the error. Nothing else is expected.

use std::path::{Path, PathBuf};

/// What stands for a graph that is as it was.
const SAME: &str = "= same\n";

/// A line that ends a section.
const SEPARATOR: &str = "---\n";

/// What a run gives, as text.
pub(crate) struct Sections {
    /// The graph before the run, as the printer writes it.
    pub(crate) before: String,
    /// The graph after it.
    pub(crate) after: String,
    /// The remarks.
    pub(crate) remarks: String,
}

/// A golden file.
pub(crate) struct Golden {
    path: PathBuf,
    /// The path below `tests/passes`.
    pub(crate) name: String,
    /// The folder: the pass that is tested.
    pub(crate) pass: String,
    /// Comments and graph, as written.
    pub(crate) input: String,
    expected_graph: String,
    expected_remarks: String,
    pub(crate) pipeline: String,
    pub(crate) opset: Option<i64>,
    pub(crate) calibration: Option<String>,
    pub(crate) full_data_up_to_elements: u64,
    pub(crate) is_executed: bool,
    pub(crate) may_change_again: bool,
    pub(crate) error: Option<String>,
}

/// Every golden, sorted by path.
pub(crate) fn all() -> Vec<Golden> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/passes");
    let mut goldens = Vec::new();
    for folder in entries(&root).into_iter().filter(|path| path.is_dir()) {
        let files = entries(&folder).into_iter().filter(|path| path.extension().is_some_and(|e| e == "txt"));
        goldens.extend(files.map(|path| Golden::read(&root, path)));
    }
    goldens
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .unwrap_or_else(|e| panic!("{}: {e}", folder.display()))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths
}

impl Golden {
    fn read(root: &Path, path: PathBuf) -> Self {
        let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let name = path.strip_prefix(root).unwrap().display().to_string();
        let pass = path.parent().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        Self::parse(path, name, pass, &text)
    }

    fn parse(path: PathBuf, name: String, pass: String, text: &str) -> Self {
        let mut sections = [const { String::new() }; 3];
        let mut section = 0;
        for line in text.lines() {
            if line == SEPARATOR.trim_end() {
                section += 1;
                assert!(section < sections.len(), "{name}: more than three sections");
                continue;
            }
            sections[section].push_str(line);
            sections[section].push('\n');
        }
        let [input, expected_graph, expected_remarks] = sections;
        let mut golden = Self {
            path,
            name,
            pass,
            input,
            expected_graph,
            expected_remarks,
            pipeline: String::new(),
            opset: None,
            calibration: None,
            full_data_up_to_elements: 16,
            is_executed: true,
            may_change_again: false,
            error: None,
        };
        for line in golden.input.clone().lines() {
            if let Some((key, value)) = line.strip_prefix("// ").and_then(|comment| comment.split_once(": ")) {
                golden.directive(key, value.trim());
            }
        }
        assert!(!golden.pipeline.is_empty(), "{}: no `// RUN: pipeline`", golden.name);
        golden
    }

    fn directive(&mut self, key: &str, value: &str) {
        let number = || value.parse().unwrap_or_else(|_| panic!("{}: `{value}` is no number", self.name));
        match key {
            "RUN" => value.clone_into(&mut self.pipeline),
            "OPSET" => self.opset = Some(number()),
            "CALIB" => self.calibration = Some(value.to_owned()),
            "DATA" => self.full_data_up_to_elements = number() as u64,
            "BACKEND" => {
                let reason = value.strip_prefix("none, ").unwrap_or_default();
                assert!(!reason.is_empty(), "{}: expected `// BACKEND: none, REASON`", self.name);
                self.is_executed = false;
            }
            "ONCE" => self.may_change_again = true,
            "ERROR" => self.error = Some(value.to_owned()),
            // A word in capitals that is no directive is one that somebody misspelt.
            other => assert!(
                other.is_empty() || !other.bytes().all(|b| b.is_ascii_uppercase()),
                "{}: unknown directive `{other}`",
                self.name
            ),
        }
    }

    /// Whether the graph has a header, and its text is to show one.
    pub(crate) fn has_header(&self) -> bool {
        let first = self.input.lines().map(str::trim).find(|line| !line.is_empty() && !line.starts_with("//"));
        first.is_some_and(|line| line.starts_with('<'))
    }

    pub(crate) fn opens_with_intent(&self) -> bool {
        let first = self.input.lines().next().unwrap_or_default();
        let is_directive = first
            .split_once(':')
            .is_some_and(|(key, _)| key.trim_start_matches("// ").bytes().all(|b| b.is_ascii_uppercase()));
        first.starts_with("// ") && !is_directive
    }

    /// Whether the pass changes the graph.
    pub(crate) fn applies(&self) -> bool {
        self.error.is_none() && !self.expected_graph.is_empty() && self.expected_graph != SAME
    }

    /// Whether the pass leaves something alone.
    pub(crate) fn refuses(&self) -> bool {
        self.error.is_some()
            || self.expected_graph == SAME
            || self.expected_remarks.lines().any(|line| line.starts_with("skipped"))
    }

    /// What differs from what is expected.
    pub(crate) fn differences(&self, actual: &Sections) -> Vec<String> {
        let is_same = actual.before == actual.after;
        let mut found = Vec::new();
        if self.expected_graph != actual.after && !(is_same && self.expected_graph == SAME) {
            let after = if is_same && self.expected_graph.is_empty() { SAME } else { &actual.after };
            found.push(format!("{}: another graph\n{}", self.name, difference(&self.expected_graph, after)));
        }
        if self.expected_remarks != actual.remarks {
            let text = difference(&self.expected_remarks, &actual.remarks);
            found.push(format!("{}: other remarks\n{text}", self.name));
        }
        found
    }

    /// Rewrites what is expected.
    pub(crate) fn bless(&self, actual: &Sections) {
        let graph = if actual.before == actual.after { SAME } else { &actual.after };
        let text = format!("{}{SEPARATOR}{graph}{SEPARATOR}{}", self.input, actual.remarks);
        let is_current = std::fs::read_to_string(&self.path).is_ok_and(|current| current == text);
        if !is_current {
            std::fs::write(&self.path, text).unwrap_or_else(|e| panic!("{}: {e}", self.path.display()));
        }
    }
}

/// The lines between the common beginning and the common end, with one line of context.
fn difference(expected: &str, actual: &str) -> String {
    let (old, new): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    let shorter = old.len().min(new.len());
    let head = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
    let tail = old.iter().rev().zip(new.iter().rev()).take(shorter - head).take_while(|(a, b)| a == b).count();
    let mut lines: Vec<String> = head.checked_sub(1).map(|at| format!("    {}", old[at])).into_iter().collect();
    lines.extend(old[head..old.len() - tail].iter().map(|line| format!("  - {line}")));
    lines.extend(new[head..new.len() - tail].iter().map(|line| format!("  + {line}")));
    lines.extend(old[old.len() - tail..].first().map(|line| format!("    {line}")));
    lines.join("\n")
}
