//! Scaling of 8-bit images by a triangle filter with antialiasing.
//!
//! The arithmetic is that of Pillow's `BILINEAR`, which most training pipelines used: weights are whole multiples of
//! 2^-22, rows first, then columns, with the values in between rounded to 8 bits. In integers, it gives the same bits on
//! every machine.

/// Weights are multiples of two to the power of minus this.
const FRACTION_BITS: u32 = 22;

/// Pixels in rows, the channels of a pixel side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pixels {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) channels: usize,
    pub(super) values: Vec<u8>,
}

/// What makes one pixel of the result: the first pixel it is made of, and the weights of that one and those behind.
struct Taps {
    first: usize,
    weights: Vec<i64>,
}

impl Pixels {
    /// The image in another size.
    pub(super) fn resized(&self, height: usize, width: usize) -> Self {
        let mut image = self.clone();
        if width != image.width {
            image = image.in_width(width);
        }
        if height != image.height {
            image = image.in_height(height);
        }
        image
    }

    /// The part of the image that starts at a row and column.
    pub(super) fn cropped(&self, (top, left): (usize, usize), height: usize, width: usize) -> Self {
        let channels = self.channels;
        let row = |y: usize| &self.values[((top + y) * self.width + left) * channels..][..width * channels];
        let values = (0..height).flat_map(|y| row(y).iter().copied()).collect();
        Self { height, width, channels, values }
    }

    fn in_width(&self, width: usize) -> Self {
        let taps = taps(self.width, width);
        let mut values = Vec::with_capacity(self.height * width * self.channels);
        for row in self.values.chunks_exact(self.width * self.channels) {
            for tap in &taps {
                let pixels = &row[tap.first * self.channels..];
                for channel in 0..self.channels {
                    let found = pixels[channel..].iter().step_by(self.channels);
                    values.push(weighted(found.zip(&tap.weights)));
                }
            }
        }
        Self { width, values, ..*self }
    }

    fn in_height(&self, height: usize) -> Self {
        let stride = self.width * self.channels;
        let mut values = Vec::with_capacity(height * stride);
        for tap in taps(self.height, height) {
            let rows = &self.values[tap.first * stride..];
            for column in 0..stride {
                let found = rows[column..].iter().step_by(stride);
                values.push(weighted(found.zip(&tap.weights)));
            }
        }
        Self { height, values, ..*self }
    }
}

/// The sum of products, rounded to what 8 bits hold.
fn weighted<'a>(products: impl Iterator<Item = (&'a u8, &'a i64)>) -> u8 {
    let half = 1_i64 << (FRACTION_BITS - 1);
    let sum = products.map(|(&value, &weight)| i64::from(value) * weight).sum::<i64>() + half;
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

fn taps(from: usize, to: usize) -> Vec<Taps> {
    let scale = from as f64 / to as f64;
    // A smaller image averages over all pixels that a new one covers, a larger one is interpolated between two.
    let reach = scale.max(1.0);
    let tap = |index: usize| {
        let centre = (index as f64 + 0.5) * scale;
        let first = (centre - reach + 0.5).max(0.0) as usize;
        let end = ((centre + reach + 0.5) as usize).min(from);
        let heights: Vec<f64> =
            (first..end).map(|x| (1.0 - ((x as f64 - centre + 0.5) / reach).abs()).max(0.0)).collect();
        let sum: f64 = heights.iter().sum();
        let unit = f64::from(1_u32 << FRACTION_BITS);
        Taps { first, weights: heights.iter().map(|height| (height / sum * unit + 0.5) as i64).collect() }
    };
    (0..to).map(tap).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(values: &[u8]) -> Pixels {
        Pixels { height: 1, width: values.len(), channels: 1, values: values.to_vec() }
    }

    #[test]
    fn halving_weighs_neighbours_by_a_triangle() {
        // The new pixel 0 lies at 1.0 and reaches from -1.0 to 3.0: pixels at 0.5, 1.5, 2.5 weigh 3/4, 3/4, 1/4.
        let half = row(&[0, 70, 140, 210]).resized(1, 2);
        assert_eq!(half.values, [50, 160]);
        let column = Pixels { height: 4, width: 1, channels: 1, values: vec![0, 70, 140, 210] };
        assert_eq!(column.resized(2, 1).values, [50, 160]);
    }

    #[test]
    fn doubling_interpolates() {
        assert_eq!(row(&[0, 100]).resized(1, 4).values, [0, 25, 75, 100]);
    }

    #[test]
    fn channels_stay_apart_and_constants_stay() {
        let image = Pixels { height: 7, width: 5, channels: 3, values: [10, 200, 255].repeat(35) };
        let small = image.resized(3, 4);
        assert_eq!((small.height, small.width), (3, 4));
        assert_eq!(small.values, [10, 200, 255].repeat(12));
        assert_eq!(image.resized(7, 5), image);
    }

    #[test]
    fn values_are_those_of_pillow() {
        let image = |height: usize, width: usize| Pixels {
            height,
            width,
            channels: 1,
            values: (0..height * width).map(|i| (i * 37 % 251) as u8).collect(),
        };
        // Image.resize((4, 5), Image.BILINEAR) and ((4, 7), Image.BILINEAR) of Pillow 13.
        let smaller = [109, 129, 119, 112, 156, 94, 155, 98, 131, 127, 119, 143, 97, 152, 99, 146, 137, 114, 137, 100];
        assert_eq!(image(17, 13).resized(5, 4).values, smaller);
        let larger = [
            0, 9, 28, 37, 11, 20, 39, 48, 42, 51, 70, 79, 74, 83, 102, 111, 106, 115, 134, 143, 137, 146, 165, 174,
            148, 157, 176, 185,
        ];
        assert_eq!(image(3, 2).resized(7, 4).values, larger);
    }
}
