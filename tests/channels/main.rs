//! Channels by dependency groups: on a zoo of small nets and on real models, what is removed is what is set to zero.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::neg_cmp_op_on_partial_ord,
    unreachable_pub,
    missing_docs,
    reason = "a test fails by a panic, says what it skips, and takes NaN for a difference"
)]

mod check;
mod net;
#[path = "../support/mod.rs"]
mod support;
mod zoo;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use check::Analysis;

use onnx_shrink::backend::BackendChoice;
use onnx_shrink::channels::{Channels, Removal};
use onnx_shrink::ir::{Model, text};
use onnx_shrink::onnx;
use onnx_shrink::pass::{Cx, Env, Opts, Scratch};
use onnx_shrink::{ErrorKind, infer, passes};

const BACKENDS: [BackendChoice; 2] = [BackendChoice::OnnxRuntime, BackendChoice::Tract];

/// Compares a removal with its mask in every backend that runs the model; how many did, and what differs.
fn equivalence(model: &Model, analysis: &Analysis, removals: &[Removal], data: Option<&Path>) -> (usize, Vec<String>) {
    let samples = check::samples(model, data);
    let [removed, masked] = check::both(model, analysis, removals);
    let (mut ran, mut complaints) = (0, Vec::new());
    for choice in BACKENDS {
        let expected = match check::outputs(&masked, choice, &*samples) {
            Ok(expected) => expected,
            Err(e) if matches!(e.kind(), ErrorKind::CannotValidate | ErrorKind::Unsupported) => continue,
            Err(e) => {
                complaints.push(format!("masked, {choice:?}: {e}"));
                continue;
            }
        };
        match check::outputs(&removed, choice, &*samples) {
            Ok(found) => {
                ran += 1;
                if let Err(what) = check::compare(&expected, &found) {
                    complaints.push(format!("{choice:?}: {what}"));
                }
            }
            // What tract's optimizer makes of a model depends on its extents; ONNX Runtime has to run every one.
            Err(e) if choice == BackendChoice::Tract => println!("skipped: {}", e.what()),
            Err(e) => complaints.push(format!("{choice:?} ran the masked model only: {e}")),
        }
    }
    (ran, complaints)
}

#[test]
fn removing_is_masking_on_every_group_of_the_zoo() {
    let (mut complaints, mut groups, mut runs) = (Vec::new(), 0, 0);
    let zoo = zoo::all();
    for (name, model) in &zoo {
        let analysis = check::analyze(model);
        let count = analysis.groups.len();
        let every = (0..count).map(|group| (analysis.groups[group].2.clone(), group..group + 1));
        for (group, range) in every.chain([("all groups".to_owned(), 0..count)]) {
            let removals = check::half(&analysis, range);
            let (ran, found) = equivalence(model, &analysis, &removals, None);
            runs += ran;
            complaints.extend(found.into_iter().map(|what| format!("{name}, {group}: {what}")));
        }
        groups += count;
    }
    println!("{} nets, {groups} groups, {runs} comparisons", zoo.len());
    assert_eq!(complaints, [""; 0], "{}", complaints.join("\n"));
    assert!(runs >= groups, "only {runs} comparisons of {groups} groups");
}

/// Runs the pass and gives its remarks, one a line.
fn prune(model: &mut Model, options: &[(&str, &str)]) -> String {
    let scratch = Scratch::in_memory();
    let env = Env { seed: 1, ..Env::plain(&scratch) };
    let info = passes::find("channels").unwrap();
    let args: Vec<_> = options.iter().map(|(key, value)| (Some((*key).to_owned()), (*value).to_owned())).collect();
    let mut cx = Cx::new(&env, info.name);
    let _ = (info.build)(&Opts::new(info, &args).unwrap()).unwrap().run(model, &mut cx).unwrap();
    let mut text = String::new();
    for remark in cx.into_remarks() {
        writeln!(text, "  {:?} {}: {}", remark.kind, remark.site, remark.text).unwrap();
    }
    text
}

