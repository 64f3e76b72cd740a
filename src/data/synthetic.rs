//! Seeded random inputs for a model whose real inputs are not at hand.
//!
//! Floats follow a normal distribution of mean 0 and deviation 1. Integers are never 0 where another value is allowed,
//! since zeros hide errors:
//! 1. inside the bounds in [`Hints`], where there are any;
//! 2. else 1 for masks (by name) and for scalars and vectors, which are sizes, axes and lengths;
//! 3. else 1 to the largest value for 8-bit types, which hold pixels or bytes;
//! 4. else 1 or 2, which any table can look up.
//!
//! Every element depends on seed, sample, input and position alone.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{DataOptions, Samples, check_index, dims, plural};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use crate::ir::{DType, Tensor, TypedName};

/// Samples that are made when they are asked for.
#[derive(Debug)]
pub(super) struct Synthetic {
    inputs: Vec<Generator>,
    samples: usize,
    seed: u64,
}

#[derive(Debug)]
struct Generator {
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    values: Values,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Values {
    Normal,
    /// Both ends included.
    Integers(i64, i64),
    Bools,
}

impl Synthetic {
    /// # Errors
    /// Fails where an input has an unknown rank or a type that random data cannot stand in for.
    pub(super) fn new(samples: usize, options: &DataOptions<'_>) -> Result<Self> {
        let shapes = dims::concrete_shapes(options.signature, options.hints)?;
        let generator = |(input, shape): (&TypedName, Vec<u64>)| {
            let bounds = options.hints.integer_bounds.get(&input.name).copied();
            let dtype = input.ty.dtype().ok_or_else(|| no_values(input))?;
            let values = values_of(input, dtype, shape.len(), bounds)?;
            Ok(Generator { name: input.name.clone(), dtype, shape, values })
        };
        let inputs = options.signature.inputs.iter().zip(shapes).map(generator).collect::<Result<_>>()?;
        Ok(Self { inputs, samples, seed: options.seed })
    }
}

impl Samples for Synthetic {
    fn len(&self) -> usize {
        self.samples
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.samples)?;
        let generate = |(position, input): (usize, &Generator)| {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream((index * self.inputs.len() + position) as u64);
            Ok((input.name.clone(), input.tensor(&mut random)?))
        };
        self.inputs.iter().enumerate().map(generate).collect()
    }

    fn label(&self, _index: usize) -> Option<Vec<i64>> {
        None
    }

    fn describe(&self) -> String {
        format!("{} (seed {})", plural(self.samples, "synthetic sample"), self.seed)
    }
}

impl Generator {
    fn tensor(&self, random: &mut ChaCha8Rng) -> Result<Tensor> {
        let count = self.shape.iter().product::<u64>() as usize;
        let shape = self.shape.as_slice();
        match self.values {
            Values::Normal => {
                let values: Vec<f32> = (0..count).map(|_| normal(random)).collect();
                Tensor::from_floats(self.dtype, shape, &values)
            }
            Values::Integers(low, high) => {
                let width = self.dtype.bits() as usize / 8;
                let mut data = Vec::with_capacity(count * width);
                for _ in 0..count {
                    // Two's complement: the low bytes are the same in every narrower type that holds the value.
                    data.extend_from_slice(&uniform(random, low, high).to_le_bytes()[..width]);
                }
                Tensor::new(self.dtype, shape, data)
            }
            Values::Bools => {
                let data: Vec<u8> = (0..count).map(|_| (random.next_u32() & 1) as u8).collect();
                Tensor::new(self.dtype, shape, data)
            }
        }
    }
}

fn values_of(input: &TypedName, dtype: DType, rank: usize, bounds: Option<(i64, i64)>) -> Result<Values> {
    if dtype.is_float() {
        return Ok(Values::Normal);
    }
    if dtype == DType::Bool {
        return Ok(Values::Bools);
    }
    if !dtype.is_integer() || dtype.bits() < 8 {
        return Err(no_values(input));
    }
    let (type_low, type_high) = type_range(dtype);
    let (low, high) = match bounds {
        Some((low, high)) => (low.max(type_low), high.min(type_high)),
        None if input.name.to_ascii_lowercase().contains("mask") || rank <= 1 => (1, 1),
        None if dtype.bits() == 8 => (1, type_high),
        None => (1, 2),
    };
    if low > high {
        return Err(Error::unsupported(format!("no value suits input `{}`", input.name))
            .expected(format!("{low}..={high} in type {dtype}")));
    }
    Ok(if high >= 1 {
        Values::Integers(low.max(1), high)
    } else if low <= -1 {
        Values::Integers(low, high.min(-1))
    } else {
        Values::Integers(0, 0)
    })
}

