//! Puts packed weights and what restores them in the place of a constant.
//!
//! ```text
//! cast:         w = Reshape(Mul(Sub(Cast(levels), Cast(zeros)), Cast(scales)), shape)
//! dq:           w = DequantizeLinear<axis = 0, block_size>(levels, scales, zeros)         Gemm: transB is taken away
//! matmulnbits:  MatMul(x, w)  =>  com.microsoft.MatMulNBits(x, levels, scales, zeros)     Gemm: and an Add of the bias
//! ```
//!
//! The first form takes any tensor. The other two are for kernels: they need a matrix that one operator multiplies from the
//! right, and blocks of a power of two. Where restored weights stay, they keep the name of the weights, so whoever reads
//! them, in whatever graph, reads on.

use super::options::Format;
use super::packed::{Packed, pack_nibbles};
use crate::error::Result;
use crate::ir::{DType, Graph, NodeId, NodeSpec, Shape, Tensor, ValueId, ValueType};

/// The domain of ONNX Runtime's own operators, and its only version.
pub(super) const RUNTIME_DOMAIN: (&str, i64) = ("com.microsoft", 1);

/// The shortest and the longest block that kernels take.
const KERNEL_BLOCKS: std::ops::RangeInclusive<usize> = 16..=256;

/// Kernels may round what is multiplied to 8 bits, as they do where a DequantizeLinear becomes one.
const ACCURACY_LEVEL: i64 = 4;

/// A constant to replace.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'t> {
    pub(super) value: ValueId,
    pub(super) tensor: &'t Tensor,
    /// The first operator that reads it: what restores it stands beside it.
    pub(super) reader: NodeId,
}

/// The operator that alone multiplies by a matrix, from the right, as kernels can.
pub(super) fn product(graph: &Graph, place: Place<'_>) -> Option<NodeId> {
    let (node, slot) = graph.only_use(place.value)?;
    let held = graph.node(node);
    let is_matrix = slot == 1 && place.tensor.rank() == 2 && place.tensor.dtype() == DType::F32;
    let is_plain = held.is("MatMul")
        || (held.is("Gemm")
            && held.attr_int("transA", 0) == 0
            && held.attr_float("alpha", 1.0) == 1.0
            && held.attr_float("beta", 1.0) == 1.0);
    (is_matrix && is_plain).then_some(node)
}

/// The format that a tensor can have, as near to the one wanted as there is.
pub(super) fn format_of(wanted: Format, graph: &Graph, place: Place<'_>, block: usize, is_four_bits: bool) -> Format {
    let fits = is_four_bits && block.is_power_of_two() && KERNEL_BLOCKS.contains(&block);
    if fits && product(graph, place).is_some() { wanted } else { Format::Cast }
}

/// Replaces a constant; initializers stay initializers, and `Constant` operators stay such, which function bodies need.
///
/// # Errors
/// Fails only where an edit does, which is a defect.
pub(super) fn replace(graph: &mut Graph, place: Place<'_>, packed: &Packed, format: Format) -> Result<()> {
    match (format, product(graph, place)) {
        (Format::Dq, Some(node)) => replace_by_dequantize(graph, place, packed, node),
        (Format::MatMulNBits, Some(node)) => replace_product(graph, place, packed, node),
        _ => replace_by_cast(graph, place, packed),
    }
}

/// What adds constants where the replaced one stood.
struct Constants {
    name: String,
    /// The operator beside which `Constant` operators are to stand; none for initializers.
    beside: Option<NodeId>,
}

impl Constants {
    /// Takes the old constant away, and leaves its value to be defined.
    fn in_place_of(graph: &mut Graph, place: Place<'_>) -> Result<Self> {
        let name = graph.value(place.value).name().to_owned();
        let beside = match graph.producer(place.value) {
            Some((constant, _)) => {
                graph.detach_node(constant)?;
                Some(place.reader)
            }
            None => {
                graph.take_initializer(place.value)?;
                None
            }
        };
        Ok(Self { name, beside })
    }

    fn add(&self, graph: &mut Graph, suffix: &str, tensor: Tensor) -> Result<ValueId> {
        let name = format!("{}_{suffix}", self.name);
        match self.beside {
            Some(near) => graph.add_op(NodeSpec::new("Constant").attr("value", tensor), &[], &name, near),
            None => Ok(graph.add_initializer(&name, tensor)),
        }
    }
}

