//! What a model is made of, in numbers: operators, constants, zeros.

use std::ops::AddAssign;

use rayon::prelude::*;
use serde::Serialize;

use crate::ir::{AttrRef, DType, Graph, Model, Tensor};

/// Elements that one thread counts at a time; a multiple of every element size.
const CHUNK_BYTES: usize = 1 << 20;

/// Totals over every graph of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Census {
    /// Operators, those inside subgraphs and functions counted.
    pub nodes: u64,
    /// Constants: initializers and tensors in attributes.
    pub tensors: u64,
    /// Elements of constants.
    pub elements: u64,
    /// Bytes of constants.
    pub constant_bytes: u64,
}

/// Zeros among weights: the constants of two and more dimensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Zeros {
    /// Elements that are zero.
    pub zeros: u64,
    /// All elements.
    pub elements: u64,
}

impl Zeros {
    /// The share of zeros; 0 without elements.
    pub fn sparsity(self) -> f64 {
        if self.elements == 0 { 0.0 } else { self.zeros as f64 / self.elements as f64 }
    }
}

impl AddAssign for Zeros {
    fn add_assign(&mut self, other: Self) {
        self.zeros += other.zeros;
        self.elements += other.elements;
    }
}

/// Counts operators and constants. Contents are not read.
pub fn census(model: &Model) -> Census {
    let mut census = Census { nodes: model.node_count() as u64, ..Census::default() };
    each_constant(model, |tensor| {
        census.tensors += 1;
        census.elements += tensor.len() as u64;
        census.constant_bytes += tensor.byte_len();
    });
    census
}

/// Counts the zeros of every weight; reads all of them.
pub fn zeros(model: &Model) -> Zeros {
    let mut total = Zeros::default();
    each_constant(model, |tensor| {
        if tensor.rank() >= 2
            && let Some(zeros) = zeros_of(tensor)
        {
            total += zeros;
        }
    });
    total
}

/// Lets `visit` see the initializers and the tensors in attributes of every graph.
pub(crate) fn each_constant(model: &Model, mut visit: impl FnMut(&Tensor)) {
    let mut one_graph = |graph: &Graph| {
        for value in graph.initializers() {
            if let Some(tensor) = graph.value(value).initializer() {
                visit(tensor);
            }
        }
        for node in graph.nodes() {
            for attribute in graph.node(node).attributes() {
                match attribute.value() {
                    AttrRef::Tensor(tensor) => visit(tensor),
                    AttrRef::Tensors(tensors) => tensors.iter().for_each(&mut visit),
                    _ => {}
                }
            }
        }
    };
    // The visitor never fails, so neither does the walk.
    let _ = model.visit_graphs(|graph, _| {
        one_graph(graph);
        Ok(())
    });
}

/// Counts the zeros of a tensor; `None` for types whose elements are not whole bytes, complex numbers and strings.
pub fn zeros_of(tensor: &Tensor) -> Option<Zeros> {
    let data = tensor.data();
    let zeros = match tensor.dtype() {
        // Without the sign bit, so that -0 counts.
        DType::F32 => count::<4>(data, |b| u32::from_le_bytes(b) << 1 == 0),
        DType::F64 => count::<8>(data, |b| u64::from_le_bytes(b) << 1 == 0),
        DType::F16 | DType::BF16 => count::<2>(data, |b| u16::from_le_bytes(b) << 1 == 0),
        DType::I8 | DType::U8 | DType::Bool => count::<1>(data, |b| b == [0]),
        DType::I16 | DType::U16 => count::<2>(data, |b| b == [0; 2]),
        DType::I32 | DType::U32 => count::<4>(data, |b| b == [0; 4]),
        DType::I64 | DType::U64 => count::<8>(data, |b| b == [0; 8]),
        _ => return None,
    };
    Some(Zeros { zeros, elements: tensor.len() as u64 })
}

fn count<const N: usize>(data: &[u8], is_zero: impl Fn([u8; N]) -> bool + Sync) -> u64 {
    let count = |chunk: &[u8]| chunk.as_chunks::<N>().0.iter().filter(|&&element| is_zero(element)).count() as u64;
    if data.len() <= CHUNK_BYTES {
        return count(data);
    }
    data.par_chunks(CHUNK_BYTES).map(count).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_zeros_of_either_sign() {
        let floats = Tensor::from_f32(vec![2, 2], &[0.0, -0.0, 1e-45, 2.0]).unwrap();
        assert_eq!(zeros_of(&floats), Some(Zeros { zeros: 2, elements: 4 }));
        let bytes = Tensor::from_i8(vec![3], &[0, -128, 1]).unwrap();
        assert_eq!(zeros_of(&bytes), Some(Zeros { zeros: 1, elements: 3 }));
    }

    #[test]
    fn counts_the_same_in_pieces() {
        let values: Vec<f32> = (0..600_000).map(|i| if i % 3 == 0 { 0.0 } else { 1.0 }).collect();
        let tensor = Tensor::from_f32(vec![600_000], &values).unwrap();
        assert_eq!(zeros_of(&tensor), Some(Zeros { zeros: 200_000, elements: 600_000 }));
    }
}
