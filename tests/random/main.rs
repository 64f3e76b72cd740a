//! Random graphs under random pipelines: every result computes what its original does.
//!
//! Seeded, so a failure repeats: it prints the seed, the pipeline and the graph, both made as small as they get.
//! `ONNX_SHRINK_RANDOM_GRAPHS=10000 cargo test --release --test random -- --nocapture` runs so many graphs;
//! `ONNX_SHRINK_RANDOM_SEED=42` begins at that seed.
#![cfg(feature = "onnxruntime")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skipped"
)]

mod draft;
mod generator;
mod harness;
mod operators;
mod pipeline;
mod planted;
mod shrink;

#[path = "../support/corpus.rs"]
#[allow(dead_code, unreachable_pub, reason = "a part of the helpers is used here")]
mod corpus;

use std::collections::BTreeMap;

use harness::Judged;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;

/// Graphs of a run without `ONNX_SHRINK_RANDOM_GRAPHS`.
const DEFAULT_GRAPHS: u64 = 150;

/// Failures that are made smaller and printed; more would take long and say little.
const MAX_REPORTED: usize = 12;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().expect("a number"))
}

#[test]
fn random_pipelines_keep_the_results_of_random_graphs() {
    if !harness::has_onnxruntime() {
        return corpus::skip("ONNX Runtime is not installed");
    }
    let first = number("ONNX_SHRINK_RANDOM_SEED").unwrap_or(0);
    let graphs = number("ONNX_SHRINK_RANDOM_GRAPHS").unwrap_or(DEFAULT_GRAPHS);
    let outcomes: Vec<_> = (first..first + graphs)
        .into_par_iter()
        .map(|seed| {
            let draft = generator::draw(seed);
            let steps = pipeline::draw(draft.opset, &mut ChaCha8Rng::seed_from_u64(!seed));
            let outcome = harness::judge_pipeline(&draft, &steps);
            (seed, draft.lines.len(), operators_of(&draft), steps, outcome)
        })
        .collect();
    let count = |wanted: Judged| outcomes.iter().filter(|(.., o)| o.as_ref().is_ok_and(|o| *o == wanted)).count();
    let changed = count(Judged::Same { changed: true });
    let not_run = count(Judged::NotRun);
    let lost = count(Judged::LostByOptimizer);
    let mut operators: BTreeMap<&str, usize> = BTreeMap::new();
    for op in outcomes.iter().flat_map(|outcome| &outcome.2) {
        *operators.entry(op).or_default() += 1;
    }
    let nodes: usize = outcomes.iter().map(|outcome| outcome.1).sum();
    println!("{graphs} graphs, {nodes} nodes, {} operators: {operators:?}", operators.len());
    println!("{changed} changed and compared, {not_run} that ONNX Runtime does not run, {lost} that it damages");
    let failed: Vec<_> =
        outcomes.iter().filter_map(|(seed, .., steps, o)| Some((seed, steps, o.as_ref().err()?))).collect();
    for (seed, steps, failure) in failed.iter().take(MAX_REPORTED) {
        let judge: &shrink::Judge<'_> = &|draft, steps| harness::judge_pipeline(draft, steps);
        let (draft, fewer, smaller) =
            shrink::shrink(generator::draw(**seed), steps.to_vec(), (*failure).clone(), judge);
        println!("\nseed {seed}, pipeline {} of {}\n{smaller}\n{}", fewer.join(","), steps.join(","), draft.text());
    }
    let seeds: Vec<_> = failed.iter().map(|(seed, _, failure)| (seed, failure.sort)).collect();
    assert!(failed.is_empty(), "{} of {graphs} graphs came out different: {seeds:?}", failed.len());
    assert!(not_run as u64 * 20 <= graphs, "ONNX Runtime runs too few of the graphs: the generator is wrong");
    assert!(lost as u64 <= 1 + graphs / 1000, "ONNX Runtime damages {lost} of {graphs} results");
    assert!(changed as u64 * 4 >= graphs, "pipelines change too few of the graphs to say anything");
    assert!(graphs < DEFAULT_GRAPHS || operators.len() >= 60, "only {} operators", operators.len());
}

/// The operators of a graph and of the graphs inside of it; `local` for calls of functions.
fn operators_of(draft: &draft::Draft) -> Vec<String> {
    let lines = draft.lines.iter().flat_map(|line| line.text.lines());
    let op = |line: &str| {
        let call = line.split_once(" = ")?.1;
        let op = call[..call.find(['<', '('])?].split('.').next()?.to_owned();
        Some(op).filter(|op| op.chars().all(char::is_alphanumeric))
    };
    lines.filter_map(op).collect()
}
