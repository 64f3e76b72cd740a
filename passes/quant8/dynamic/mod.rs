//! Products in integers with activations that are quantized on the run: no calibration data is needed.
//!
//! ```text
//! y = MatMul(x, w)  =>  x_quantized, x_scale, x_zero_point = DynamicQuantizeLinear(x)
//!                       product = MatMulInteger(x_quantized, w_quantized, x_zero_point)
//!                       y = Mul(Cast(product), Mul(x_scale, w_scale))
//! ```
//!
//! This is the form that ONNX Runtime merges into one kernel, with an Add of a bias behind it too: the scale of the
//! activations comes first in the product of scales, and that product is multiplied at once. Products of the same
//! activations share one DynamicQuantizeLinear. Gemm becomes the same, with its alpha in the scales and what it adds in an
//! Add behind.
//!
//! With calibration data, channels of the activations that are much larger than the rest are computed in float beside the
//! integers. Ranges are measured on every run, so these channels are zeros in what is quantized.
//!
//! Left in float arithmetic, with 8-bit weights: convolutions, which no runtime computes fast this way; small matrices;
//! matrices on the left; weights that something else reads too.

mod product;

use std::collections::BTreeMap;

use self::product::{Bias, Product, products};
use super::affine::{Layout, quantize_weights, weight_scales};
use super::kernel::{Kernel, Tail};
use super::levels::Levels;
use super::options::Settings;
use super::platform::Platform;
use super::split::{self, Beside, Split};
use super::{calibrate, weights};
use crate::error::{ErrorKind, Result};
use crate::infer::{GraphFacts, infer};
use crate::ir::{DType, Graph, Model, NodeSpec, Tensor, ValueId, ValueType};
use crate::opset::upgrade::upgrade;
use crate::pass::{Changed, Cx, counted};

/// DynamicQuantizeLinear came with this operator set.
const FIRST_OPSET: i64 = 11;

/// Quantizes the products of every graph of the model, and the weights of everything else.
///
/// # Errors
/// Fails where calibration data cannot be read or run, weights cannot be kept until they are written, or an edit fails,
/// which is a defect.
pub(super) fn quantize(model: &mut Model, settings: &Settings, cx: &mut Cx<'_>) -> Result<Changed> {
    if !settings.platform.has_dynamic {
        cx.note("weights: arithmetic stays float, since the runtime it is made for quantizes nothing on the run");
        return weights::quantize(model, settings, cx);
    }
    let mut draft = model.clone();
    let upgraded = match upgrade(&mut draft, FIRST_OPSET) {
        Ok(upgraded) => upgraded,
        Err(error) if error.kind() == ErrorKind::Unsupported => {
            cx.note(format!("weights: arithmetic stays float, since {}", error.what()));
            return weights::quantize(model, settings, cx);
        }
        Err(error) => return Err(error),
    };
    let mut remarks = Cx::new(cx.env, super::INFO.name);
    let inference = infer(&draft)?;
    let splits = find_splits(&draft, inference.main(), settings, &mut remarks)?;
    let (mut count, mut of_main) = (0, Beside::default());
    draft.edit_graphs(|graph, path| {
        remarks.enter(path);
        let is_main = path.is_empty();
        let levels = if is_main { settings.levels.clone() } else { Levels::default() };
        let order = graph.topological_order()?;
        let facts = if is_main { inference.main() } else { &GraphFacts::default() };
        let products = products(graph, &order, facts, settings, &levels, &mut remarks);
        count += products.len();
        let splits = if is_main { &splits } else { &BTreeMap::new() };
        let beside = if is_main { &mut of_main } else { &mut Beside::default() };
        let mut editor = Editor { graph, splits, quantized: BTreeMap::new(), weights: BTreeMap::new(), beside };
        editor.replace(products, settings.platform, &mut remarks)
    })?;
    remarks.enter(&[]);
    cx.append(remarks);
    if count == 0 {
        cx.note("weights: arithmetic stays float, since there is no product that integers serve");
        return weights::quantize(model, settings, cx);
    }
    if let Some(upgraded) = upgraded {
        cx.note(format!("{upgraded}: quantizing on the run needs it"));
    }
    let outliers = match (cx.env.calibration, splits.len()) {
        (None, _) => "; without calibration data, outlier channels are not known and not kept apart".to_owned(),
        (Some(_), 0) => String::new(),
        (Some(_), found) => format!("; outlier channels of {} in float", counted(found, "activation")),
    };
    let products = counted(count, "product");
    cx.note(format!("dynamic: {products} in integers, with ranges measured on every run{outliers}"));
    *model = draft;
    let _ = weights::quantize(model, &settings.with_levels(of_main.keep(&settings.levels)), cx)?;
    Ok(Changed::Yes)
}

