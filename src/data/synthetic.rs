//! Seeded random inputs for a model whose real inputs are not at hand.
//!
//! Floats follow a normal distribution of mean 0 and deviation 1. Integers are never 0 where another value is allowed,
//! since zeros hide errors:
//! 1. the choices in [`Hints`](super::Hints), where there are any: one sample after the other takes the next;
//! 2. inside the bounds there, where there are any;
//! 3. else 1 for masks (by name) and for scalars and vectors, which are sizes, axes and lengths;
//! 4. else 1 to the largest value for 8-bit types, which hold pixels or bytes;
//! 5. else 1 or 2, which any table can look up.
//!
//! Every element depends on seed, sample, input and position alone.
//!
//! Where a model leaves dimensions open or chooses between ways by a number, there are several plans of what the inputs
//! are; [`Samples::settle`] takes the first that the model runs with.

use std::sync::OnceLock;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use super::{DataOptions, Samples, check_index, dims, plural};
use crate::backend::NamedTensors;
use crate::error::{Error, ErrorKind, Result};
use crate::ir::{DType, Shape, Tensor, TypedName};

/// The most plans that are tried.
const MAX_PLANS: usize = 24;

/// The most plans that are tried with a backend that says each time that it cannot run the model: that is seldom the
/// fault of the inputs.
const MAX_UNSUPPORTED: usize = 6;

/// The most inputs that a description names.
const MAX_DESCRIBED: usize = 4;

/// Samples that are made when they are asked for.
#[derive(Debug)]
pub(super) struct Synthetic {
    /// What the inputs may be, the most likely first.
    plans: Vec<Plan>,
    /// The plan that was settled on.
    chosen: OnceLock<usize>,
    samples: usize,
    seed: u64,
}

/// What the inputs are.
#[derive(Debug)]
struct Plan {
    inputs: Vec<Generator>,
    /// How many samples in a row differ in the choices they make.
    ways: usize,
}

#[derive(Debug)]
struct Generator {
    name: String,
    dtype: DType,
    shape: Vec<u64>,
    values: Values,
    /// Whether the model leaves the shape open.
    is_open: bool,
}

#[derive(Debug, Clone, PartialEq)]
enum Values {
    Normal,
    /// One for all elements of a sample.
    Choices(Vec<i64>),
    /// Both ends included.
    Integers(i64, i64),
    Bools,
}

impl Synthetic {
    /// # Errors
    /// Fails where an input has an unknown rank or a type that random data cannot stand in for.
    pub(super) fn new(samples: usize, options: &DataOptions<'_>) -> Result<Self> {
        let all_shapes = dims::concrete_shapes(options.signature, options.hints)?;
        // All choices in turn, then each of them alone.
        let ways = options.hints.integer_choices.values().map(Vec::len).max().unwrap_or(0);
        let picks = std::iter::once(None).chain((0..ways).filter(|_| ways > 1).map(Some));
        let mut plans = Vec::new();
        for pick in picks {
            for shapes in &all_shapes {
                if plans.len() < MAX_PLANS {
                    plans.push(Plan::new(options, shapes, pick)?);
                }
            }
        }
        Ok(Self { plans, chosen: OnceLock::new(), samples, seed: options.seed })
    }

    fn plan(&self) -> Result<&Plan> {
        let index = self.chosen.get().copied().unwrap_or(0);
        self.plans.get(index).ok_or_else(|| Error::unsupported("no synthetic data for this model"))
    }

    fn sample(&self, plan: &Plan, index: usize) -> Result<NamedTensors> {
        let generate = |(position, input): (usize, &Generator)| {
            let mut random = ChaCha8Rng::seed_from_u64(self.seed);
            random.set_stream((index * plan.inputs.len() + position) as u64);
            Ok((input.name.clone(), input.tensor(index, &mut random)?))
        };
        plan.inputs.iter().enumerate().map(generate).collect()
    }
}

impl Plan {
    /// Inputs of these shapes; with a pick, each input that has choices takes that one alone.
    fn new(options: &DataOptions<'_>, shapes: &[Vec<u64>], pick: Option<usize>) -> Result<Self> {
        let mut ways = 1;
        let mut generator = |(input, shape): (&TypedName, &Vec<u64>)| {
            let bounds = options.hints.integer_bounds.get(&input.name).copied();
            let dtype = input.ty.dtype().ok_or_else(|| no_values(input))?;
            let choices =
                options.hints.integer_choices.get(&input.name).map(|choices| suitable(choices, dtype, bounds));
            let values = match choices.filter(|choices| !choices.is_empty()) {
                Some(choices) => Values::Choices(match pick {
                    Some(pick) => choices.get(pick.min(choices.len() - 1)).copied().into_iter().collect(),
                    None => choices,
                }),
                None => values_of(input, dtype, shape.len(), bounds)?,
            };
            if let Values::Choices(choices) = &values {
                ways = ways.max(choices.len());
            }
            let is_open = input.ty.shape().and_then(Shape::as_fixed).is_none();
            Ok(Generator { name: input.name.clone(), dtype, shape: shape.clone(), values, is_open })
        };
        let inputs = options.signature.inputs.iter().zip(shapes).map(&mut generator).collect::<Result<_>>()?;
        Ok(Self { inputs, ways })
    }

