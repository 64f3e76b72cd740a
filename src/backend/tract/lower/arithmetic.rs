//! Cast, QuantizeLinear and DequantizeLinear as the specification has them.

use crate::ir::{DType, Tensor};

/// Scales, zero points, and which elements they are for.
pub(super) struct Quantization<'t> {
    pub(super) scale: &'t Tensor,
    pub(super) zero: Option<Tensor>,
    pub(super) axis: i64,
    /// Elements along the axis that share a scale; 0 where each has its own, or all have one.
    pub(super) block: i64,
    /// The type of the result, where an attribute tells it; else 0.
    pub(super) output: i64,
}

impl Quantization<'_> {
    /// `(x - zero) * scale`, with the type of the scale; `None` where the specification does not allow it.
    pub(super) fn dequantize(&self, x: &Tensor) -> Option<Tensor> {
        let levels = integers(x)?;
        let (scales, zeros, group) = self.parts(x)?;
        let value = |(index, &level): (usize, &i64)| (level - zeros[group(index)]) as f32 * scales[group(index)];
        let values: Vec<f32> = levels.iter().enumerate().map(value).collect();
        let dtype =
            if self.output == 0 { self.scale.dtype() } else { DType::from_onnx(i32::try_from(self.output).ok()?)? };
        Tensor::from_floats(dtype, x.shape(), &values).ok()
    }

    /// `x / scale + zero`, rounded to even and held inside the type of the zero point.
    pub(super) fn quantize(&self, x: &Tensor) -> Option<Tensor> {
        let values = x.to_f32()?;
        let (scales, zeros, group) = self.parts(x)?;
        let told = DType::from_onnx(i32::try_from(self.output).ok()?);
        let dtype = self.zero.as_ref().map(Tensor::dtype).or(told).unwrap_or(DType::U8);
        let (low, high) = bounds(dtype)?;
        let level = |(index, &value): (usize, &f32)| {
            let level = (value / scales[group(index)]).round_ties_even();
            // A float becomes the nearest integer there is, so that nothing overflows.
            (level as i64).saturating_add(zeros[group(index)]).clamp(low, high)
        };
        let levels: Vec<i64> = values.iter().enumerate().map(level).collect();
        Tensor::new(dtype, x.shape(), packed(&levels, dtype)?).ok()
    }

    /// Scales, zeros, and which of them an element has.
    #[allow(clippy::type_complexity, reason = "said in the line above")]
    fn parts(&self, x: &Tensor) -> Option<(Vec<f32>, Vec<i64>, impl Fn(usize) -> usize)> {
        let scales = self.scale.to_f32()?;
        let zeros = match &self.zero {
            // One zero for one scale may be a scalar or have an axis, whatever the other does.
            Some(zero) if zero.shape() == self.scale.shape() || (zero.len() == 1 && scales.len() == 1) => {
                integers(zero)?
            }
            Some(_) => return None,
            None => vec![0; scales.len()],
        };
        let shape: Vec<usize> = x.shape().iter().map(|&extent| extent as usize).collect();
        let (extent, inner, blocks, block) = if self.scale.rank() == 0 || (scales.len() == 1 && self.block == 0) {
            (1, x.len().max(1), 1, 1)
        } else {
            let rank = i64::try_from(shape.len()).ok()?;
            let axis = usize::try_from(if self.axis < 0 { self.axis + rank } else { self.axis }).ok()?;
            let extent = *shape.get(axis)?;
            let inner: usize = shape[axis + 1..].iter().product();
            if self.block == 0 {
                (self.scale.rank() == 1 && scales.len() == extent).then_some(())?;
                // Outer entries share scales, which the remainder below sees to.
                (extent, inner, extent, 1)
            } else {
                let block = usize::try_from(self.block).ok().filter(|&block| block > 0)?;
                let blocks = extent.div_ceil(block);
                let mut expected = x.shape().to_vec();
                expected[axis] = blocks as u64;
                (self.scale.shape() == expected).then_some(())?;
                (extent, inner, blocks, block)
            }
        };
        let is_blocked = self.block != 0;
        let group = move |index: usize| {
            let (outer, along, rest) = (index / inner / extent.max(1), index / inner % extent.max(1), index % inner);
            if is_blocked { (outer * blocks + along / block) * inner + rest } else { along }
        };
        Some((scales, zeros, group))
    }
}

/// The same numbers in another type; `None` for types that nothing here casts to.
pub(super) fn cast(x: &Tensor, to: i64) -> Option<Tensor> {
    let dtype = DType::from_onnx(i32::try_from(to).ok()?)?;
    let values = integers(x)?;
    if dtype.is_float() {
        let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
        return Tensor::from_floats(dtype, x.shape(), &values).ok();
    }
    let is_wide = matches!(dtype, DType::I8 | DType::U8 | DType::I16 | DType::U16 | DType::I32 | DType::I64);
    is_wide.then(|| Tensor::new(dtype, x.shape(), packed(&values, dtype)?).ok())?
}

