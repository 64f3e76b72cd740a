//! Integers that stand for weights, put on the scale of the original.
//!
//! ```text
//! w ~ scale[channel] * (code - zero_point)      scale: that of least squares
//! ```
//! The scale of such a weight is applied somewhere behind its operator, together with that of the activations. What it has to
//! be follows from the original as exactly as a chart shows.

use crate::ir::Tensor;

/// The weight that codes stand for; `None` where they are no integers or have another shape than the original.
pub(super) fn restored(original: &Tensor, codes: &Tensor, zero_point: Option<&Tensor>) -> Option<Vec<f32>> {
    let zero = zero_point.and_then(Tensor::to_i64).and_then(|zeros| zeros.first().copied()).unwrap_or(0);
    let mut values: Vec<f32> = codes.to_i64()?.into_iter().map(|code| (code - zero) as f32).collect();
    let extents = |tensor: &Tensor| tensor.shape().iter().map(|&extent| usize::try_from(extent).ok()).collect();
    let (shape, found): (Option<Vec<usize>>, Option<Vec<usize>>) = (extents(original), extents(codes));
    let (shape, found) = (shape?, found?);
    match (shape.as_slice(), found.as_slice()) {
        (shape, found) if shape == found => {}
        // A Gemm reads its weights transposed, a MatMul in its place does not.
        ([rows, columns], [other_rows, other_columns]) if rows == other_columns && columns == other_rows => {
            let at = |index: usize| values.get((index % columns) * rows + index / columns).copied();
            values = (0..values.len()).map(at).collect::<Option<_>>()?;
        }
        _ => return None,
    }
    let original = original.to_f32()?;
    // Channels of a matrix are its rows or its columns, those of a kernel its leading extent.
    let axes = if shape.len() == 2 { 0..2 } else { 0..1 };
    let fits = axes.map(|axis| scaled(&original, &values, &shape, axis));
    let error = |fit: &Vec<f32>| fit.iter().zip(&original).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
    fits.min_by(|a, b| error(a).total_cmp(&error(b)))
}

/// Codes times the scale of their channel, an index of `axis`.
fn scaled(original: &[f32], codes: &[f32], shape: &[usize], axis: usize) -> Vec<f32> {
    let channels = shape[axis].max(1);
    let inner = shape[axis + 1..].iter().product::<usize>().max(1);
    let channel = |index: usize| index / inner % channels;
    let (mut products, mut squares) = (vec![0.0_f64; channels], vec![0.0_f64; channels]);
    for (index, (weight, code)) in original.iter().zip(codes).enumerate() {
        products[channel(index)] += f64::from(*weight) * f64::from(*code);
        squares[channel(index)] += f64::from(*code).powi(2);
    }
    let scale = |channel: usize| if squares[channel] > 0.0 { products[channel] / squares[channel] } else { 0.0 };
    codes.iter().enumerate().map(|(index, code)| (f64::from(*code) * scale(channel(index))) as f32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_put_on_the_scale_of_their_channel() {
        // Columns have the scales 0.5 and 2.
        let original = Tensor::from_f32(vec![2, 2], &[0.5, 4.0, -1.0, 2.0]).unwrap();
        let codes = Tensor::from_u8(vec![2, 2], vec![129, 130, 126, 129]).unwrap();
        let zero = Tensor::from_u8(vec![], vec![128]).unwrap();
        assert_eq!(restored(&original, &codes, Some(&zero)), Some(vec![0.5, 4.0, -1.0, 2.0]));
    }

    #[test]
    fn a_transposed_matrix_is_turned_back() {
        let original = Tensor::from_f32(vec![2, 3], &[1.0, 2.0, 3.0, 0.5, 0.0, -0.5]).unwrap();
        let codes = Tensor::from_i8(vec![3, 2], &[1, 1, 2, 0, 3, -1]).unwrap();
        assert_eq!(restored(&original, &codes, None), Some(vec![1.0, 2.0, 3.0, 0.5, 0.0, -0.5]));
        let other = Tensor::from_i8(vec![6], &[1, 1, 2, 0, 3, -1]).unwrap();
        assert_eq!(restored(&original, &other, None), None);
    }
}
