//! Contents that the text describes instead of listing: `rand(SEED)` and `iota`.

use half::{bf16, f16};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::element;
use crate::ir::DType;

/// How to make the contents of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fill {
    /// Floats uniform in -1..1, whole numbers from -8 to 7 or 0 to 15 as far as the type holds them.
    Random(u64),
    /// 0, 1, 2 ...; integers wrap around.
    Iota,
}

/// `count` elements in ONNX's raw form; `None` for types without arithmetic: strings, complex and 8-bit floats.
pub(super) fn make(fill: Fill, dtype: DType, count: usize) -> Option<Vec<u8>> {
    let mut random = match fill {
        Fill::Random(seed) => Some(ChaCha8Rng::seed_from_u64(seed)),
        Fill::Iota => None,
    };
    // The generator's raw output is specified; distributions of the `rand` crate may change between versions.
    let mut whole = |index: usize, low: i64, span: u32| match &mut random {
        Some(random) => low + i64::from(random.next_u32() % span),
        None => index as i64,
    };
    let (low, span) = match dtype {
        DType::Bool => (0, 2),
        DType::U2 => (0, 4),
        DType::I2 => (-2, 4),
        DType::U4 | DType::U8 | DType::U16 | DType::U32 | DType::U64 => (0, 16),
        DType::I4 | DType::I8 | DType::I16 | DType::I32 | DType::I64 => (-8, 16),
        DType::F16 | DType::BF16 | DType::F32 | DType::F64 => (-(1 << 23), 1 << 24),
        _ => return None,
    };
    let numbers = (0..count).map(|index| whole(index, low, span));
    if !dtype.is_float() {
        let patterns = numbers.map(|n| if dtype == DType::Bool { n as u128 & 1 } else { n as u128 });
        return Some(element::pack(dtype, patterns));
    }
    let scale = if matches!(fill, Fill::Iota) { 1.0 } else { 1.0 / f64::from(1 << 23) };
    let patterns = numbers.map(|n| {
        let value = n as f64 * scale;
        match dtype {
            DType::F16 => u128::from(f16::from_f64(value).to_bits()),
            DType::BF16 => u128::from(bf16::from_f64(value).to_bits()),
            DType::F32 => u128::from((value as f32).to_bits()),
            _ => u128::from(value.to_bits()),
        }
    });
    Some(element::pack(dtype, patterns))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tensor;

    fn tensor(fill: Fill, dtype: DType, count: usize) -> Tensor {
        Tensor::new(dtype, vec![count as u64], make(fill, dtype, count).unwrap()).unwrap()
    }

    #[test]
    fn random_floats_lie_between_minus_one_and_one_and_hang_on_the_seed() {
        let values = tensor(Fill::Random(1), DType::F32, 1000).to_f32().unwrap();
        assert!(values.iter().all(|v| (-1.0..1.0).contains(v)));
        assert!(values.iter().sum::<f32>().abs() < 60.0, "the mean of uniform values is near zero");
        assert_eq!(values, tensor(Fill::Random(1), DType::F32, 1000).to_f32().unwrap());
        assert_ne!(values, tensor(Fill::Random(2), DType::F32, 1000).to_f32().unwrap());
    }

    #[test]
    fn random_integers_are_small() {
        let values = tensor(Fill::Random(1), DType::I8, 1000).to_i64().unwrap();
        assert_eq!((values.iter().min(), values.iter().max()), (Some(&-8), Some(&7)));
    }

    #[test]
    fn iota_counts() {
        assert_eq!(tensor(Fill::Iota, DType::F16, 3).to_f32(), Some(vec![0.0, 1.0, 2.0]));
        assert_eq!(tensor(Fill::Iota, DType::U4, 3).data().as_ref(), [0x10, 0x02]);
        assert_eq!(make(Fill::Iota, DType::String, 3), None);
    }
}
