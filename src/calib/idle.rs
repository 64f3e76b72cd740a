//! Rows that no output depends on: those of tokens that only fill up a sequence.
//!
//! Such rows are as many as those that count, or more, and say nothing about what weights are needed for. Which they are is
//! measured: an input of zeros and ones is taken for a mask where the other inputs may hold anything in the places of its
//! zeros without any output changing. What a layer reads has the extents of the mask in front.

use super::session::load_fastest;
use crate::backend::NamedTensors;
use crate::data::Samples;
use crate::error::Result;
use crate::ir::{Model, Tensor};
use crate::pass::Env;

/// Samples that are looked at, and of those with zeros in a mask those that are run.
const LOOKED_AT: usize = 16;
const RUN: usize = 4;

/// Outputs that differ by no more than this part of the largest element are the same.
const SAME: f64 = 1e-5;

/// The input that says which rows are idle, where there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Idle {
    mask: Option<String>,
}

/// Which places of the first axes count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Places {
    shape: Vec<u64>,
    counts: Vec<bool>,
}

impl Idle {
    /// Finds the mask of a model by running it.
    ///
    /// # Errors
    /// Fails where no backend can run the model, or a sample cannot be read or run.
    pub fn of(model: &Model, samples: &dyn Samples, env: &Env<'_>) -> Result<Self> {
        let looked_at: Vec<NamedTensors> =
            (0..samples.len().min(LOOKED_AT)).map(|index| samples.get(index)).collect::<Result<_>>()?;
        let names: Vec<&str> = looked_at.first().into_iter().flatten().map(|(name, _)| name.as_str()).collect();
        for name in names {
            let is_mask = looked_at.iter().all(|sample| Places::of(sample, name).is_some());
            let changed: Vec<(&NamedTensors, NamedTensors)> = (looked_at.iter().filter(|_| is_mask))
                .filter_map(|sample| Some((sample, refilled(sample, name)?)))
                .take(RUN)
                .collect();
            if changed.is_empty() {
                continue;
            }
            let (session, _) = load_fastest(model, Vec::new(), env.backend)?;
            let mut is_idle = true;
            for (sample, other) in changed {
                let (before, after) = (session.run(sample)?, session.run(&other)?);
                is_idle &= before.len() == after.len()
                    && before.iter().zip(&after).all(|((_, before), (_, after))| is_same(before, after));
            }
            if is_idle {
                return Ok(Self { mask: Some(name.to_owned()) });
            }
        }
        Ok(Self::default())
    }

    /// The input that is the mask.
    pub fn mask(&self) -> Option<&str> {
        self.mask.as_deref()
    }

    /// Which places of a sample count; `None` where all do.
    pub(super) fn places(&self, sample: &NamedTensors) -> Option<Places> {
        Places::of(sample, self.mask.as_deref()?)
    }
}

impl Places {
    /// Those of ones; `None` where an input is not made of zeros and ones, or has no one.
    fn of(sample: &NamedTensors, name: &str) -> Option<Self> {
        let (_, tensor) = sample.iter().find(|(given, _)| given == name)?;
        let numbers = match tensor.to_f64() {
            Some(numbers) => numbers,
            None => tensor.to_i64()?.into_iter().map(|number| number as f64).collect(),
        };
        let counts = numbers.iter().map(|number| [0.0, 1.0].contains(number).then_some(*number == 1.0));
        let counts = counts.collect::<Option<Vec<bool>>>()?;
        (tensor.rank() > 0 && counts.contains(&true)).then(|| Self { shape: tensor.shape().to_vec(), counts })
    }

    /// Whether the first axes of a tensor are these.
    fn begin(&self, tensor: &Tensor) -> bool {
        tensor.shape().starts_with(&self.shape)
    }

    /// The rows of those that count, of rows along the last axis of a tensor; `None` where it has other axes in front.
    pub(super) fn rows(&self, tensor: &Tensor) -> Option<Vec<usize>> {
        let fits = self.begin(tensor) && tensor.rank() == self.shape.len() + 1;
        fits.then(|| (0..self.counts.len()).filter(|&place| self.counts[place]).collect())
    }
}

