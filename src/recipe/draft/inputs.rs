//! What data a model takes, as far as the types of its inputs tell, and how such data is prepared.

use std::fmt::Write;

use super::quoted;
use crate::ir::{Dim, Shape, Signature, TypedName};

/// What an input looks like.
enum Kind {
    /// With the height and width where both are fixed.
    Image(Option<(u64, u64)>),
    Sound,
    Tokens,
    Arrays,
}

/// The inputs and outputs, and how data for them is named.
pub(super) fn write(text: &mut String, signature: &Signature) {
    *text += "\n# Real data, to calibrate and to compare on; without it, random inputs are compared, and nothing is calibrated.\n";
    for input in &signature.inputs {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "#   input  {}", one_line(input));
    }
    for output in &signature.outputs {
        let _ = writeln!(text, "#   output {}", one_line(output));
    }
    match kind(signature) {
        Kind::Image(size) => {
            *text += "# It looks like an image. Mean and deviation are those that most classifiers were trained with; yours may\n\
                      # have others, or none.\n";
            let crop = match size {
                Some((height, width)) if height == width => format!("crop = {height}"),
                Some((height, width)) => format!("crop = \"{height}x{width}\""),
                None => "crop = 224".to_owned(),
            };
            let _ = writeln!(
                text,
                "# inputs = {{ path = \"images/\", {crop}, mean = [0.485, 0.456, 0.406], std = [0.229, 0.224, 0.225] }}"
            );
        }
        Kind::Sound => *text += "# It could be sound:\n# inputs = { path = \"sounds/\", rate = 16000 }\n",
        Kind::Tokens => {
            *text += "# It looks like token ids, one text a line:\n# inputs = { path = \"ids.csv\", pad = 0 }\n"
        }
        Kind::Arrays => {}
    }
    *text += "# An .npz file with an array for each input, sample after sample; an array `label` holds the right classes:\n\
              # inputs = \"calib.npz\"\n# eval-inputs = \"eval.npz\"  # to compare on other samples than those it is fitted to\n";
}

/// The dimensions that are open, as they could be fixed.
pub(super) fn write_narrowing(text: &mut String, signature: &Signature) {
    let mut names: Vec<&str> = Vec::new();
    for dim in signature.inputs.iter().filter_map(|input| input.ty.shape()).flat_map(|shape| &shape.0) {
        if let Dim::Sym(name) = dim
            && !names.contains(&&**name)
        {
            names.push(name);
        }
    }
    if names.is_empty() {
        return;
    }
    *text += "\n# Dimensions fixed for good; what was computed from them is folded away.\n# [dim]\n";
    names.iter().for_each(|name| *text += &format!("# {} = 1\n", quoted(name)));
}

/// A type and a name, which may hold anything, in a comment.
fn one_line(input: &TypedName) -> String {
    input.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn kind(signature: &Signature) -> Kind {
    let shapes: Option<Vec<&Shape>> = signature.inputs.iter().map(|input| input.ty.shape()).collect();
    let Some(shapes) = shapes.filter(|shapes| !shapes.is_empty()) else { return Kind::Arrays };
    let all_integers = signature.inputs.iter().all(|input| input.ty.dtype().is_some_and(|dtype| dtype.is_integer()));
    if all_integers && shapes.iter().all(|shape| shape.rank() == 2) {
        return Kind::Tokens;
    }
    let ([input], [shape]) = (signature.inputs.as_slice(), shapes.as_slice()) else { return Kind::Arrays };
    let is_float = input.ty.dtype().is_some_and(|dtype| dtype.is_float());
    let is_byte = input.ty.dtype().is_some_and(|dtype| dtype.is_integer() && dtype.name() == "uint8");
    let fixed: Vec<Option<u64>> = shape.0.iter().map(Dim::fixed).collect();
    let is_channels = |extent: Option<u64>| matches!(extent, Some(1 | 3));
    match fixed.as_slice() {
        [_, channels, height, width] if is_channels(*channels) && (is_float || is_byte) => {
            Kind::Image(height.zip(*width))
        }
        [_, height, width, channels] if is_channels(*channels) && (is_float || is_byte) => {
            Kind::Image(height.zip(*width))
        }
        [_, length] | [_, Some(1), length] if is_float && length.is_none_or(|length| length >= LEAST_SAMPLES) => {
            Kind::Sound
        }
        _ => Kind::Arrays,
    }
}

/// Fewer numbers in a row are features rather than sound.
const LEAST_SAMPLES: u64 = 400;
