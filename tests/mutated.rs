//! Damaged and hostile files: decode, check, print, encode, without a panic, a hang or memory out of proportion.
//!
//! Seeded, so a failure repeats. `ONNX_SHRINK_FUZZ_SECONDS=600 cargo test --release --test mutated -- --nocapture` runs for
//! ten minutes; by default it runs a fixed number of cases.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails by a panic and says what it skipped"
)]

use std::path::Path;
use std::time::{Duration, Instant};

use bytes::Bytes;
use onnx_shrink::ir::text;
use onnx_shrink::onnx::{self, EncodeOptions, proto::ModelProto};
use peak_alloc::PeakAlloc;
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Cases of a run without `ONNX_SHRINK_FUZZ_SECONDS`.
const DEFAULT_CASES: u64 = 20_000;

/// Memory may grow to this many times the size of the file ...
const MEMORY_FACTOR: usize = 10;

/// ... and this much more, for what every run takes.
const MEMORY_BASE_BYTES: usize = 4 << 20;

/// Real models as mutation seeds: whole, and with weights cut to a few bytes so that mutations hit structure.
fn seeds() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths: Vec<_> = ["testdata", "../shared/corpus"]
        .iter()
        .filter_map(|folder| std::fs::read_dir(root.join(folder)).ok())
        .flat_map(|entries| entries.map(|entry| entry.unwrap().path()))
        .filter(|path| path.extension().is_some_and(|e| e == "onnx"))
        .collect();
    paths.sort();
    let mut seeds = Vec::new();
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let mut proto = ModelProto::decode(bytes.as_slice()).unwrap();
        for tensor in &mut proto.graph.as_mut().unwrap().initializer {
            cut(tensor);
        }
        for node in &mut proto.graph.as_mut().unwrap().node {
            node.attribute.iter_mut().filter_map(|a| a.t.as_deref_mut()).for_each(cut);
        }
        seeds.push((format!("{name} without weights"), proto.encode_to_vec()));
        if bytes.len() < 1 << 20 {
            seeds.push((name, bytes));
        }
    }
    seeds
}

/// Replaces a tensor by a tiny one of the same type.
fn cut(tensor: &mut onnx_shrink::onnx::proto::TensorProto) {
    if tensor.raw_data.as_ref().is_some_and(|raw| raw.len() > 64) {
        let size = tensor.raw_data.as_ref().map_or(0, Bytes::len) / tensor.dims.iter().product::<i64>().max(1) as usize;
        tensor.dims = vec![2];
        tensor.raw_data = Some(vec![1u8; 2 * size].into());
    }
}

fn mutate(bytes: &mut Vec<u8>, rng: &mut ChaCha8Rng) {
    for _ in 0..rng.random_range(1..=6) {
        let at = rng.random_range(0..bytes.len());
        match rng.random_range(0..8) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at.max(1)),
            3 => {
                bytes.remove(at);
            }
            4 => bytes.insert(at, rng.random()),
            5 => {
                let end = (at + rng.random_range(1..200)).min(bytes.len());
                let slice = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, slice);
            }
            6 => {
                // A length or number that claims far more than there is.
                let huge = [0xff, 0xff, 0xff, 0xff, 0x0f];
                let end = (at + huge.len()).min(bytes.len());
                bytes.splice(at..end, huge);
            }
            _ => {
                let end = (at + rng.random_range(1..100)).min(bytes.len());
                bytes.drain(at..end);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Everything a file goes through without a pass; `None` where it does not decode.
fn exercise(bytes: Bytes) -> Option<(String, Bytes)> {
    let model = onnx::decode(bytes, None).ok()?;
    let printed = text::print(&model, &text::PrintOptions::default());
    Some((printed, onnx::encode(&model, &EncodeOptions::default()).unwrap().to_bytes()))
}

#[test]
fn damaged_models_are_handled() {
    let seconds = std::env::var("ONNX_SHRINK_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).map(Duration::from_secs);
    let seeds = seeds();
    let start = Instant::now();
    let mut decoded = 0u64;
    let mut case = 0u64;
    let mut slowest = Duration::ZERO;
    while seconds.map_or(case < DEFAULT_CASES, |limit| start.elapsed() < limit) {
        let mut rng = ChaCha8Rng::seed_from_u64(case);
        let (name, seed) = &seeds[rng.random_range(0..seeds.len())];
        let mut bytes = seed.clone();
        mutate(&mut bytes, &mut rng);
        let size = bytes.len();
        let bytes = Bytes::from(bytes);
        let before = MEMORY.current_usage();
        MEMORY.reset_peak_usage();
        let began = Instant::now();
        let outcome = std::panic::catch_unwind(|| exercise(bytes));
        slowest = slowest.max(began.elapsed());
        let peak = MEMORY.peak_usage().saturating_sub(before);
        let Ok(outcome) = outcome else { panic!("case {case} of `{name}` panicked") };
        // What decodes must encode, and decode again to the same.
        if let Some((printed, encoded)) = outcome {
            decoded += 1;
            let (printed_again, encoded_again) = exercise(encoded.clone()).expect("what was encoded decodes");
            assert_eq!(printed, printed_again, "case {case} of `{name}` changed");
            assert!(encoded == encoded_again, "case {case} of `{name}` changed");
        }
        assert!(
            peak <= size * MEMORY_FACTOR + MEMORY_BASE_BYTES,
            "case {case} of `{name}`: {peak} bytes of memory for a file of {size}"
        );
        case += 1;
    }
    println!("{case} cases, {decoded} of them decoded, slowest {slowest:?}, {:?} in all", start.elapsed());
    assert!(decoded > case / 50, "only {decoded} of {case} cases got past the decoder: the mutations are too coarse");
}
