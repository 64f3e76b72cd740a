//! Which layers can be factorised, and what their weights look like.

use faer::Mat;

use super::form::{Form, Geometry, Split};
use super::options::Settings;
use crate::calib::{Layer, layer_of};
use crate::error::Result;
use crate::ir::{Graph, Model, NodeId, Tensor};
use crate::pass::Cx;
use crate::passes::common::bias::Bias;
use crate::passes::common::weights::{Weights, each_weights};

/// Before this operator set, a Gemm needs something to add.
const OPTIONAL_BIAS_OPSET: i64 = 11;

/// A layer that may be factorised.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    pub(super) weights: Weights,
    pub(super) layer: Layer,
    pub(super) geometry: Geometry,
    pub(super) bias: Option<Bias>,
    pub(super) kind: Kind,
}

/// How the operator holds its weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// `[inputs, outputs]`.
    Columns,
    /// `[outputs, inputs]`.
    Rows,
    /// `[outputs, inputs, kernel...]`.
    Conv,
}

impl Candidate {
    /// The weights, those of an output one behind the other.
    pub(super) fn rows(&self) -> Vec<f32> {
        let elements = self.weights.tensor.to_f32().unwrap_or_default();
        match self.kind {
            Kind::Columns => {
                let outputs = self.geometry.outputs;
                (0..outputs).flat_map(|output| elements.iter().skip(output).step_by(outputs).copied()).collect()
            }
            Kind::Rows | Kind::Conv => elements,
        }
    }

    /// Factors as operators hold them, in the type of the weights.
    ///
    /// # Errors
    /// Fails only where a factor does not fit its form, which is a defect.
    pub(super) fn tensors(&self, form: Form, parts: &[Mat<f64>]) -> Result<Vec<Tensor>> {
        let tensor = |(place, part): (usize, &Mat<f64>)| {
            let (shape, values) = match self.kind {
                Kind::Conv => self.kernel(form, part, place),
                Kind::Rows if place + 1 == parts.len() => {
                    (vec![part.nrows(), part.ncols()], elements(part.nrows(), part.ncols(), |i, j| part[(i, j)]))
                }
                Kind::Rows | Kind::Columns => {
                    (vec![part.ncols(), part.nrows()], elements(part.ncols(), part.nrows(), |i, j| part[(j, i)]))
                }
            };
            let shape: Vec<u64> = shape.into_iter().map(|extent| extent as u64).collect();
            Tensor::from_floats(self.weights.tensor.dtype(), shape, &values)
        };
        parts.iter().enumerate().map(tensor).collect()
    }

    /// The weights of one of the convolutions in a row.
    fn kernel(&self, form: Form, part: &Mat<f64>, place: usize) -> (Vec<usize>, Vec<f32>) {
        let kernel = &self.geometry.kernel;
        let ones = || vec![1; kernel.len()];
        let extents = match (form.inputs, place) {
            (None, 0) => kernel.clone(),
            (Some((Split::Channels, _)), 1) => kernel.clone(),
            (Some((Split::Columns, _)), 0) => vec![kernel[0], 1],
            (Some((Split::Columns, _)), 1) => vec![1, kernel[1]],
            _ => ones(),
        };
        let taps: usize = extents.iter().product();
        let inputs = part.ncols() / taps.max(1);
        // Behind a split, those of a tap lie together.
        let is_by_tap = form.inputs.is_some() && place == 1;
        let at = |row: usize, column: usize| match is_by_tap {
            true => part[(row, column % taps * inputs + column / taps)],
            false => part[(row, column)],
        };
        (([part.nrows(), inputs].into_iter().chain(extents)).collect(), elements(part.nrows(), part.ncols(), at))
    }
}

fn elements(rows: usize, columns: usize, at: impl Fn(usize, usize) -> f64) -> Vec<f32> {
    (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column))).map(|(i, j)| at(i, j) as f32).collect()
}

/// The layers of the main graph that may be factorised, in a stable order; says why where large constants belong to none.
pub(super) fn candidates(model: &Model, settings: &Settings, cx: &mut Cx<'_>) -> Vec<Candidate> {
    let (graph, opset) = (&model.graph, model.opset());
    let mut found = Vec::new();
    each_weights(graph, settings.min_elements, &settings.exclude, cx, |weights| {
        found.push(candidate(graph, opset, weights)?);
        Ok(())
    });
    found
}

