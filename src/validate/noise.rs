//! The noise floor: how far a model's outputs move when its inputs move by the smallest step there is.
//!
//! A drift below this floor is as good as none, whatever its number of decibels.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{RngCore, SeedableRng};

use crate::backend::NamedTensors;
use crate::error::Result;
use crate::ir::{DType, Tensor};

/// The inputs with every finite float moved to the next or the previous one, by chance; `None` where there is no float.
pub(super) fn perturb(inputs: &NamedTensors, seed: u64, sample: u64) -> Option<Result<NamedTensors>> {
    if !inputs.iter().any(|(_, tensor)| tensor.dtype().is_float() && !tensor.is_empty()) {
        return None;
    }
    let perturbed = inputs.iter().enumerate().map(|(position, (name, tensor))| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream(sample * inputs.len() as u64 + position as u64);
        Ok((name.clone(), perturb_tensor(tensor, &mut random)?))
    });
    Some(perturbed.collect())
}

fn perturb_tensor(tensor: &Tensor, random: &mut ChaCha8Rng) -> Result<Tensor> {
    let data = match tensor.dtype() {
        DType::F32 => step::<4>(tensor.data(), 8, random),
        DType::F64 => step::<8>(tensor.data(), 11, random),
        DType::F16 => step::<2>(tensor.data(), 5, random),
        DType::BF16 => step::<2>(tensor.data(), 8, random),
        _ => return Ok(tensor.clone()),
    };
    Tensor::new(tensor.dtype(), tensor.shape(), data)
}

/// Moves IEEE floats of `N` bytes by one unit in the last place. Below the sign bit such floats are ordered like
/// integers, so that the neighbour is one more or one less.
fn step<const N: usize>(data: &[u8], exponent_bits: u32, random: &mut ChaCha8Rng) -> Vec<u8> {
    let bits = 8 * N as u32;
    let sign = 1_u64 << (bits - 1);
    let infinity = ((1_u64 << exponent_bits) - 1) << (bits - 1 - exponent_bits);
    let mut stepped = Vec::with_capacity(data.len());
    for chunk in data.as_chunks::<N>().0 {
        let mut wide = [0; 8];
        wide[..N].copy_from_slice(chunk);
        let value = u64::from_le_bytes(wide);
        let away_from_zero = random.next_u32() & 1 == 1;
        let magnitude = match value & !sign {
            magnitude if magnitude >= infinity => magnitude,
            0 => 1,
            // The neighbour of the largest value is no number.
            magnitude if away_from_zero && magnitude + 1 < infinity => magnitude + 1,
            magnitude => magnitude - 1,
        };
        stepped.extend_from_slice(&((value & sign) | magnitude).to_le_bytes()[..N]);
    }
    stepped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_every_finite_float_by_one_step() {
        let values = [1.0, -2.5, 0.0, f32::MAX, f32::NAN, f32::INFINITY, 1e-40];
        let inputs = vec![("x".to_owned(), Tensor::from_f32(vec![7], &values).unwrap())];
        let moved = perturb(&inputs, 1, 0).unwrap().unwrap()[0].1.to_f32().unwrap();
        for (before, after) in values.iter().zip(&moved) {
            if before.is_finite() {
                assert!(after.is_finite());
                assert_eq!(before.to_bits().abs_diff(after.to_bits()), 1, "{before} -> {after}");
            } else {
                assert_eq!(before.to_bits(), after.to_bits());
            }
        }
    }

    #[test]
    fn goes_both_ways_and_depends_on_the_seed() {
        let inputs = vec![("x".to_owned(), Tensor::from_f32(vec![64], &[1.0; 64]).unwrap())];
        let run = |seed, sample| perturb(&inputs, seed, sample).unwrap().unwrap()[0].1.to_f32().unwrap();
        let moved = run(1, 0);
        assert!(moved.iter().any(|&v| v > 1.0) && moved.iter().any(|&v| v < 1.0));
        assert_eq!(moved, run(1, 0));
        assert_ne!(moved, run(2, 0));
        assert_ne!(moved, run(1, 1));
    }

    #[test]
    fn steps_half_floats_too() {
        let half = Tensor::from_floats(DType::F16, vec![1], &[1.0]).unwrap();
        let moved = perturb(&vec![("x".to_owned(), half.clone())], 1, 0).unwrap().unwrap();
        let bits = |tensor: &Tensor| u16::from_le_bytes([tensor.data()[0], tensor.data()[1]]);
        assert_eq!(bits(&half).abs_diff(bits(&moved[0].1)), 1);
    }

    #[test]
    fn has_nothing_to_say_without_floats() {
        let inputs = vec![("ids".to_owned(), Tensor::from_i64(vec![1], &[3]).unwrap())];
        assert!(perturb(&inputs, 1, 0).is_none());
    }
}
