//! What large graphs cost: building, sorting, checking, printing, parsing.
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark fails by a panic")]

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use onnx_shrink::ir::check;
use onnx_shrink::ir::text::{self, PrintOptions};
use onnx_shrink::onnx::{self, EncodeOptions};

/// Operators of each graph.
const MANY: usize = 100_000;

/// Each operator reads the one before.
fn chain() -> String {
    let links: String = (0..MANY).map(|i| format!("  v{} = Relu(v{i})\n", i + 1)).collect();
    format!("g (float v0) => (float v{MANY}) {{\n{links}}}\n")
}

/// All operators read one value, and one operator reads them all.
fn fan() -> String {
    let readers: String = (1..=MANY).map(|i| format!("  v{i} = Relu(x)\n")).collect();
    let names: Vec<String> = (1..=MANY).map(|i| format!("v{i}")).collect();
    format!("g (float x) => (float y) {{\n{readers}  y = Sum({})\n}}\n", names.join(", "))
}

fn graphs(criterion: &mut Criterion) {
    for (name, graph) in [("chain", chain()), ("fan", fan())] {
        let model = text::parse(&graph).unwrap();
        let bytes = onnx::encode(&model, &EncodeOptions::default()).unwrap().to_bytes();
        let mut group = criterion.benchmark_group(name);
        group.sample_size(10);
        group.bench_function("build", |b| {
            b.iter_batched(|| bytes.clone(), |bytes| onnx::decode(bytes, None).unwrap(), BatchSize::LargeInput);
        });
        group.bench_function("sort", |b| b.iter(|| model.graph.topological_order().unwrap()));
        group.bench_function("check", |b| b.iter(|| check::structure(&model).unwrap()));
        group.bench_function("print", |b| b.iter(|| text::print(&model, &PrintOptions::default())));
        group.bench_function("parse", |b| b.iter(|| text::parse(&graph).unwrap()));
        group.finish();
    }
}

criterion_group!(benches, graphs);
criterion_main!(benches);