    /// What was chosen where the model leaves a choice, in words.
    fn describe(&self) -> String {
        let words = |input: &Generator| {
            let extents: Vec<String> = input.shape.iter().map(u64::to_string).collect();
            match &input.values {
                Values::Choices(choices) => {
                    let choices: Vec<String> = choices.iter().map(i64::to_string).collect();
                    Some(format!("{} {}", input.name, choices.join(" or ")))
                }
                _ if input.is_open => Some(format!("{} {}", input.name, extents.join("x"))),
                _ => None,
            }
        };
        let mut all: Vec<String> = self.inputs.iter().filter_map(words).collect();
        if all.len() > MAX_DESCRIBED {
            all.truncate(MAX_DESCRIBED);
            all.push("...".to_owned());
        }
        all.iter().map(|words| format!(", {words}")).collect()
    }
}

/// The choices that type and bounds of an input allow.
fn suitable(choices: &[i64], dtype: DType, bounds: Option<(i64, i64)>) -> Vec<i64> {
    let (type_low, type_high) = type_range(dtype);
    let (low, high) = bounds.unwrap_or((type_low, type_high));
    choices.iter().copied().filter(|choice| (low.max(type_low)..=high.min(type_high)).contains(choice)).collect()
}

impl Samples for Synthetic {
    fn len(&self) -> usize {
        self.samples
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        check_index(index, self.samples)?;
        self.sample(self.plan()?, index)
    }

    fn label(&self, _index: usize) -> Option<Vec<i64>> {
        None
    }

    fn settle(&self, run: &dyn Fn(&NamedTensors) -> Result<()>) -> Result<()> {
        if self.plans.len() <= 1 || self.chosen.get().is_some() {
            return Ok(());
        }
        let (mut refusal, mut unsupported, mut tried) = (None, 0, 0);
        for (number, plan) in self.plans.iter().enumerate() {
            let samples = plan.ways.min(self.samples);
            match (0..samples).try_for_each(|index| run(&self.sample(plan, index)?)) {
                Ok(()) => {
                    self.chosen.get_or_init(|| number);
                    return Ok(());
                }
                Err(error) => {
                    let kind = error.kind();
                    tried += 1;
                    unsupported += usize::from(kind == ErrorKind::Unsupported);
                    refusal = refusal.or(Some(error));
                    let may_be_inputs =
                        matches!(kind, ErrorKind::Backend | ErrorKind::Unsupported | ErrorKind::InvalidData);
                    if !may_be_inputs || unsupported >= MAX_UNSUPPORTED {
                        break;
                    }
                }
            }
        }
        self.chosen.get_or_init(|| 0);
        tracing::debug!(tried, "no made-up inputs suit the model");
        refusal.map_or(Ok(()), Err)
    }

    fn describe(&self) -> String {
        let choices = self.plan().map(Plan::describe).unwrap_or_default();
        format!("{} (seed {}{choices})", plural(self.samples, "synthetic sample"), self.seed)
    }
}

impl Generator {
    fn tensor(&self, sample: usize, random: &mut ChaCha8Rng) -> Result<Tensor> {
        let count = self.shape.iter().product::<u64>() as usize;
        let shape = self.shape.as_slice();
        match &self.values {
            Values::Choices(choices) => {
                let choice = choices.get(sample % choices.len().max(1)).copied().unwrap_or(0);
                Tensor::new(self.dtype, shape, self.bytes_of(choice).repeat(count))
            }
            Values::Normal => {
                let values: Vec<f32> = (0..count).map(|_| normal(random)).collect();
                Tensor::from_floats(self.dtype, shape, &values)
            }
            Values::Integers(low, high) => {
                let mut data = Vec::with_capacity(count * 8);
                for _ in 0..count {
                    data.extend_from_slice(&self.bytes_of(uniform(random, *low, *high)));
                }
                Tensor::new(self.dtype, shape, data)
            }
            Values::Bools => {
                let data: Vec<u8> = (0..count).map(|_| (random.next_u32() & 1) as u8).collect();
                Tensor::new(self.dtype, shape, data)
            }
        }
    }

    /// An integer in the type of the input. Two's complement: the low bytes are the same in every narrower type that
    /// holds the value.
    fn bytes_of(&self, number: i64) -> Vec<u8> {
        let width = self.dtype.bits() as usize / 8;
        number.to_le_bytes().into_iter().take(width).collect()
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
    use crate::ir::{Signature, ValueType};

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
