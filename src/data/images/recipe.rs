//! How images become the input of a model: what the user says, completed by what the input suggests.

use super::resize::Pixels;
use crate::data::spec::{Spec, fraction, numbers, positive};
use crate::error::{Error, Result};
use crate::ir::{DType, Dim, Shape, Signature, Tensor, TypedName};

/// Height and width.
type Size = (usize, usize);

/// How large an image is made before it is cropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Resize {
    /// As it is.
    None,
    /// The smallest size that covers the crop.
    Cover,
    /// The shorter side gets this length, the other one keeps the proportions.
    Shorter(usize),
    /// This height and width, whatever becomes of the proportions.
    Exact(usize, usize),
}

/// The steps from an image to a tensor.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) input: String,
    dtype: DType,
    has_batch: bool,
    channels_first: bool,
    /// 1 or 3.
    pub(super) channels: usize,
    blue_first: bool,
    resize: Resize,
    crop: Option<Size>,
    /// What each value of an 8-bit channel becomes.
    tables: Vec<[f32; 256]>,
    /// The steps in words, for the report.
    pub(super) words: String,
}

impl Recipe {
    /// Reads the options and completes them.
    ///
    /// # Errors
    /// Fails where the model has no single input that images could be for, or options contradict it.
    pub(super) fn new(spec: &mut Spec, signature: &Signature) -> Result<Self> {
        let (input, shape, dtype) = image_input(signature)?;
        let layout = spec.read("layout", "nchw or nhwc", |text| one_of(text, &["nchw", "nhwc"]))?;
        let order = spec.read("order", "rgb, bgr or grey", |text| one_of(text, &["rgb", "bgr", "grey"]))?;
        let resize = spec.read("resize", "the shorter side (256), HEIGHTxWIDTH, cover or none", read_resize)?;
        let crop = spec.read("crop", "the side of a square (224), or HEIGHTxWIDTH", read_size)?;
        let scale = spec.read("scale", "a number or fraction, as in 1/255", fraction)?;
        let per_channel = "a number for each channel, as in 0.485/0.456/0.406, or one for all";
        let (mean, std) = (spec.read("mean", per_channel, numbers)?, spec.read("std", per_channel, numbers)?);
        spec.finish("images")?;

        let has_batch = shape.rank() == 4;
        let dims = &shape.0[usize::from(has_batch)..];
        let is_channels = |dim: &Dim| matches!(dim.fixed(), Some(1 | 3));
        let channels_first = layout.map_or(is_channels(&dims[0]) || !is_channels(&dims[2]), |chosen| chosen == "nchw");
        let (channel_dim, height, width) =
            if channels_first { (&dims[0], &dims[1], &dims[2]) } else { (&dims[2], &dims[0], &dims[1]) };
        let grey = order == Some("grey");
        let channels = match channel_dim.fixed() {
            Some(1) => 1,
            Some(3) => 3,
            None if grey => 1,
            None => 3,
            Some(count) => {
                return Err(Error::usage(format!(
                    "input `{}` takes {count} channels, and images have 1 or 3",
                    input.name
                ))
                .expected(input.to_string())
                .help("layout=nchw or layout=nhwc says where the channels are"));
            }
        };
        if order.is_some() && grey != (channels == 1) {
            return Err(Error::usage("option `order` does not go with the input")
                .expected(if channels == 1 { "grey, for one channel" } else { "rgb or bgr, for three channels" })
                .found(format!("`{input}`")));
        }
        let target = (usize_of(height), usize_of(width));
        let (resize, crop, crop_words) = sizes(input, resize, crop, target)?;
        if !dtype.is_float() && (scale.is_some() || mean.is_some() || std.is_some()) {
            return Err(Error::usage("scale, mean and std do not go with an input of 8-bit integers")
                .expected("values as they are in the image")
                .found(format!("`{input}`")));
        }
        let scaled = scale.unwrap_or(if dtype.is_float() { (1.0, 255.0) } else { (1.0, 1.0) });
        let tables = tables(channels, scaled, mean.as_deref(), std.as_deref())?;

        let order_word = if channels == 1 { "grey" } else { order.unwrap_or("rgb") };
        let mut steps =
            vec![(resize_words(resize, crop), spec.was_given("resize")), (crop_words, spec.was_given("crop"))];
        steps.push((format!("layout={}", if channels_first { "nchw" } else { "nhwc" }), layout.is_some()));
        steps.push((format!("order={order_word}"), order.is_some()));
        if dtype.is_float() {
            let (above, below) = scaled;
            let text = if below == 1.0 { format!("scale={above}") } else { format!("scale={above}/{below}") };
            steps.push((text, scale.is_some()));
            for (key, value, none) in [("mean", &mean, "0"), ("std", &std, "1")] {
                let text = value.as_ref().map(|values| values.iter().map(f32::to_string).collect::<Vec<_>>().join("/"));
                steps.push((format!("{key}={}", text.as_deref().unwrap_or(none)), text.is_some()));
            }
        }
        let blue_first = order == Some("bgr");
        let input = input.name.clone();
        let words = words(&steps);
        Ok(Self { input, dtype, has_batch, channels_first, channels, blue_first, resize, crop, tables, words })
    }