/// The range of an integer type, as far as `i64` reaches.
fn type_range(dtype: DType) -> (i64, i64) {
    let bits = dtype.bits() as u32;
    match dtype {
        DType::U64 => (0, i64::MAX),
        DType::U8 | DType::U16 | DType::U32 => (0, (1 << bits) - 1),
        _ => (i64::MIN >> (64 - bits), i64::MAX >> (64 - bits)),
    }
}

/// A normally distributed value as the sum of twelve uniform ones: sums are exact and so the same on every machine,
/// which logarithms and cosines are not.
fn normal(random: &mut ChaCha8Rng) -> f32 {
    let sum: u64 = (0..12).map(|_| u64::from(random.next_u32())).sum();
    (sum as f64 / f64::from(u32::MAX) - 6.0) as f32
}

fn uniform(random: &mut ChaCha8Rng, low: i64, high: i64) -> i64 {
    let span = (i128::from(high) - i128::from(low) + 1) as u128;
    (i128::from(low) + (u128::from(random.next_u64()) % span) as i128) as i64
}

fn no_values(input: &TypedName) -> Error {
    Error::unsupported(format!("no synthetic data for input `{}`", input.name))
        .expected("a tensor of floats, bools or integers of at least 8 bits")
        .found(input.ty.to_string())
        .help("give real inputs: --inputs FILE.npz")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Hints;
    use crate::ir::{Shape, Signature, ValueType};

    fn input(name: &str, dtype: DType, shape: &[u64]) -> TypedName {
        TypedName { name: name.into(), ty: ValueType::tensor(dtype, Some(Shape::fixed(shape.iter().copied()))) }
    }

    fn make(inputs: Vec<TypedName>, bounds: &[(&str, i64, i64)], seed: u64) -> Result<Synthetic> {
        let integer_bounds = bounds.iter().map(|(name, low, high)| (name.to_string(), (*low, *high))).collect();
        let hints = Hints { integer_bounds, ..Hints::default() };
        let signature = Signature { inputs, outputs: vec![] };
        Synthetic::new(3, &DataOptions { signature: &signature, seed, hints: &hints, limit: None })
    }

    #[test]
    fn floats_have_mean_0_and_deviation_1() {
        let samples = make(vec![input("x", DType::F32, &[1, 20_000])], &[], 1).unwrap();
        let values = samples.get(0).unwrap()[0].1.to_f32().unwrap();
        let mean = values.iter().map(|&v| f64::from(v)).sum::<f64>() / 20_000.0;
        let variance = values.iter().map(|&v| (f64::from(v) - mean).powi(2)).sum::<f64>() / 20_000.0;
        assert!(mean.abs() < 0.03 && (variance - 1.0).abs() < 0.05, "mean {mean}, variance {variance}");
    }

    #[test]
    fn depends_on_seed_sample_and_input() {
        let inputs = || vec![input("x", DType::F32, &[1, 4]), input("y", DType::F32, &[1, 4])];
        let samples = make(inputs(), &[], 1).unwrap();
        let first = samples.get(0).unwrap();
        assert!(first[0].1.same_as(&make(inputs(), &[], 1).unwrap().get(0).unwrap()[0].1));
        assert!(!first[0].1.same_as(&first[1].1));
        assert!(!first[0].1.same_as(&samples.get(1).unwrap()[0].1));
        assert!(!first[0].1.same_as(&make(inputs(), &[], 2).unwrap().get(0).unwrap()[0].1));
        assert!(samples.get(3).is_err());
    }

    #[test]
    fn integers_are_inside_their_bounds_and_never_zero() {
        let range = |name: &str, dtype, shape: &[u64], bounds: &[(&str, i64, i64)]| {
            let samples = make(vec![input(name, dtype, shape)], bounds, 1).unwrap();
            let values = samples.get(0).unwrap()[0].1.to_i64().unwrap();
            (*values.iter().min().unwrap(), *values.iter().max().unwrap())
        };
        assert_eq!(range("ids", DType::I64, &[1, 500], &[("ids", 0, 9)]), (1, 9));
        assert_eq!(range("ids", DType::I32, &[1, 500], &[("ids", -9, -1)]), (-9, -1));
        assert_eq!(range("ids", DType::I64, &[1, 500], &[("ids", 0, 0)]), (0, 0));
        assert_eq!(range("ids", DType::I64, &[1, 500], &[]), (1, 2));
        assert_eq!(range("attention_mask", DType::I64, &[1, 500], &[]), (1, 1));
        assert_eq!(range("length", DType::I32, &[8], &[]), (1, 1));
        assert_eq!(range("image", DType::U8, &[1, 9999], &[]), (1, 255));
    }

    #[test]
    fn refuses_strings_by_name() {
        let error = make(vec![input("words", DType::String, &[1])], &[], 1).unwrap_err().to_string();
        assert!(error.contains("`words`") && error.contains("--inputs"), "{error}");
    }
}
