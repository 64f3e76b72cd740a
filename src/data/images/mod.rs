//! Folders of images.
//!
//! Pixels are taken as they are stored: colour profiles, orientation marks and transparency are passed over, as training
//! pipelines do. 16-bit images become 8-bit ones first.

mod recipe;
mod resize;

use std::path::Path;

use image::{ColorType, DynamicImage, ImageReader};
use rayon::prelude::*;

use super::listing::Listing;
use super::rows::{Batches, Rows, batch_of};
use super::spec::{Spec, positive};
use super::{DataOptions, Samples};
use crate::backend::NamedTensors;
use crate::error::{Error, Result};
use recipe::Recipe;
use resize::Pixels;

/// Images that are decoded when they are asked for.
#[derive(Debug)]
struct Images {
    listing: Listing,
    recipe: Recipe,
}

/// Opens images. The header of each is read, its pixels are not.
///
/// # Errors
/// Names the file that is no readable image or too small, or the option that does not go with the model.
pub(super) fn open(listing: Listing, mut spec: Spec, options: &DataOptions<'_>) -> Result<Box<dyn Samples>> {
    let limit = spec.read("limit", "a positive number of images", positive)?;
    let recipe = Recipe::new(&mut spec, options.signature)?;
    let used = limit.unwrap_or(usize::MAX).min(listing.files.len());
    listing.files[..used].par_iter().try_for_each(|(path, _)| {
        let (width, height) = reader(path)?.into_dimensions().map_err(|e| unreadable(path, e))?;
        recipe.scaled_size(height as usize, width as usize).map(drop).map_err(|e| e.in_file(path))
    })?;
    let input = options.signature.inputs.first().and_then(|input| input.ty.shape());
    let batch = input.map_or(1, |shape| batch_of(shape, shape.rank() == 4));
    Ok(Box::new(Batches::new(Images { listing, recipe }, batch, limit)?))
}

impl Rows for Images {
    fn len(&self) -> usize {
        self.listing.files.len()
    }

    fn row(&self, index: usize) -> Result<NamedTensors> {
        let (path, _) = &self.listing.files[index];
        let image = reader(path)?.decode().map_err(|e| unreadable(path, e))?;
        let tensor = self.recipe.tensor(&pixels(image, self.recipe.channels)).map_err(|e| e.in_file(path))?;
        Ok(vec![(self.recipe.input.clone(), tensor)])
    }

    fn label(&self, index: usize) -> Option<i64> {
        self.listing.files.get(index)?.1
    }

    fn describe(&self) -> String {
        format!("{} ({})", self.listing.describe(), self.recipe.words)
    }
}

/// A reader that goes by what the file holds, not by its name, within the memory limits of the decoder.
fn reader(path: &Path) -> Result<ImageReader<std::io::BufReader<std::fs::File>>> {
    let open = |e| Error::io("read", path, e);
    ImageReader::open(path).map_err(open)?.with_guessed_format().map_err(open)
}

fn unreadable(path: &Path, error: image::ImageError) -> Error {
    Error::invalid_data(format!("`{}` is no readable image", path.display()))
        .expected("a PNG, JPEG, BMP or WebP file")
        .found(error.to_string())
        .with_source(error)
        .help("mend or remove the file")
}

/// The image with three channels, or with one of grey.
fn pixels(image: DynamicImage, channels: usize) -> Pixels {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if channels == 1 && image.color() == ColorType::L8 {
        return Pixels { height, width, channels, values: image.into_bytes() };
    }
    let values = image.into_rgb8().into_raw();
    if channels == 3 {
        return Pixels { height, width, channels, values };
    }
    Pixels { height, width, channels, values: values.as_chunks::<3>().0.iter().map(|&pixel| grey(pixel)).collect() }
}

/// The brightness of a pixel by the weights of ITU-R 601, in the integers that Pillow uses.
fn grey([red, green, blue]: [u8; 3]) -> u8 {
    let sum = 19_595 * u32::from(red) + 38_470 * u32::from(green) + 7_471 * u32::from(blue) + 0x8000;
    (sum >> 16) as u8
}