/// Measures which activations have outliers: those that only products read in integers, each with weights of its own.
fn find_splits(
    model: &Model,
    facts: &GraphFacts,
    settings: &Settings,
    cx: &mut Cx<'_>,
) -> Result<BTreeMap<ValueId, Split>> {
    let (Some(samples), 1..) = (cx.env.calibration, settings.outliers) else { return Ok(BTreeMap::new()) };
    let graph = &model.graph;
    let order = graph.topological_order()?;
    let mut readers: BTreeMap<ValueId, bool> = BTreeMap::new();
    let mut draft = Cx::new(cx.env, super::INFO.name);
    for product in products(graph, &order, facts, settings, &settings.levels, &mut draft) {
        *readers.entry(product.input).or_insert(true) &= graph.use_count(product.weight) == 1;
    }
    let values: Vec<ValueId> = readers.into_iter().filter(|(_, fits)| *fits).map(|(value, _)| value).collect();
    if values.is_empty() {
        return Ok(BTreeMap::new());
    }
    match calibrate::channels(model, &values, samples, cx.env) {
        Ok(channels) => Ok(channels
            .into_iter()
            .filter_map(|(value, channels)| Some((value, Split::choose(&channels, settings.outliers)?)))
            .collect()),
        Err(error) if error.kind() == ErrorKind::CannotValidate => {
            cx.note(format!("outlier channels are not known, since the model could not be run: {}", error.what()));
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error),
    }
}

/// What DynamicQuantizeLinear writes.
#[derive(Debug, Clone, Copy)]
struct Quantized {
    values: ValueId,
    scale: ValueId,
    zero_point: ValueId,
}

struct Editor<'g> {
    graph: &'g mut Graph,
    splits: &'g BTreeMap<ValueId, Split>,
    /// Activations that are quantized already.
    quantized: BTreeMap<ValueId, Quantized>,
    /// Weights that are quantized already, with their scales.
    weights: BTreeMap<ValueId, (ValueId, Vec<f32>)>,
    beside: &'g mut Beside,
}