/// A sample with what the first place that counts holds in all places that do not; `None` where that is the same sample.
fn refilled(sample: &NamedTensors, mask: &str) -> Option<NamedTensors> {
    let places = Places::of(sample, mask)?;
    let first = places.counts.iter().position(|&counts| counts)?;
    let mut is_changed = false;
    let refill = |(name, tensor): &(String, Tensor)| {
        if name == mask || !places.begin(tensor) {
            return Some((name.clone(), tensor.clone()));
        }
        let data = tensor.data();
        let width = data.len() / places.counts.len();
        if tensor.dtype().bits() < 8 {
            return Some((name.clone(), tensor.clone()));
        }
        let source = data.get(first * width..(first + 1) * width)?.to_vec();
        let each = data.chunks_exact(width.max(1)).zip(&places.counts);
        let new: Vec<u8> = each.flat_map(|(old, &counts)| if counts { old } else { &source[..] }).copied().collect();
        is_changed |= new[..] != data[..];
        Some((name.clone(), Tensor::new(tensor.dtype(), tensor.shape(), new).ok()?))
    };
    let refilled: Option<NamedTensors> = sample.iter().map(refill).collect();
    refilled.filter(|_| is_changed)
}

fn is_same(before: &Tensor, after: &Tensor) -> bool {
    let (Some(before_values), Some(after_values)) = (before.to_f64(), after.to_f64()) else {
        return before.same_as(after);
    };
    let largest = before_values.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    before.shape() == after.shape()
        && before_values.iter().zip(&after_values).all(|(a, b)| (a - b).abs() <= SAME * largest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::BackendChoice;
    use crate::ir::text;
    use crate::pass::Scratch;

    #[derive(Debug)]
    struct One(NamedTensors);

    impl Samples for One {
        fn len(&self) -> usize {
            1
        }

        fn get(&self, _: usize) -> Result<NamedTensors> {
            Ok(self.0.clone())
        }

        fn label(&self, _: usize) -> Option<Vec<i64>> {
            None
        }

        fn describe(&self) -> String {
            "one sample".to_owned()
        }
    }

    fn found(body: &str, outputs: &str) -> Idle {
        let source = format!(
            "<ir_version: 8, opset_import: [\"\" : 13]> g (float[1,3,2] x, float[1,3] m) => ({outputs})
            <int64[1] a = {{2}}> {{ {body} }}"
        );
        let model = text::parse(&source).unwrap();
        let x = Tensor::from_f32([1, 3, 2], &[1., 2., 3., 4., 5., 6.]).unwrap();
        let m = Tensor::from_f32([1, 3], &[1., 0., 1.]).unwrap();
        let scratch = Scratch::in_memory();
        let env = Env { backend: BackendChoice::Tract, ..Env::plain(&scratch) };
        Idle::of(&model, &One(vec![("x".to_owned(), x), ("m".to_owned(), m)]), &env).unwrap()
    }

    const MASKED: &str = "w = Unsqueeze(m, a) z = Mul(x, w)";

    #[test]
    fn a_mask_is_what_makes_places_not_matter() {
        let pooled = found(&format!("{MASKED} y = ReduceMean<axes = [1]>(z)"), "float[1,1,2] y");
        assert_eq!(pooled.mask(), Some("m"));
        // An input of zeros and ones that hides nothing is no mask.
        let added = found(&format!("{MASKED} s = Add(z, x) y = ReduceMean<axes = [1]>(s)"), "float[1,1,2] y");
        assert_eq!(added.mask(), None);
    }

    #[test]
    fn rows_of_other_places_are_left_out() {
        let places = Places { shape: vec![1, 3], counts: vec![true, false, true] };
        let tensor = Tensor::from_f32([1, 3, 2], &[0.0; 6]).unwrap();
        assert_eq!(places.rows(&tensor), Some(vec![0, 2]));
        let turned = Tensor::from_f32([3, 1, 2], &[0.0; 6]).unwrap();
        assert_eq!(places.rows(&turned), None);
    }
}