fn candidate(graph: &Graph, opset: i64, weights: Weights) -> Result<Candidate, String> {
    let refuse = |reason: &str| Err(reason.to_owned());
    if !weights.role.is_factor {
        return refuse("only products and convolutions are factorised");
    }
    if !weights.tensor.is_finite() {
        return refuse("some of its values are not finite");
    }
    let Some((node, 1)) = graph.only_use(weights.value) else {
        return refuse("not the second input of one operator alone");
    };
    let (held, shape) = (graph.node(node), weights.tensor.shape());
    let extents: Vec<usize> = shape.iter().map(|&extent| extent as usize).collect();
    let product = |outputs, inputs| Geometry { outputs, inputs, kernel: Vec::new(), strides: Vec::new() };
    let (kind, geometry) = match (held.op_type(), extents.as_slice()) {
        ("MatMul", &[inputs, outputs]) => (Kind::Columns, product(outputs, inputs)),
        ("Gemm", _) if held.attr_int("transA", 0) != 0 && opset < OPTIONAL_BIAS_OPSET => {
            return refuse("before operator set 11 no Gemm without a bias can stand before it");
        }
        ("Gemm", &[outputs, inputs]) if held.attr_int("transB", 0) != 0 => (Kind::Rows, product(outputs, inputs)),
        ("Gemm", &[inputs, outputs]) => (Kind::Columns, product(outputs, inputs)),
        ("Conv", _) if held.attr_int("group", 1) != 1 => {
            return refuse("a convolution in groups has few weights to share");
        }
        ("Conv", &[outputs, inputs, ref kernel @ ..]) => {
            let strides = held.attr_ints("strides").unwrap_or_default();
            let strides: Vec<usize> = strides.iter().filter_map(|&stride| usize::try_from(stride).ok()).collect();
            let strides = if strides.len() == kernel.len() { strides } else { vec![1; kernel.len()] };
            (Kind::Conv, Geometry { outputs, inputs, kernel: kernel.to_vec(), strides })
        }
        (op_type, _) => return Err(format!("the weights of {op_type} are no matrix here")),
    };
    if held.is_kept() {
        return refuse("its operator is to be kept");
    }
    if is_factor(graph, node) {
        return refuse("a factor of a layer already");
    }
    let layer = layer_of(graph, node, shape).ok_or("its attributes make no sense")?;
    let bias = Bias::of(graph, &layer, geometry.outputs);
    let least = [
        Form { inputs: None, outputs: Some(1) },
        Form { inputs: Some((Split::Channels, 1)), outputs: Some(1) },
        Form { inputs: Some((Split::Columns, 1)), outputs: None },
    ];
    let is_possible = |form: &Form| form.inputs.is_none_or(|(split, _)| geometry.has(split)) && geometry.pays(*form);
    if !least.iter().any(is_possible) {
        return refuse("with a single rank, it would not get smaller");
    }
    Ok(Candidate { weights, layer, geometry, bias, kind })
}

/// Whether an operator multiplies what another of its kind makes of less than it reads, or the other way round, with nothing
/// between the two.
fn is_factor(graph: &Graph, node: NodeId) -> bool {
    let before = graph.input(node, 0).and_then(|input| graph.producer(input)).map(|(before, _)| before);
    let after = graph.output(node, 0).and_then(|output| graph.only_use(output)).map(|(after, _)| after);
    before.is_some_and(|before| are_factors(graph, before, node))
        || after.is_some_and(|after| are_factors(graph, node, after))
}

fn are_factors(graph: &Graph, first: NodeId, second: NodeId) -> bool {
    let is_product = |node: NodeId| {
        let held = graph.node(node);
        held.is_any(&["Gemm", "MatMul"]) || (held.is("Conv") && held.attr_int("group", 1) == 1)
    };
    let weights = |node: NodeId| graph.constant(graph.input(node, 1)?).filter(|weights| weights.rank() >= 2);
    let output = graph.output(first, 0);
    if !is_product(first)
        || !is_product(second)
        || graph.node(first).is("Conv") != graph.node(second).is("Conv")
        || graph.input(first, 2).is_some()
        || graph.input(second, 0) != output
        || output.and_then(|output| graph.only_use(output)).is_none()
    {
        return false;
    }
    let (Some(one), Some(two)) = (weights(first), weights(second)) else { return false };
    let is_rows = |node: NodeId| graph.node(node).is("Conv") || graph.node(node).attr_int("transB", 0) != 0;
    let width = one.shape()[if is_rows(first) { 0 } else { one.rank() - 1 }];
    width > 0 && width < one.len() as u64 / width && width < two.len() as u64 / width
}