/// The numbers of an integer tensor of any width.
pub(super) fn integers(x: &Tensor) -> Option<Vec<i64>> {
    let (bits, is_signed) = match x.dtype() {
        DType::U4 => (4, false),
        DType::I4 => (4, true),
        DType::U2 => (2, false),
        DType::I2 => (2, true),
        _ => return x.to_i64(),
    };
    let per_byte = 8 / bits;
    let number = |index: usize| {
        let raw = (x.data()[index / per_byte] >> (index % per_byte * bits)) & ((1 << bits) - 1);
        let is_negative = is_signed && raw >> (bits - 1) == 1;
        i64::from(raw) - if is_negative { 1 << bits } else { 0 }
    };
    Some((0..x.len()).map(number).collect())
}

/// The smallest and largest number of an integer type.
fn bounds(dtype: DType) -> Option<(i64, i64)> {
    Some(match dtype {
        DType::U2 => (0, 3),
        DType::I2 => (-2, 1),
        DType::U4 => (0, 15),
        DType::I4 => (-8, 7),
        DType::U8 => (0, 255),
        DType::I8 => (-128, 127),
        DType::U16 => (0, 65_535),
        DType::I16 => (-32_768, 32_767),
        _ => return None,
    })
}

/// Numbers as the bytes of an integer type, which must hold them.
fn packed(values: &[i64], dtype: DType) -> Option<Vec<u8>> {
    let bits = match dtype {
        DType::U2 | DType::I2 => 2,
        DType::U4 | DType::I4 => 4,
        _ => {
            let bytes = usize::try_from(dtype.bits() / 8).ok().filter(|&bytes| dtype.is_integer() && bytes > 0)?;
            return Some(values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(bytes)).collect());
        }
    };
    let byte = |group: &[i64]| {
        let part = |(index, &value): (usize, &i64)| ((value & ((1 << bits) - 1)) as u8) << (index * bits);
        group.iter().enumerate().map(part).fold(0, |byte, part| byte | part)
    };
    Some(values.chunks(8 / bits).map(byte).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_integers_are_read_and_written() {
        for (dtype, values) in [
            (DType::U4, [0, 15, 7, 8, 1]),
            (DType::I4, [-8, 7, -1, 0, 1]),
            (DType::U2, [0, 3, 1, 2, 3]),
            (DType::I2, [-2, 1, -1, 0, 1]),
        ] {
            let tensor = Tensor::new(dtype, vec![5], packed(&values, dtype).unwrap()).unwrap();
            assert_eq!(integers(&tensor).unwrap(), values, "{dtype}");
            let floats: Vec<f32> = values.iter().map(|&value| value as f32).collect();
            assert_eq!(cast(&tensor, DType::F32.to_onnx().into()).unwrap().to_f32().unwrap(), floats);
            assert_eq!(cast(&tensor, DType::I8.to_onnx().into()).unwrap().to_i64().unwrap(), values);
        }
    }

    #[test]
    fn blocks_along_either_axis() {
        let x = Tensor::from_i8(vec![2, 4], &[1, 2, 3, 4, 5, 6, 7, 8]).unwrap();
        let of = |shape: &[u64], scales: &[f32], axis, block| {
            let scale = Tensor::from_f32(shape, scales).unwrap();
            let quantization = Quantization { scale: &scale, zero: None, axis, block, output: 0 };
            quantization.dequantize(&x).map(|tensor| tensor.to_f32().unwrap())
        };
        let blocked = of(&[2, 2], &[1.0, 10.0, 100.0, 1000.0], 1, 2).unwrap();
        assert_eq!(blocked, [1.0, 2.0, 30.0, 40.0, 500.0, 600.0, 7000.0, 8000.0]);
        let ragged = of(&[2, 2], &[1.0, 10.0, 100.0, 1000.0], -1, 3).unwrap();
        assert_eq!(ragged, [1.0, 2.0, 3.0, 40.0, 500.0, 600.0, 700.0, 8000.0]);
        let down = of(&[1, 4], &[1.0, 2.0, 3.0, 4.0], 0, 2).unwrap();
        assert_eq!(down, [1.0, 4.0, 9.0, 16.0, 5.0, 12.0, 21.0, 32.0]);
        assert_eq!(of(&[2], &[1.0, 2.0], 0, 0).unwrap(), [1.0, 2.0, 3.0, 4.0, 10.0, 12.0, 14.0, 16.0]);
        assert_eq!(of(&[], &[2.0], 1, 0).unwrap()[7], 16.0);
        assert_eq!(of(&[3], &[1.0, 2.0, 3.0], 0, 0), None);
        assert_eq!(of(&[2, 1], &[1.0, 2.0], 1, 2), None);
    }

    #[test]
    fn quantizing_saturates_and_rounds_to_even() {
        let x = Tensor::from_f32(vec![4], &[0.5, 1.5, -100.0, 100.0]).unwrap();
        let scale = Tensor::from_f32(Vec::<u64>::new(), &[1.0]).unwrap();
        let zero = Tensor::new(DType::I4, Vec::<u64>::new(), vec![1]).unwrap();
        let quantization = Quantization { scale: &scale, zero: Some(zero), axis: 1, block: 0, output: 0 };
        let levels = quantization.quantize(&x).unwrap();
        assert_eq!((levels.dtype(), integers(&levels).unwrap()), (DType::I4, vec![1, 3, -8, 7]));
    }
}
