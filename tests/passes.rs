//! Golden tests of the passes, and rules that every entry of the registry keeps.
//!
//! A golden is a file `tests/passes/PASS/*.txt`: comments, a graph, `---`, the graph that is expected, `---`, the remarks
//! that are expected. `golden/file.rs` describes the format. `BLESS=1 cargo test --test passes` rewrites what is
//! expected; read the difference before you commit it. `GOLDEN=part-of-a-path` runs some of them only.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skips"
)]

#[path = "golden/mod.rs"]
mod golden;

use std::collections::BTreeMap;

use golden::{Golden, Outcome};
use onnx_shrink::pass::Opts;
use onnx_shrink::passes;
use rayon::prelude::*;

#[test]
fn goldens() {
    let filter = std::env::var("GOLDEN").unwrap_or_default();
    let is_blessing = std::env::var_os("BLESS").is_some();
    let chosen: Vec<Golden> = golden::all().into_iter().filter(|g| g.name.contains(&filter)).collect();
    assert!(filter.is_empty() || !chosen.is_empty(), "no golden has `{filter}` in its path");
    let complaints: Vec<String> = chosen
        .par_iter()
        .flat_map_iter(|golden| {
            let Outcome { sections, complaints } = golden::run(golden);
            let mut complaints: Vec<String> =
                complaints.into_iter().map(|complaint| format!("{}: {complaint}", golden.name)).collect();
            match sections {
                Some(sections) if is_blessing => golden.bless(&sections),
                Some(sections) => complaints.extend(golden.differences(&sections)),
                None => {}
            }
            complaints
        })
        .collect();
    assert!(
        complaints.is_empty(),
        "{} complaints about {} goldens; where the new text is right: BLESS=1 cargo test --test passes\n\n{}\n",
        complaints.len(),
        chosen.len(),
        complaints.join("\n\n")
    );
}

#[test]
fn every_pass_has_a_golden_that_applies_and_one_that_refuses() {
    let mut goldens: BTreeMap<String, Vec<Golden>> = BTreeMap::new();
    for golden in golden::all() {
        goldens.entry(golden.pass.clone()).or_default().push(golden);
    }
    for folder in goldens.keys() {
        assert!(passes::find(folder).is_some(), "tests/passes/{folder} is not named after a pass");
    }
    for info in passes::ALL {
        let of_pass = goldens.get(info.name).map_or(&[][..], Vec::as_slice);
        assert!(of_pass.iter().any(Golden::applies), "no golden in tests/passes/{} changes its graph", info.name);
        assert!(of_pass.iter().any(Golden::refuses), "no golden in tests/passes/{} is a refusal", info.name);
    }
}

#[test]
fn every_golden_opens_with_its_intent_and_runs_its_pass() {
    for golden in golden::all() {
        assert!(golden.opens_with_intent(), "{}: the first line is no comment that says what is tested", golden.name);
        let runs_it = golden.pipeline.split(',').any(|step| step.split('=').next() == Some(&golden.pass));
        assert!(runs_it, "{}: `{}` does not run {}", golden.name, golden.pipeline, golden.pass);
    }
}

#[test]
fn defaults_of_options_parse() {
    for info in passes::ALL {
        let opts = Opts::new(info, &[]).unwrap_or_else(|e| panic!("{}: {e}", info.name));
        (info.build)(&opts).unwrap_or_else(|e| panic!("{}: {e}", info.name));
    }
}
