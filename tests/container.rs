//! Packed models: what is packed comes back byte for byte, and what is damaged gives an error, no panic, and no memory
//! out of proportion.
//!
//! Seeded, so a failure repeats. `ONNX_SHRINK_FUZZ_SECONDS=600` mutates for that long.
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
use onnx_shrink::container::{is_packed, pack, pack_file, unpack, unpack_file};
use onnx_shrink::input::Input;
use onnx_shrink::onnx::proto::tensor_proto::DataType;
use onnx_shrink::onnx::proto::{GraphProto, ModelProto, OperatorSetIdProto, TensorProto};
use peak_alloc::PeakAlloc;
use prost::Message;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Cases of a run without `ONNX_SHRINK_FUZZ_SECONDS`.
const DEFAULT_CASES: u64 = 400;

/// What unpacking may hold: a few blocks of 4 MiB for each thread, and the tables of their contexts.
const MEMORY_BYTES: usize = 256 << 20;

/// A model of one tensor of each kind, odd in its length and with zeros, and another beyond a block.
fn model(seed: u64) -> Bytes {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let kinds = [
        (DataType::Int8, 1, 33),
        (DataType::Uint8, 1, 4097),
        (DataType::Float16, 2, 3001),
        (DataType::Bfloat16, 2, 7),
        (DataType::Float, 4, 5000),
        (DataType::Float, 4, 11),
        (DataType::Int64, 8, 100),
        (DataType::Float, 4, (5 << 20) / 4),
    ];
    let initializer = kinds.iter().enumerate().map(|(index, &(kind, size, count))| TensorProto {
        name: Some(format!("w{index}")),
        data_type: Some(kind as i32),
        dims: vec![1, count as i64],
        raw_data: Some(
            (0..count)
                .flat_map(|_| {
                    let zero = index % 2 == 0 && rng.random_bool(0.8);
                    (0..size).map(|_| if zero { 0 } else { rng.random_range(0..40u8) }).collect::<Vec<u8>>()
                })
                .collect::<Vec<u8>>()
                .into(),
        ),
        ..TensorProto::default()
    });
    let graph = GraphProto { name: Some("g".into()), initializer: initializer.collect(), ..GraphProto::default() };
    let opset = OperatorSetIdProto { domain: None, version: Some(17) };
    let model = ModelProto { ir_version: Some(8), graph: Some(graph), opset_import: vec![opset], ..Default::default() };
    model.encode_to_vec().into()
}

fn packed(file: &Bytes) -> Vec<u8> {
    let mut out = Vec::new();
    pack(file, &mut out).unwrap();
    assert!(is_packed(&out));
    out
}

#[test]
fn every_kind_of_tensor_comes_back() {
    let file = model(1);
    let small = packed(&file);
    assert!(small.len() < file.len() * 3 / 4, "{} of {}", small.len(), file.len());
    let mut back = Vec::new();
    unpack(&small, &mut back).unwrap();
    assert!(back == file, "the bytes differ");
}

#[test]
fn the_result_does_not_hang_on_threads() {
    let file = model(2);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap().install(|| packed(&file));
    let four = rayon::ThreadPoolBuilder::new().num_threads(4).build().unwrap().install(|| packed(&file));
    assert!(one == four, "the bytes differ");
}

#[test]
fn real_models_come_back_and_are_read_packed() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata");
    let mut seen = 0;
    for entry in std::fs::read_dir(root).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "onnx") || Input::open(&path).is_ok_and(|i| i.side_bytes() > 0) {
            continue;
        }
        let (small, back) = (folder.path().join("m.onnxz"), folder.path().join("m.onnx"));
        pack_file(&path, &small).unwrap();
        unpack_file(&small, &back).unwrap();
        assert!(std::fs::read(&path).unwrap() == std::fs::read(&back).unwrap(), "{}", path.display());
        let (plain, read) = (Input::open(&path).unwrap(), Input::open(&small).unwrap());
        assert!(plain.file.bytes() == read.file.bytes(), "{}", path.display());
        seen += 1;
    }
    assert!(seen > 0, "no models in testdata");
}

#[test]
fn damage_is_an_error_without_output() {
    let small = packed(&model(3));
    let folder = tempfile::tempdir().unwrap();
    let (path, out) = (folder.path().join("m.onnxz"), folder.path().join("m.onnx"));
    for cut in [0, 3, 7, 8, 20, small.len() / 2, small.len() - 1] {
        std::fs::write(&path, &small[..cut]).unwrap();
        assert!(unpack_file(&path, &out).is_err(), "cut to {cut}");
        assert!(!out.exists());
    }
    let mut longer = small.clone();
    longer.push(0);
    assert!(unpack(&longer, &mut Vec::new()).unwrap_err().to_string().contains("after its end"));
    let mut other = small.clone();
    other[7] = 9;
    assert!(unpack(&other, &mut Vec::new()).unwrap_err().to_string().contains("version 9"));
    // Lengths that claim far more than there is.
    let mut huge = small[..8].to_vec();
    huge.extend([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5, 0]);
    assert!(unpack(&huge, &mut Vec::new()).is_err());
}

#[test]
fn mutated_files_are_handled() {
    let seconds = std::env::var("ONNX_SHRINK_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).map(Duration::from_secs);
    let small = packed(&model(4));
    let file = model(4);
    let start = Instant::now();
    for case in 0.. {
        match seconds {
            Some(seconds) if start.elapsed() > seconds => break,
            None if case == DEFAULT_CASES => break,
            _ => {}
        }
        let mut rng = ChaCha8Rng::seed_from_u64(case);
        let mut bytes = small.clone();
        // Mostly where lengths are: in the head of the file and of its first block.
        let near = if rng.random_bool(0.7) { 200 } else { bytes.len() };
        let at = rng.random_range(0..near.min(bytes.len()));
        match rng.random_range(0..4) {
            0 => bytes[at] ^= 1 << rng.random_range(0..8),
            1 => bytes[at] = rng.random(),
            2 => bytes.truncate(at),
            _ => drop(bytes.splice(at..at + 1, [0xff, 0xff, 0xff, 0x7f])),
        }
        MEMORY.reset_peak_usage();
        let before = MEMORY.current_usage();
        let mut out = Vec::new();
        if unpack(&bytes, &mut out).is_ok() {
            assert!(out == file, "case {case}: wrong bytes without an error");
        }
        let grown = MEMORY.peak_usage().saturating_sub(before);
        assert!(grown < MEMORY_BYTES, "case {case}: {grown} bytes of memory");
    }
}