fn replace_by_cast(graph: &mut Graph, place: Place<'_>, packed: &Packed) -> Result<()> {
    let Place { value, tensor, reader } = place;
    let dtype = tensor.dtype();
    let Shapes { levels: level_shape, scales: scale_shape } = shapes(tensor.shape(), packed);
    let is_reshaped = level_shape != tensor.shape();
    let constants = Constants::in_place_of(graph, place)?;
    let name = constants.name.clone();
    graph.set_type(value, ValueType::tensor(dtype, Some(Shape::fixed(tensor.shape().iter().copied()))))?;
    let cast = || NodeSpec::new("Cast").attr("to", i64::from(dtype.to_onnx()));
    let levels = Tensor::new(packed.dtype(), level_shape, packed.levels.clone())?;
    let levels = constants.add(graph, "quantized", levels)?;
    let mut weights = graph.add_op(cast(), &[levels], &format!("{name}_cast"), reader)?;
    if let Some(zeros) = &packed.zeros {
        let zeros = Tensor::new(packed.dtype(), scale_shape.clone(), pack_nibbles(zeros))?;
        let zeros = constants.add(graph, "zero_point", zeros)?;
        let zeros = graph.add_op(cast(), &[zeros], &format!("{name}_zero_cast"), reader)?;
        weights = graph.add_op(NodeSpec::new("Sub"), &[weights, zeros], &format!("{name}_centred"), reader)?;
    }
    let scale_dtype = if packed.grid.has_half_scales { DType::F16 } else { DType::F32 };
    let mut scales = constants.add(graph, "scale", Tensor::from_floats(scale_dtype, scale_shape, &packed.scales)?)?;
    if scale_dtype != dtype {
        scales = graph.add_op(cast(), &[scales], &format!("{name}_scale_cast"), reader)?;
    }
    if !is_reshaped {
        graph.add_node(NodeSpec::new("Mul"), &[Some(weights), Some(scales)], &[value], reader)?;
        return Ok(());
    }
    let scaled = graph.add_op(NodeSpec::new("Mul"), &[weights, scales], &format!("{name}_scaled"), reader)?;
    let extents: Vec<i64> = tensor.shape().iter().map(|&extent| extent as i64).collect();
    let shape = constants.add(graph, "shape", Tensor::from_i64(vec![extents.len() as u64], &extents)?)?;
    graph.add_node(NodeSpec::new("Reshape"), &[Some(scaled), Some(shape)], &[value], reader)?;
    Ok(())
}

struct Shapes {
    levels: Vec<u64>,
    scales: Vec<u64>,
}

/// The shapes under which scales broadcast to levels: the tensor's own where rows are not divided.
fn shapes(shape: &[u64], packed: &Packed) -> Shapes {
    let layout = packed.layout;
    let (outer, inner) = (layout.outer as u64, layout.inner as u64);
    if layout.blocks() > 1 {
        let mut levels = vec![outer, layout.blocks() as u64, layout.block as u64, inner];
        let mut scales = vec![outer, layout.blocks() as u64, 1, inner];
        // Extents of 1 at either end say nothing.
        for shape in [&mut levels, &mut scales] {
            if inner == 1 {
                shape.pop();
            }
            if outer == 1 {
                shape.remove(0);
            }
        }
        return Shapes { levels, scales };
    }
    // Leading axes whose entries are rows, then those of the row, then trailing axes whose entries are rows again.
    let leading = axes_that_number(shape.iter(), outer);
    let trailing = axes_that_number(shape.iter().rev(), inner);
    let is_row = |axis: usize| axis < leading || axis >= shape.len() - trailing;
    let scales = shape.iter().enumerate().map(|(axis, &extent)| if is_row(axis) { extent } else { 1 }).collect();
    Shapes { levels: shape.to_vec(), scales }
}

/// How many axes it takes for their entries to number so many.
fn axes_that_number<'a>(extents: impl Iterator<Item = &'a u64>, count: u64) -> usize {
    let mut product = 1;
    extents
        .take_while(|&&extent| {
            let is_short = product < count;
            product *= extent;
            is_short
        })
        .count()
}