impl Editor<'_> {
    fn replace(&mut self, products: Vec<Product>, platform: Platform, cx: &mut Cx<'_>) -> Result<()> {
        for product in products {
            let site = self.graph.site(product.node).with_tensor(self.graph.value(product.weight).describe());
            let outliers = self.splits.get(&product.input).map_or(0, |split| split.outliers.len());
            let snr_db = self.replace_one(product, platform, cx)?;
            let mut figures = vec![("weight_snr_db", snr_db)];
            figures.extend((outliers > 0).then_some(("outlier_channels", outliers as f64)));
            // Of weights that several products read, the first tells.
            figures.retain(|(_, figure)| !figure.is_nan());
            cx.measured(site, "integer arithmetic, activations quantized on the run", &figures);
        }
        Ok(())
    }

    /// Replaces one product and says how well its weights are kept; NaN where another product has said so.
    fn replace_one(&mut self, mut product: Product, platform: Platform, cx: &mut Cx<'_>) -> Result<f64> {
        let (node, name) = (product.node, self.graph.value(product.weight).name().to_owned());
        if let Some(split) = self.splits.get(&product.input) {
            product.tensor = split::apply(self.graph, &kernel(&product, split), self.beside)?;
            let layout = Layout::along(product.tensor.shape(), &(product.axis..product.axis + 1));
            product.scales = weight_scales(&product.tensor, layout).unwrap_or(product.scales);
        }
        product.scales = platform.weight_scales(&product.scales);
        let activations = self.quantize_input(&product)?;
        let (weights, scales, snr_db) = self.quantize_weights(&product, &name, cx)?;
        let Some(output) = self.graph.output(node, 0) else { return Ok(snr_db) };
        let scales: Vec<f32> = scales.iter().map(|scale| scale * product.alpha).collect();
        let scales = Tensor::from_f32([scales.len() as u64], &scales)?;
        let scales = self.constant(&format!("{name}_scale"), scales, &product)?;
        let (bias, spent) = match &product.bias {
            None => (None, None),
            Some(Bias::Value(value)) => (Some(*value), None),
            Some(Bias::Scaled(value, tensor)) => {
                let name = format!("{}_scaled", self.graph.value(*value).name());
                (Some(self.constant(&name, tensor.clone(), &product)?), Some(*value))
            }
        };
        let base = self.graph.value(output).name().to_owned();
        let node_name = self.graph.node(node).name().to_owned();
        // The operator stays until what takes its place stands beside it.
        let old = self.graph.add_value(&format!("{base}_old"), ValueType::Unknown);
        self.graph.set_output(node, 0, old)?;
        let inputs = [activations.values, weights, activations.zero_point];
        let integers = self.graph.add_op(NodeSpec::new("MatMulInteger"), &inputs, &format!("{base}_product"), node)?;
        let cast = NodeSpec::new("Cast").attr("to", i64::from(DType::F32.to_onnx()));
        let cast = self.graph.add_op(cast, &[integers], &format!("{base}_cast"), node)?;
        let inputs = [activations.scale, scales];
        let scale = self.graph.add_op(NodeSpec::new("Mul"), &inputs, &format!("{base}_scale"), node)?;
        let scaled = match bias {
            Some(_) => self.graph.add_value(&format!("{base}_unbiased"), ValueType::Unknown),
            None => output,
        };
        self.graph.add_node(NodeSpec::new("Mul"), &[Some(cast), Some(scale)], &[scaled], node)?;
        if let Some(bias) = bias {
            self.graph.add_node(NodeSpec::new("Add"), &[Some(scaled), Some(bias)], &[output], node)?;
        }
        self.graph.remove_node(node)?;
        if let Some((product, _)) = self.graph.producer(integers) {
            self.graph.set_node_name(product, &node_name)?;
        }
        for constant in [Some(product.weight), spent].into_iter().flatten() {
            self.graph.remove_unread_constant(constant)?;
        }
        Ok(snr_db)
    }

    /// What quantizes an activation, without its outliers.
    fn quantize_input(&mut self, product: &Product) -> Result<Quantized> {
        let (input, near) = (product.input, product.node);
        if let Some(&quantized) = self.quantized.get(&input) {
            return Ok(quantized);
        }
        let name = self.graph.value(input).name().to_owned();
        let rest = match self.splits.get(&input) {
            None => input,
            Some(split) => {
                let channels = product.tensor.shape()[1 - product.axis];
                let keep = |channel: u64| if split.outliers.contains(&(channel as usize)) { 0.0 } else { 1.0 };
                let mask = Tensor::from_f32([channels], &(0..channels).map(keep).collect::<Vec<f32>>())?;
                let mask = self.graph.add_initializer(&format!("{name}_inlier_channels"), mask);
                self.graph.add_op(NodeSpec::new("Mul"), &[input, mask], &format!("{name}_inliers"), near)?
            }
        };
        let mut output = |what: &str| self.graph.add_value(&format!("{name}_{what}"), ValueType::Unknown);
        let (values, scale, zero_point) = (output("quantized"), output("scale"), output("zero_point"));
        let outputs = [values, scale, zero_point];
        self.graph.add_node(NodeSpec::new("DynamicQuantizeLinear"), &[Some(rest)], &outputs, near)?;
        let quantized = Quantized { values, scale, zero_point };
        self.quantized.insert(input, quantized);
        Ok(quantized)
    }

    /// The 8-bit weights, a row for each input channel, and their scales.
    fn quantize_weights(&mut self, product: &Product, name: &str, cx: &Cx<'_>) -> Result<(ValueId, Vec<f32>, f64)> {
        if let Some((weights, scales)) = self.weights.get(&product.weight) {
            return Ok((*weights, scales.clone(), f64::NAN));
        }
        let (tensor, shape) = (&product.tensor, product.tensor.shape());
        let layout = Layout::along(shape, &(product.axis..product.axis + 1));
        let quantized = quantize_weights(tensor, layout, product.scales.clone());
        let snr_db = quantized.energy.snr_db();
        let weights = if product.axis == 0 {
            let turned = transposed(&quantized.values, shape[1] as usize);
            Tensor::new(DType::I8, [shape[1], shape[0]], cx.env.scratch.park(turned)?)?
        } else {
            Tensor::new(DType::I8, shape, cx.env.scratch.park(quantized.values)?)?
        };
        let weights = self.constant(&format!("{name}_quantized"), weights, product)?;
        self.weights.insert(product.weight, (weights, product.scales.clone()));
        Ok((weights, product.scales.clone(), snr_db))
    }

    /// A new constant, stored as the weights of the product are: function bodies have no initializers.
    fn constant(&mut self, name: &str, tensor: Tensor, product: &Product) -> Result<ValueId> {
        if self.graph.value(product.weight).initializer().is_some() {
            return Ok(self.graph.add_initializer(name, tensor));
        }
        self.graph.add_op(NodeSpec::new("Constant").attr("value", tensor), &[], name, product.node)
    }
}

/// The product as `split` takes it.
fn kernel(product: &Product, split: &Split) -> Kernel {
    Kernel {
        node: product.node,
        input: product.input,
        weight: product.weight,
        tensor: product.tensor.clone(),
        axis: product.axis..product.axis + 1,
        scales: product.scales.clone(),
        bias: None,
        tail: Tail { value: product.input, bound: None },
        needs_quantized_output: false,
        outliers: split.outliers.clone(),
    }
}

/// The bytes of a matrix with that many columns, turned.
fn transposed(values: &[u8], columns: usize) -> Vec<u8> {
    let rows = values.len() / columns.max(1);
    (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column])).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn matrices_are_turned() {
        assert_eq!(transposed(&[1, 2, 3, 4, 5, 6], 3), [1, 4, 2, 5, 3, 6]);
        assert_eq!(transposed(&[], 3), [0u8; 0]);
    }
}
