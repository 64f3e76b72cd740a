//! Holds a removal against its meaning: the outputs are those of the model with the weights set to zero.

use std::path::Path;

use onnx_shrink::backend::{self, BackendChoice, LoadOptions, ModelBytes, NamedTensors};
use onnx_shrink::channels::{Channels, Removal};
use onnx_shrink::data::{self, DataOptions, Hints, Samples};
use onnx_shrink::infer::{self, GraphFacts};
use onnx_shrink::ir::{Graph, Model, Tensor, check};
use onnx_shrink::onnx::{self, EncodeOptions};

/// How far outputs may be apart, of the largest magnitude in the tensor.
const TOLERANCE: f64 = 1e-4;

/// The channels of every graph of a model: each before the graphs inside of it.
pub struct Analysis {
    pub graphs: Vec<Channels>,
    /// The groups: place of the graph, place in it, names of the layers.
    pub groups: Vec<(usize, usize, String)>,
}

/// Analyzes every graph of a model.
pub fn analyze(model: &Model) -> Analysis {
    let facts = infer::infer(model).unwrap();
    let mut analysis = Analysis { graphs: Vec::new(), groups: Vec::new() };
    below(&model.graph, facts.main(), &[], model.opset(), &mut analysis);
    analysis
}

fn below(graph: &Graph, facts: &GraphFacts, outer: &[(&Graph, &GraphFacts)], opset: i64, analysis: &mut Analysis) {
    let channels = Channels::analyze_inner(graph, facts, outer, opset).unwrap();
    let place = analysis.graphs.len();
    for (index, group) in channels.groups().iter().enumerate() {
        let layers: Vec<String> = group.layers.iter().map(|&layer| graph.node_label(layer)).collect();
        analysis.groups.push((place, index, layers.join(", ")));
    }
    analysis.graphs.push(channels);
    for node in graph.nodes() {
        for (index, inner) in graph.node(node).subgraphs().iter().enumerate() {
            let nothing = GraphFacts::default();
            let around = [outer, &[(graph, facts)]].concat();
            below(&inner.graph, facts.subgraph(node, index).unwrap_or(&nothing), &around, opset, analysis);
        }
    }
}

/// Every second class of some groups, for each graph.
pub fn half(analysis: &Analysis, groups: impl Iterator<Item = usize>) -> Vec<Removal> {
    let mut removals: Vec<Removal> = analysis.graphs.iter().map(Removal::new).collect();
    for group in groups {
        let (place, index, _) = &analysis.groups[group];
        let classes = &analysis.graphs[*place].groups()[*index].classes;
        classes.iter().skip(1).step_by(2).for_each(|&class| removals[*place].insert(class));
    }
    removals
}

/// Inputs of a model: from a file, or seeded.
pub fn samples(model: &Model, file: Option<&Path>) -> Box<dyn Samples> {
    let signature = model.signature();
    let hints = Hints::from_graph(&model.graph);
    let options = DataOptions { signature: &signature, seed: 1, hints: &hints, limit: Some(1) };
    let spec = file.map_or_else(|| "synthetic:1".to_owned(), |file| file.display().to_string());
    data::open(&spec, &options).unwrap()
}

/// The outputs of a model for one sample; of a last Sigmoid what it reads, since near 0 it leaves few digits of that. An
/// error where the backend does not run the model.
pub fn outputs(model: &Model, choice: BackendChoice, samples: &dyn Samples) -> onnx_shrink::Result<NamedTensors> {
    let graph = &model.graph;
    let judged = |output| {
        let sigmoid = graph.producer(output).map(|(node, _)| node).filter(|&node| graph.node(node).is("Sigmoid"));
        sigmoid.and_then(|node| graph.input(node, 0)).unwrap_or(output)
    };
    let taps: Vec<String> = graph.outputs().map(|output| graph.value(judged(output)).name().to_owned()).collect();
    let bytes = onnx::encode(model, &EncodeOptions::default()).unwrap().to_bytes();
    let options = LoadOptions { threads: 1, taps, ..LoadOptions::default() };
    let returned = backend::load(choice, &ModelBytes::new(bytes, None), &options)?.run(&samples.get(0).unwrap())?;
    Ok(returned.into_iter().skip(graph.outputs().len()).collect())
}

/// The model without some classes and the model with their weights at zero.
pub fn both(model: &Model, analysis: &Analysis, removals: &[Removal]) -> [Model; 2] {
    let edit = |edit: fn(&Channels, &mut Graph, &Removal) -> onnx_shrink::Result<()>| {
        let mut model = model.clone();
        let mut place = 0;
        let each = |graph: &mut Graph, _: &[String]| {
            place += 1;
            edit(&analysis.graphs[place - 1], graph, &removals[place - 1])
        };
        model.graph.edit_outer_first(&[], each).unwrap();
        model
    };
    let [removed, masked] = [edit(Channels::remove), edit(Channels::mask)];
    check::structure(&removed).unwrap();
    assert_eq!(removed.signature(), model.signature());
    [removed, masked]
}

/// How far outputs are apart, of the largest magnitude; an explanation where that is too far.
pub fn compare(expected: &NamedTensors, found: &NamedTensors) -> Result<(), String> {
    for ((name, expected), (_, found)) in expected.iter().zip(found) {
        if expected.type_text() != found.type_text() {
            return Err(format!("`{name}`: {} became {}", expected.type_text(), found.type_text()));
        }
        let (Some(old), Some(new)) = (floats(expected), floats(found)) else {
            if expected.same_as(found) { continue } else { return Err(format!("`{name}` differs")) }
        };
        let largest = old.iter().fold(0f64, |largest, v| largest.max(v.abs()));
        if !largest.is_finite() {
            return Err(format!("`{name}` is not finite"));
        }
        let worst = old
            .iter()
            .zip(&new)
            .map(|(a, b)| (a - b).abs())
            .fold(0f64, |worst, d| if d > worst || d.is_nan() { d } else { worst });
        if !(worst <= TOLERANCE * largest.max(1e-6)) {
            return Err(format!("`{name}`: {worst:e} apart, the largest is {largest:e}"));
        }
    }
    Ok(())
}

fn floats(tensor: &Tensor) -> Option<Vec<f64>> {
    tensor.to_f32().map(|values| values.into_iter().map(f64::from).collect())
}