/// What `channels=0.5` does to every net of the zoo is written down; `BLESS=1` writes it anew, to be read.
#[test]
fn every_layer_of_the_zoo_is_halved_or_declined_with_a_reason() {
    let mut report = String::new();
    for (name, mut model) in zoo::all() {
        let channels = check::analyze(&model).graphs.remove(0);
        let before = model.clone();
        let remarks = prune(&mut model, &[("ratio", "0.5")]);
        writeln!(report, "{name}\n{remarks}").unwrap();
        let after = check::analyze(&model).graphs.remove(0);
        for layer in channels.layers() {
            let nothing = Removal::new(&channels);
            let Some((_, all)) = channels.output_channels(layer, &nothing) else { continue };
            let left = after.output_channels(layer, &Removal::new(&after)).map_or(1, |(left, _)| left);
            if channels.declined().iter().all(|declined| declined.layer != layer) {
                assert_eq!(all, 2 * left, "{name}: {}", before.graph.node_label(layer));
            }
        }
        assert!(prune(&mut model, &[("ratio", "0.5")]).contains("already"), "{name} is halved twice");
    }
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/channels/zoo.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&path, &report).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(report == expected, "zoo.txt says otherwise; `BLESS=1 cargo test --test channels` writes it anew");
}

/// Real models beside the repository.
fn corpus() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/corpus");
    let Ok(entries) = std::fs::read_dir(&folder) else {
        support::corpus::skip("no corpus beside the crate");
        return Vec::new();
    };
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|e| e == "onnx"));
    paths.sort();
    let only = std::env::var("MODEL").unwrap_or_default();
    paths.retain(|path| path.to_string_lossy().contains(&only));
    paths
}

#[test]
fn removing_is_masking_on_real_models() {
    let mut complaints = Vec::new();
    for path in corpus() {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let model = onnx::read(&path).unwrap();
        let start = Instant::now();
        let analysis = check::analyze(&model);
        let elapsed = start.elapsed();
        let count = analysis.groups.len();
        let declined: usize = analysis.graphs.iter().map(|channels| channels.declined().len()).sum();
        println!("{name}: {count} groups, {declined} layers declined, {elapsed:?}");
        let data = path.with_extension("eval.npz");
        // Each group on its own where that is a matter of seconds, else groups in four bundles.
        let is_small = std::fs::metadata(&path).unwrap().len() < 6 << 20;
        let bundles: Vec<Vec<usize>> = match is_small {
            true => (0..count).map(|group| vec![group]).collect(),
            false => (0..4).map(|rest| (0..count).filter(|group| group % 4 == rest).collect()).collect(),
        };
        for groups in bundles.into_iter().chain([(0..count).collect()]).filter(|groups| !groups.is_empty()) {
            let removals = check::half(&analysis, groups.iter().copied());
            let (_, found) = equivalence(&model, &analysis, &removals, Some(&data));
            let named = &analysis.groups[groups[0]].2;
            let more = groups.len() - 1;
            complaints.extend(found.into_iter().map(|what| format!("{name}, {named} and {more} more: {what}")));
        }
    }
    assert_eq!(complaints, [""; 0], "{}", complaints.join("\n"));
}

/// A residual chain of 2,000 operators is one group. How long that takes is printed, and never judged.
#[test]
fn a_long_residual_chain_is_one_group() {
    const BLOCKS: usize = 660;
    let mut body = String::from("  a0 = Conv(x, w)\n");
    let mut constants = String::from("float[64,3,1,1] w = rand(1), float[4,64,1,1] v = rand(1)");
    for block in 0..BLOCKS {
        write!(body, "  c{block} = Conv(a{block}, w{block})\n  r{block} = Relu(c{block})\n").unwrap();
        writeln!(body, "  a{} = Add(a{block}, r{block})", block + 1).unwrap();
        write!(constants, ", float[64,64,1,1] w{block} = rand(2)").unwrap();
    }
    let text =
        format!("g (float[1,3,8,8] x) => (float[1,4,8,8] y) <{constants}> {{\n{body}  y = Conv(a{BLOCKS}, v)\n}}");
    let model = text::parse(&text).unwrap();
    let facts = infer::infer(&model).unwrap();
    let start = Instant::now();
    let channels = Channels::analyze(&model.graph, facts.main(), 18).unwrap();
    let elapsed = start.elapsed();
    println!("{} operators: {elapsed:?}", model.node_count());
    assert_eq!((channels.groups().len(), channels.declined().len()), (1, 1));
}
