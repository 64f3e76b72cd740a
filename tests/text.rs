//! The textual syntax against the official implementation, and at the size of large models.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

mod support;

use std::path::Path;
use std::process::Command;

use onnx_shrink::ir::check;
use onnx_shrink::ir::text::{self, PrintOptions};
use onnx_shrink::onnx;
use support::{corpus, python};

const BARE: PrintOptions = PrintOptions { full_data_up_to_elements: 16, header: false };

/// Runs a script beside this file.
fn script(name: &str, folder: &Path) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/support").join(name);
    let output = Command::new(python::interpreter()).arg(path).arg(folder).output().unwrap();
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_official_parser_and_printer_agree_on_every_node_test() {
    if !python::has("onnx") {
        return corpus::skip("no Python with the `onnx` package");
    }
    let folder = tempfile::tempdir().unwrap();
    script("node_tests.py", folder.path());
    let mut cases: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() > 1500, "only {} node tests", cases.len());
    for case in &cases {
        let model = onnx::read(&case.join("model.onnx")).unwrap();
        std::fs::write(case.join("ours.txt"), text::print(&model, &PrintOptions::full())).unwrap();
    }
    let report = script("onnx_parser.py", folder.path());
    let (differences, last) = report.trim_end().rsplit_once('\n').unwrap_or(("", report.trim_end()));
    assert_eq!(differences, "");
    let compared: usize = last.strip_prefix("compared ").unwrap().parse().unwrap();
    assert!(compared > 1500, "compared only {compared}");

    for case in &cases {
        let ours = std::fs::read_to_string(case.join("ours.txt")).unwrap();
        for file in ["ours.txt", "theirs.txt"].into_iter().filter(|file| case.join(file).exists()) {
            let written = std::fs::read_to_string(case.join(file)).unwrap();
            let model = text::parse(&written).unwrap_or_else(|e| panic!("{}/{file}: {e}", case.display()));
            let again = text::print(&model, &PrintOptions::full());
            assert!(again == ours, "{}/{file} became\n{again}\ninstead of\n{ours}", case.display());
        }
    }
}

/// Operators of the large graphs.
const MANY: usize = 100_000;

/// Parses a graph, prints it again, and gives the operators in order by their first outputs.
fn order_of(graph: &str) -> Vec<String> {
    let model = text::parse(graph).unwrap();
    check::structure(&model).unwrap();
    let order = model.graph.topological_order().unwrap();
    let printed = text::print(&model, &BARE);
    assert!(text::print(&text::parse(&printed).unwrap(), &BARE) == printed, "the text of the text differs");
    order.into_iter().map(|node| model.graph.node_label(node)).collect()
}

fn links() -> impl DoubleEndedIterator<Item = String> {
    (0..MANY).map(|i| format!("  v{} = Relu(v{i})\n", i + 1))
}

fn names() -> Vec<String> {
    (1..=MANY).map(|i| format!("v{i}")).collect()
}

#[test]
fn a_long_chain_stays_in_order() {
    let text = format!("g (float v0) => (float v{MANY}) {{\n{}}}\n", links().collect::<String>());
    assert!(order_of(&text) == names());
    assert!(text::print(&text::parse(&text).unwrap(), &BARE) == text, "the text changed");
}

#[test]
fn a_long_chain_written_backwards_is_sorted() {
    let text = format!("g (float v0) => (float v{MANY}) {{\n{}}}\n", links().rev().collect::<String>());
    assert!(order_of(&text) == names());
}

#[test]
fn a_wide_fan_stays_in_order() {
    let readers: String = (1..=MANY).map(|i| format!("  v{i} = Relu(x)\n")).collect();
    let text = format!("g (float x) => (float y) {{\n{readers}  y = Sum({})\n}}\n", names().join(", "));
    let mut expected = names();
    expected.push("y".to_owned());
    assert!(order_of(&text) == expected);
    assert!(text::print(&text::parse(&text).unwrap(), &BARE) == text, "the text changed");
}