fn replace_by_dequantize(graph: &mut Graph, place: Place<'_>, packed: &Packed, node: NodeId) -> Result<()> {
    let Place { value, reader, .. } = place;
    // The kernel wants [depth, columns], whatever the order was: the rows of the layout are the columns of that matrix.
    let layout = super::layout::Layout { outer: 1, inner: packed.layout.rows(), ..packed.layout };
    let in_columns = |values: &[i8]| layout.blocks_from_rows(&packed.layout.blocks_to_rows(values));
    let (depth, columns, blocks) = (layout.depth as u64, layout.inner as u64, layout.blocks() as u64);
    let constants = Constants::in_place_of(graph, place)?;
    let levels = pack_nibbles(&layout.out_of_rows(&packed.level_rows()));
    let scales = layout.blocks_from_rows(&packed.layout.blocks_to_rows(&packed.scales));
    let mut inputs = vec![
        Some(constants.add(graph, "quantized", Tensor::new(packed.dtype(), vec![depth, columns], levels)?)?),
        Some(constants.add(graph, "scale", Tensor::from_f32(vec![blocks, columns], &scales)?)?),
    ];
    if let Some(zeros) = &packed.zeros {
        let zeros = Tensor::new(packed.dtype(), vec![blocks, columns], pack_nibbles(&in_columns(zeros)))?;
        inputs.push(Some(constants.add(graph, "zero_point", zeros)?));
    }
    graph.set_type(value, ValueType::tensor(DType::F32, Some(Shape::fixed([depth, columns]))))?;
    let spec = NodeSpec::new("DequantizeLinear").attr("axis", 0).attr("block_size", layout.block as i64);
    graph.add_node(spec, &inputs, &[value], reader)?;
    graph.remove_attr(node, "transB")?;
    Ok(())
}

fn replace_product(graph: &mut Graph, place: Place<'_>, packed: &Packed, node: NodeId) -> Result<()> {
    let (depth, columns, blocks) = (packed.layout.depth, packed.layout.rows(), packed.layout.blocks());
    let (rows, output) = (graph.input(node, 0), graph.output(node, 0));
    let bias = graph.input(node, 2);
    let Some(output) = output else { return Ok(()) };
    let name = graph.node(node).name().to_owned();
    let constants = Constants::in_place_of(graph, place)?;
    // Levels are unsigned here, and 8 means 0 where no zeros are given.
    let shift = if packed.grid.has_zeros { 0 } else { 8 };
    let levels: Vec<i8> = packed.level_rows().into_iter().map(|level| level + shift).collect();
    let shape = vec![columns as u64, blocks as u64, packed.layout.block as u64 / 2];
    let levels = constants.add(graph, "quantized", Tensor::from_u8(shape, pack_nibbles(&levels))?)?;
    let scales = packed.layout.blocks_to_rows(&packed.scales);
    let scales = constants.add(graph, "scale", Tensor::from_f32(vec![columns as u64, blocks as u64], &scales)?)?;
    let mut inputs = vec![rows, Some(levels), Some(scales)];
    if let Some(zeros) = &packed.zeros {
        // Each row of zeros begins a byte of its own.
        let zeros = packed.layout.blocks_to_rows(zeros);
        let zeros: Vec<u8> = zeros.chunks(blocks).flat_map(pack_nibbles).collect();
        let shape = vec![columns as u64, blocks.div_ceil(2) as u64];
        inputs.push(Some(constants.add(graph, "zero_point", Tensor::from_u8(shape, zeros)?)?));
    }
    let spec = NodeSpec::new("MatMulNBits")
        .domain(RUNTIME_DOMAIN.0)
        .attr("K", depth as i64)
        .attr("N", columns as i64)
        .attr("bits", 4)
        .attr("block_size", packed.layout.block as i64)
        .attr("accuracy_level", ACCURACY_LEVEL);
    let spec = if name.is_empty() { spec } else { spec.name(name) };
    let kernel = graph.add_node(spec, &inputs, &[], node)?;
    let sum = match bias {
        Some(bias) => {
            let base = format!("{}_product", graph.value(output).name());
            let product = graph.add_value(&base, ValueType::Unknown);
            graph.set_output(kernel, 0, product)?;
            graph.add_node(NodeSpec::new("Add"), &[Some(product), Some(bias)], &[], node)?
        }
        None => kernel,
    };
    graph.detach_node(node)?;
    graph.set_output(sum, 0, output)?;
    graph.remove_value(place.value)
}
