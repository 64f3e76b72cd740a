//! The arithmetic of rounding weights so that they make up for each other's errors; nothing here knows a graph.

use rayon::prelude::*;

use crate::calib::Gram;
use crate::passes::common::feedback::Feedback;
use crate::passes::quant8::affine::{Energy, Layout, QuantizedWeights};

/// Channels that are rounded together, so that a row of the factor is read once for all of them.
const TILE_ROWS: usize = 16;

/// 8-bit weights with the given scales, rounded by GPTQ for inputs with these moments: one for each group of channels.
/// Weights that are zero stay so. No level lies beyond those that the channel has when rounded to nearest, which platforms
/// may have left room above. `None` where the moments are of other weights.
pub(super) fn round(weights: &[f32], layout: Layout, scales: &[f32], grams: &[Gram]) -> Option<QuantizedWeights> {
    let (channels, len) = (layout.channels, weights.len());
    if channels == 0
        || len == 0
        || scales.len() != channels
        || grams.is_empty()
        || !channels.is_multiple_of(grams.len())
    {
        return None;
    }
    let (depth, per_group) = (len / channels, channels / grams.len());
    if grams.iter().any(|gram| gram.dim() != depth) {
        return None;
    }
    let rows: Vec<f32> =
        (0..channels).flat_map(|channel| layout.elements(channel, len)).map(|at| weights[at]).collect();
    let mut levels = vec![0i8; len];
    let group_len = per_group * depth;
    let groups = levels.par_chunks_mut(group_len).zip(rows.par_chunks(group_len)).zip(scales.par_chunks(per_group));
    groups.zip(grams).for_each(|(((levels, rows), scales), gram)| {
        let feedback = Feedback::new(&gram.mean_products(), depth, gram.rows());
        let tiles = levels.par_chunks_mut(TILE_ROWS * depth).zip(rows.par_chunks(TILE_ROWS * depth));
        tiles.zip(scales.par_chunks(TILE_ROWS)).for_each(|((levels, rows), scales)| {
            round_tile(levels, rows, scales, feedback.as_ref(), depth);
        });
    });
    let mut energy = Energy::default();
    let mut values = vec![0u8; len];
    let places = (0..channels).flat_map(|channel| layout.elements(channel, len).map(move |at| (channel, at)));
    for (((channel, at), &level), &weight) in places.zip(&levels).zip(&rows) {
        let lost = f64::from(weight) - f64::from(level) * f64::from(scales[channel]);
        energy.signal += f64::from(weight).powi(2);
        energy.error += lost * lost;
        values[at] = level as u8;
    }
    Some(QuantizedWeights { values: values.into(), scales: scales.to_vec(), energy })
}