    /// The height and width to which an image is scaled.
    ///
    /// # Errors
    /// Fails where that is less than what is cut out of it.
    pub(super) fn scaled_size(&self, height: usize, width: usize) -> Result<(usize, usize)> {
        // Lengths are cut to whole pixels, as torchvision does.
        let along = |side: usize, shorter: usize, other: usize| (other as u64 * side as u64 / shorter as u64) as usize;
        let shorter = |side: usize| match height <= width {
            true => (side, along(side, height, width)),
            false => (along(side, width, height), side),
        };
        let scaled = match (self.resize, self.crop) {
            (Resize::Exact(height, width), _) => (height, width),
            (Resize::Shorter(side), _) => shorter(side),
            (Resize::Cover, Some((h, w))) => match h as u64 * width as u64 >= w as u64 * height as u64 {
                true => (h, along(h, height, width)),
                false => (along(w, width, height), w),
            },
            (Resize::None, _) | (Resize::Cover, None) => (height, width),
        };
        match self.crop {
            Some((h, w)) if h > scaled.0 || w > scaled.1 => Err(Error::invalid_data("an image is too small")
                .expected(format!("at least {h}x{w} (height x width) to cut out"))
                .found(format!("{height}x{width}, scaled to {}x{}", scaled.0, scaled.1))
                .help("give resize=cover, or a larger resize=")),
            _ => Ok(scaled),
        }
    }

    /// The tensor of an image with [`Self::channels`] channels.
    ///
    /// # Errors
    /// As [`Self::scaled_size`].
    pub(super) fn tensor(&self, image: &Pixels) -> Result<Tensor> {
        let (height, width) = self.scaled_size(image.height, image.width)?;
        let mut image = image.resized(height, width);
        if let Some((h, w)) = self.crop {
            image = image.cropped((middle(height - h), middle(width - w)), h, w);
        }
        let (pixels, channels) = (image.height * image.width, self.channels);
        let place = |channel: usize| if self.blue_first { channels - 1 - channel } else { channel };
        // Each element of the tensor: its channel, and its value in the image.
        let elements = (0..pixels * channels).map(|index| {
            let (pixel, channel) = match self.channels_first {
                true => (index % pixels, index / pixels),
                false => (index / channels, index % channels),
            };
            (channel, image.values[pixel * channels + place(channel)])
        });
        let extents = [image.height as u64, image.width as u64];
        let mut shape: Vec<u64> = if self.has_batch { vec![1] } else { Vec::new() };
        match self.channels_first {
            true => shape.extend([channels as u64, extents[0], extents[1]]),
            false => shape.extend([extents[0], extents[1], channels as u64]),
        }
        if !self.dtype.is_float() {
            return Tensor::from_u8(shape, elements.map(|(_, value)| value).collect());
        }
        let values: Vec<f32> = elements.map(|(channel, value)| self.tables[channel][usize::from(value)]).collect();
        Tensor::from_floats(self.dtype, shape, &values)
    }
}

/// The one input of a model that images can be for.
fn image_input(signature: &Signature) -> Result<(&TypedName, &Shape, DType)> {
    let [input] = signature.inputs.as_slice() else {
        return Err(Error::usage("images make one input, and the model has several")
            .expected("a model with one input")
            .found(signature.inputs.iter().map(|input| format!("`{input}`")).collect::<Vec<_>>().join(", "))
            .help("give all inputs as arrays in an .npz file"));
    };
    match (input.ty.shape(), input.ty.dtype()) {
        (Some(shape), Some(dtype)) if matches!(shape.rank(), 3 | 4) && (dtype.is_float() || dtype == DType::U8) => {
            Ok((input, shape, dtype))
        }
        _ => Err(Error::usage(format!("input `{}` does not look like an image", input.name))
            .expected("floats or 8-bit integers without sign of rank 4, or 3 without a batch")
            .found(format!("`{input}`"))),
    }
}

