//! What the runtime that a model is made for wants: types of activations and weights, and the form of biases.
//!
//! | `for=` | activations | weights | bias | known from |
//! |---|---|---|---|---|
//! | `ort-x64` | u8 | s8 by channel | int32 | run: ONNX Runtime on x86-64 with 8-bit dot products |
//! | `ort-x64-avx2` | u8 | s8 by channel, 7 of 8 bits | int32 | ONNX Runtime's documentation: without 8-bit dot products, pairs of products of 8 bits saturate at 16 |
//! | `ort-arm64` | s8, u8 from operator set 21 on | s8 by channel | int32 | that it loads and fuses was run on x86-64; the choice is the documentation's |
//! | `tensorrt` | s8, symmetric | s8 by channel | float | NVIDIA's documentation: zero points are 0, biases are not quantized |
//! | `openvino` | u8 | s8 by channel | float | Intel's documentation: activations by tensor; biases as its own tool leaves them |
//! | `generic` | u8 | s8 by channel | float | standard operators alone |

use super::range::{ActivationParameters, Range, Steps};
use crate::error::Result;
use crate::ir::{DType, Tensor};

/// From this operator set on, ONNX Runtime does not load some models with signed activations.
const FIRST_OPSET_WITHOUT_SIGNED: i64 = 21;

/// How activations are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Activations {
    Unsigned,
    /// Signed, where the operator set allows it; the zero point is anywhere.
    Signed,
    /// Signed, and zero is zero.
    Symmetric,
}

/// The rules of one runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Platform {
    activations: Activations,
    /// How fine activations are.
    pub(super) steps: Steps,
    /// Weights use one bit less, so that sums of two products fit 16 bits.
    has_narrow_weights: bool,
    /// Biases become 32-bit integers.
    pub(super) quantizes_biases: bool,
    /// Whether it gives every reader of a DequantizeLinear one of its own.
    pub(super) divides_restored: bool,
    /// Whether it runs DynamicQuantizeLinear and MatMulInteger.
    pub(super) has_dynamic: bool,
    /// Whether what was measured here, in ONNX Runtime on a processor, tells which operators gain.
    pub(super) is_known: bool,
}

impl Platform {
    /// The names, the default first.
    pub(super) const NAMES: &'static [&'static str] =
        &["ort-x64", "ort-x64-avx2", "ort-arm64", "tensorrt", "openvino", "generic"];

    /// The rules by name.
    pub(super) fn named(name: &str) -> Self {
        let x64 = Self {
            activations: Activations::Unsigned,
            steps: Steps::EIGHT,
            has_narrow_weights: false,
            quantizes_biases: true,
            divides_restored: true,
            has_dynamic: true,
            is_known: true,
        };
        match name {
            "ort-x64-avx2" => Self { has_narrow_weights: true, ..x64 },
            "ort-arm64" => Self { activations: Activations::Signed, ..x64 },
            "tensorrt" => Self {
                activations: Activations::Symmetric,
                quantizes_biases: false,
                divides_restored: false,
                has_dynamic: false,
                ..x64
            },
            "openvino" | "generic" => Self { quantizes_biases: false, divides_restored: false, ..x64 },
            _ => x64,
        }
    }

    /// An accelerator with kernels for activations of 16 bits and weights of 8: standard operators, biases of 32 bits.
    pub(super) fn with_sixteen_bits() -> Self {
        let base = Self::named("ort-x64");
        Self { steps: Steps::SIXTEEN, divides_restored: false, has_dynamic: false, is_known: false, ..base }
    }

    /// What quantizes a range. A zero point counts from the lowest level, whatever the type.
    pub(super) fn parameters(self, range: Range) -> ActivationParameters {
        match self.activations {
            Activations::Symmetric => range.symmetric(),
            Activations::Unsigned | Activations::Signed => range.parameters_in(self.steps),
        }
    }

    /// The zero point in the type that activations have.
    ///
    /// # Errors
    /// None; the signature is that of making tensors.
    pub(super) fn zero_point(self, zero_point: u16, opset: i64) -> Result<Tensor> {
        if self.steps == Steps::SIXTEEN {
            return Tensor::new(DType::U16, [], zero_point.to_le_bytes().to_vec());
        }
        let is_signed = match self.activations {
            Activations::Unsigned => false,
            Activations::Signed => opset < FIRST_OPSET_WITHOUT_SIGNED,
            Activations::Symmetric => true,
        };
        match is_signed {
            true => Tensor::from_i8([], &[(i32::from(zero_point) - 128) as i8]),
            false => Tensor::from_u8([], vec![zero_point as u8]),
        }
    }

    /// The scales of weights that integers are multiplied with.
    pub(super) fn weight_scales(self, scales: &[f32]) -> Vec<f32> {
        // 127 levels on each side become 63.
        let factor = if self.has_narrow_weights { 127.0 / 63.0 } else { 1.0 };
        scales.iter().map(|scale| scale * factor).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_points_have_the_type_of_the_activations() {
        let zero = |name: &str, opset| {
            let tensor = Platform::named(name).zero_point(130, opset).unwrap();
            (tensor.dtype().name(), tensor.to_i64().unwrap()[0])
        };
        assert_eq!(zero("ort-x64", 13), ("uint8", 130));
        assert_eq!(zero("ort-arm64", 20), ("int8", 2));
        assert_eq!(zero("ort-arm64", 21), ("uint8", 130));
        let sixteen = Platform::with_sixteen_bits().zero_point(40000, 21).unwrap();
        assert_eq!((sixteen.dtype().name(), sixteen.to_i64().unwrap()), ("uint16", vec![40000]));
    }

    #[test]
    fn zero_is_zero_where_that_is_asked_for() {
        let tensorrt = Platform::named("tensorrt");
        let parameters = tensorrt.parameters(Range { min: -1.0, max: 254.0 });
        assert_eq!(parameters, ActivationParameters { scale: 2.0, zero_point: 128 });
        assert_eq!(tensorrt.zero_point(parameters.zero_point, 21).unwrap().to_i64().unwrap(), [0]);
        assert_eq!(tensorrt.parameters(Range { min: 0.0, max: 0.0 }).zero_point, 128);
    }

    #[test]
    fn narrow_weights_use_63_levels() {
        let scale = Platform::named("ort-x64-avx2").weight_scales(&[1.0])[0];
        assert_eq!((127.0 / scale).round(), 63.0);
        assert_eq!(Platform::named("generic").weight_scales(&[0.5]), [0.5]);
    }
}