/// Rounds a few rows of weights; to nearest where their inputs say nothing.
fn round_tile(levels: &mut [i8], rows: &[f32], scales: &[f32], feedback: Option<&Feedback>, depth: usize) {
    let highest: Vec<f32> = rows
        .chunks(depth)
        .zip(scales)
        .map(|(row, scale)| row.iter().fold(0.0f32, |most, weight| most.max((weight / scale).abs())))
        .map(|most| most.round_ties_even().min(127.0))
        .collect();
    let round = |row: usize, k: usize, weight: f32| {
        let level = match rows[row * depth + k] {
            0.0 => 0.0,
            _ => (weight / scales[row]).round_ties_even().clamp(-highest[row], highest[row]),
        };
        (level as i8, level * scales[row])
    };
    match feedback {
        Some(feedback) => feedback.carry(levels, rows, round),
        None => {
            for (at, (level, &weight)) in levels.iter_mut().zip(rows).enumerate() {
                *level = round(at / depth, at % depth, weight).0;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tensor;
    use crate::passes::quant8::affine::quantize_weights;

    fn gram(rows: &[f64], dim: usize) -> Gram {
        let mut gram = Gram::new(dim);
        gram.add(rows);
        gram
    }

    fn levels(weights: &[f32], layout: Layout, scales: &[f32], grams: &[Gram]) -> Vec<i8> {
        round(weights, layout, scales, grams).unwrap().values.iter().map(|&byte| byte as i8).collect()
    }

    #[test]
    fn inputs_that_go_together_make_up_for_each_other() {
        // Two inputs that are always equal but for a little: 0.4 and 0.4 are 0 and 0 to nearest, and 0.8 is closer to 1. The
        // first is larger in the mean square, and so rounded first: to 0, and what is lost of it goes to the second.
        let moments = gram(&[1.01, 1.0, -1.01, -1.0, 0.01, 0.0, 0.0, 0.01], 2);
        let layout = Layout { channels: 1, inner: 3 };
        let rest = [127.0, 0.0];
        let wide = gram(&[1.01, 1.0, 0.0, -1.01, -1.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, -0.5], 3);
        assert_eq!(levels(&[0.4, 0.4, rest[0]], layout, &[1.0], &[wide]), [0, 1, 127]);
        // No level beyond what the channel has to nearest: with 0 as the largest, both stay 0.
        assert_eq!(levels(&[0.4, 0.4], Layout { channels: 1, inner: 2 }, &[1.0], &[moments]), [0, 0]);
    }

    #[test]
    fn each_group_has_moments_of_its_own_and_zeros_stay() {
        let together = gram(&[1.01, 1.0, 0.0, 0.0, 0.0, 0.5], 3);
        let apart = gram(&[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0], 3);
        let weights = [0.4, 0.4, 9.0, 0.4, 0.4, 9.0];
        let layout = Layout { channels: 2, inner: 3 };
        assert_eq!(levels(&weights, layout, &[1.0, 1.0], &[together.clone(), apart]), [0, 1, 9, 0, 0, 9]);
        let zeros = [0.4, 0.0, 9.0];
        assert_eq!(levels(&zeros, Layout { channels: 1, inner: 3 }, &[1.0], &[together]), [0, 0, 9]);
    }

    #[test]
    fn channels_may_lie_on_the_last_axis_and_the_error_of_outputs_shrinks() {
        let (dim, channels) = (24usize, 5usize);
        let inputs: Vec<f64> = (0..dim * 400)
            .map(|i| {
                let (sample, k) = (i / dim, i % dim);
                let noise = |at: usize| ((at * 7919 + 13) % 1013) as f64 / 506.0 - 1.0;
                noise(sample * 31) + 0.3 * noise(sample * 977 + k * 104_729)
            })
            .collect();
        let weights: Vec<f32> = (0..dim * channels).map(|i| ((i * 7919 % 1013) as f32 - 506.0) * 1e-2).collect();
        let tensor = Tensor::from_f32([dim as u64, channels as u64], &weights).unwrap();
        let layout = Layout::along(tensor.shape(), &(1..2));
        let scales = vec![0.4f32; channels];
        let fed = round(&weights, layout, &scales, &[gram(&inputs, dim)]).unwrap();
        let plain = quantize_weights(&tensor, layout, scales);
        let loss = |quantized: &QuantizedWeights| -> f64 {
            let lost = |k: usize, n: usize| {
                let at = k * channels + n;
                f64::from(weights[at]) - f64::from(quantized.values[at] as i8) * f64::from(quantized.scales[n])
            };
            let error =
                |row: &[f64], n: usize| row.iter().enumerate().map(|(k, x)| x * lost(k, n)).sum::<f64>().powi(2);
            inputs.chunks(dim).map(|row| (0..channels).map(|n| error(row, n)).sum::<f64>()).sum()
        };
        assert!(loss(&fed) < 0.5 * loss(&plain), "{} {}", loss(&fed), loss(&plain));
        assert!(fed.energy.error >= plain.energy.error * 0.999, "to nearest is the least error of weights");
    }

    #[test]
    fn moments_of_other_weights_are_refused() {
        let layout = Layout { channels: 2, inner: 2 };
        assert!(round(&[1.0; 4], layout, &[1.0, 1.0], &[Gram::new(3)]).is_none());
        assert!(round(&[1.0; 4], layout, &[1.0], &[Gram::new(2)]).is_none());
        assert!(round(&[1.0; 4], layout, &[1.0, 1.0], &[]).is_none());
        // Inputs that are all zero say nothing: to nearest.
        assert_eq!(levels(&[1.4, 2.0, 0.6, 3.0], layout, &[1.0, 1.0], &[Gram::new(2)]), [1, 2, 1, 3]);
    }
}