/// The word that a text is.
fn one_of(text: &str, words: &[&'static str]) -> Option<&'static str> {
    words.iter().copied().find(|word| *word == text)
}

fn usize_of(dim: &Dim) -> Option<usize> {
    dim.fixed().and_then(|extent| usize::try_from(extent).ok())
}

fn read_size(text: &str) -> Option<Size> {
    match text.split_once('x') {
        Some((height, width)) => Some((positive(height)?, positive(width)?)),
        None => positive(text).map(|side| (side, side)),
    }
    .filter(|&(height, width)| height <= MAX_SIDE && width <= MAX_SIDE)
}

/// Sides longer than this are a mistake, and would only be found by running out of memory.
const MAX_SIDE: usize = 1 << 15;

fn read_resize(text: &str) -> Option<Resize> {
    match text {
        "none" => Some(Resize::None),
        "cover" => Some(Resize::Cover),
        _ => read_size(text).map(|(height, width)| match text.contains('x') {
            true => Resize::Exact(height, width),
            false => Resize::Shorter(height),
        }),
    }
}

/// What to scale to and what to cut out, with the latter in words.
fn sizes(
    input: &TypedName,
    resize: Option<Resize>,
    crop: Option<Size>,
    target: (Option<usize>, Option<usize>),
) -> Result<(Resize, Option<Size>, String)> {
    let exact = match resize {
        Some(Resize::Exact(height, width)) => Some((height, width)),
        _ => None,
    };
    let wanted = crop.or(match target {
        (Some(height), Some(width)) => Some((height, width)),
        _ => exact,
    });
    if wanted.is_none() && !matches!(resize, Some(Resize::None)) {
        return Err(Error::usage(format!("input `{}` leaves the size of images open", input.name))
            .expected("a size to cut out, as in crop=224, or resize=none to take images as they are")
            .found(format!("`{input}`")));
    }
    if let Some((height, width)) = wanted
        && (target.0.is_some_and(|fixed| fixed != height) || target.1.is_some_and(|fixed| fixed != width))
    {
        return Err(Error::usage("option `crop` does not fit the input")
            .expected(format!("`{input}`"))
            .found(format!("{height}x{width} (height x width)")));
    }
    let text = match wanted {
        None => "crop=none".to_owned(),
        Some((height, width)) if height == width => format!("crop={height}"),
        Some((height, width)) => format!("crop={height}x{width}"),
    };
    Ok((resize.unwrap_or(Resize::Cover), wanted, text))
}

fn resize_words(resize: Resize, crop: Option<Size>) -> String {
    match (resize, crop) {
        (Resize::Cover, Some((height, width))) if height == width => format!("resize={height}"),
        (Resize::Cover, _) => "resize=cover".to_owned(),
        (Resize::None, _) => "resize=none".to_owned(),
        (Resize::Shorter(side), _) => format!("resize={side}"),
        (Resize::Exact(height, width), _) => format!("resize={height}x{width}"),
    }
}

/// What each value becomes in each channel: scaled, less the mean, divided by the deviation, in the order and precision
/// in which training code does it.
fn tables(
    channels: usize,
    (above, below): (f32, f32),
    mean: Option<&[f32]>,
    std: Option<&[f32]>,
) -> Result<Vec<[f32; 256]>> {
    for (key, values) in [("mean", mean), ("std", std)] {
        if let Some(values) = values.filter(|values| values.len() != 1 && values.len() != channels) {
            return Err(Error::usage(format!("option `{key}` has the wrong number of values"))
                .expected(if channels == 1 { "1".to_owned() } else { format!("1 or {channels}, one for each channel") })
                .found(values.len().to_string()));
        }
    }
    if std.is_some_and(|std| std.iter().any(|&deviation| deviation <= 0.0)) {
        return Err(Error::usage("option `std` divides, and takes positive numbers only"));
    }
    let of = |values: Option<&[f32]>, channel: usize, none: f32| {
        values.map_or(none, |values| values.get(channel).or(values.first()).copied().unwrap_or(none))
    };
    let table = |channel: usize| {
        let (mean, std) = (of(mean, channel, 0.0), of(std, channel, 1.0));
        std::array::from_fn(|value| (value as f32 * above / below - mean) / std)
    };
    Ok((0..channels).map(table).collect())
}

/// Where a crop starts that leaves so many pixels over: the middle, and of two middles the even one, as torchvision does.
fn middle(over: usize) -> usize {
    let half = over / 2;
    half + usize::from(over % 2 == 1 && half % 2 == 1)
}

/// What was said and what was assumed.
fn words(steps: &[(String, bool)]) -> String {
    let join = |said: bool| {
        steps.iter().filter(|(_, given)| *given == said).map(|(text, _)| text.as_str()).collect::<Vec<_>>().join(":")
    };
    let (said, assumed) = (join(true), join(false));
    match (said.is_empty(), assumed.is_empty()) {
        (true, _) => format!("assumed {assumed}"),
        (false, true) => said,
        (false, false) => format!("{said}, assumed {assumed}"),
    }
}
