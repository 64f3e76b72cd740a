//! Extents for the dimensions that a model leaves open.
//!
//! A symbol has one extent in all inputs. In this order: a hint; a sum of other symbols and numbers (`past + 1`); 1 for
//! the first axis of any input and for names like `batch`; 224 for height and width of an image, which every usual
//! stride divides; 16 for everything else, a short sequence.

use std::collections::{BTreeMap, BTreeSet};

use super::Hints;
use crate::error::{Error, Result};
use crate::ir::{Dim, Shape, Signature, TypedName, ValueType};

const BATCH: u64 = 1;
const IMAGE: u64 = 224;
const SEQUENCE: u64 = 16;
/// Colour channels where a model leaves even these open.
const CHANNELS: u64 = 3;

/// A larger input is a mistake in a hint, not a test case.
const MAX_ELEMENTS: u64 = 1 << 31;

/// Concrete shapes of all inputs, in order.
///
/// # Errors
/// Fails where the rank of an input is unknown or its extents multiply to more than can be held.
pub(super) fn concrete_shapes(signature: &Signature, hints: &Hints) -> Result<Vec<Vec<u64>>> {
    let symbols = symbol_extents(signature, hints)?;
    signature.inputs.iter().map(|input| concrete_shape(input, &symbols)).collect()
}

fn concrete_shape(input: &TypedName, symbols: &BTreeMap<String, u64>) -> Result<Vec<u64>> {
    let shape = known_shape(input)?;
    let extent = |(axis, dim): (usize, &Dim)| match dim {
        Dim::Fixed(extent) => *extent,
        Dim::Sym(name) => symbols.get(&**name).copied().unwrap_or(SEQUENCE),
        Dim::Unknown => default_extent(shape, axis),
    };
    let extents: Vec<u64> = shape.0.iter().enumerate().map(extent).collect();
    let elements = extents.iter().try_fold(1_u64, |product, &extent| product.checked_mul(extent));
    if elements.is_none_or(|elements| elements > MAX_ELEMENTS) {
        return Err(Error::unsupported(format!("synthetic data for input `{}` would be too large", input.name))
            .expected(format!("at most {MAX_ELEMENTS} elements"))
            .found(format!("{} with extents {extents:?}", input.ty)));
    }
    Ok(extents)
}

fn known_shape(input: &TypedName) -> Result<&Shape> {
    input.ty.shape().ok_or_else(|| {
        let what = match &input.ty {
            ValueType::Other(_) => "is no tensor",
            _ => "has an unknown rank",
        };
        Error::unsupported(format!("no synthetic data for input `{}`: it {what}", input.name))
            .expected("a tensor of known rank")
            .found(input.ty.to_string())
            .help("give real inputs: --inputs FILE.npz")
    })
}

fn symbol_extents(signature: &Signature, hints: &Hints) -> Result<BTreeMap<String, u64>> {
    let (mut extents, mut first_axes, mut sums) = (BTreeMap::new(), BTreeSet::new(), Vec::new());
    for input in &signature.inputs {
        let shape = known_shape(input)?;
        for (axis, dim) in shape.0.iter().enumerate() {
            let Dim::Sym(name) = dim else { continue };
            let name = name.to_string();
            if axis == 0 {
                first_axes.insert(name.clone());
            }
            if name.contains('+') && !hints.dims.contains_key(&name) {
                sums.push(name.clone());
            }
            extents.entry(name).or_insert_with(|| default_extent(shape, axis));
        }
    }
    for (name, extent) in &mut extents {
        if let Some(hint) = hints.dims.get(name) {
            *extent = *hint;
        } else if first_axes.contains(name) || is_batch(name) {
            *extent = BATCH;
        }
    }
    for sum in sums {
        let addends = sum.split('+').map(str::trim);
        let known = |addend: &str| addend.parse().ok().or_else(|| extents.get(addend).copied());
        if let Some(total) = addends.map(known).try_fold(0_u64, |total, addend| total.checked_add(addend?)) {
            extents.insert(sum, total);
        }
    }
    Ok(extents)
}

fn is_batch(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    name.contains("batch") || name == "n" || name == "bs"
}

fn default_extent(shape: &Shape, axis: usize) -> u64 {
    if axis == 0 {
        return BATCH;
    }
    match image_axes(shape) {
        Some((channel, _)) if axis == channel => CHANNELS,
        Some((_, spatial)) if spatial.contains(&axis) => IMAGE,
        _ => SEQUENCE,
    }
}

/// The channel axis and the spatial axes of a batch of images: rank 4, at most four channels.
fn image_axes(shape: &Shape) -> Option<(usize, [usize; 2])> {
    let [_, second, _, last] = shape.0.as_slice() else { return None };
    let few = |dim: &Dim| dim.fixed().is_some_and(|extent| (1..=4).contains(&extent));
    if few(second) || (second.fixed().is_none() && last.fixed().is_none()) {
        Some((1, [2, 3]))
    } else if few(last) {
        Some((3, [1, 2]))
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;

    fn shapes(inputs: &[&str], hints: &[(&str, u64)]) -> Vec<Vec<u64>> {
        let dim = |text: &str| match text.parse() {
            Ok(extent) => Dim::Fixed(extent),
            Err(_) if text == "?" => Dim::Unknown,
            Err(_) => Dim::Sym(text.into()),
        };
        let input = |text: &&str| TypedName {
            name: "x".into(),
            ty: ValueType::tensor(DType::F32, Some(Shape(text.split(',').map(dim).collect()))),
        };
        let signature = Signature { inputs: inputs.iter().map(input).collect(), outputs: vec![] };
        let dims = hints.iter().map(|(name, extent)| (name.to_string(), *extent)).collect();
        concrete_shapes(&signature, &Hints { dims, ..Hints::default() }).unwrap()
    }

    #[test]
    fn images_are_224_wide() {
        assert_eq!(shapes(&["N,3,H,W"], &[]), [[1, 3, 224, 224]]);
        assert_eq!(shapes(&["?,?,?,3"], &[]), [[1, 224, 224, 3]]);
        assert_eq!(shapes(&["?,3,48,?"], &[]), [[1, 3, 48, 224]]);
    }

    #[test]
    fn a_cache_is_no_image() {
        assert_eq!(shapes(&["batch,12,past,64"], &[]), [[1, 12, 16, 64]]);
    }

    #[test]
    fn a_symbol_has_one_extent_everywhere() {
        assert_eq!(shapes(&["b,s", "s"], &[]), [vec![1, 1], vec![1]]);
        assert_eq!(shapes(&["b,s", "b,s,8"], &[("s", 5)]), [vec![1, 5], vec![1, 5, 8]]);
    }

    #[test]
    fn adds_up_symbols() {
        assert_eq!(shapes(&["b,1", "b,past + 1", "b,12,past,64"], &[("past", 7)])[1], [1, 8]);
    }
}
