//! Does an array fit a model input, and is its leading dimension the sample?

use super::convert::convert;
use super::stored::Array;
use crate::error::{Error, Result};
use crate::ir::{Dim, Shape, Tensor, TypedName, ValueType};

/// An array that fits an input.
#[derive(Debug)]
pub(super) struct Fitted {
    array: Array,
    /// The number of samples in front; `None` where the array serves as it is for every sample.
    pub(super) samples: Option<usize>,
    /// What was done to the values, for the report.
    pub(super) remark: Option<String>,
}

impl Fitted {
    /// The input of one sample; the elements are shared with the array or the file, not copied.
    ///
    /// # Errors
    /// Fails where the file can no longer be mapped.
    pub(super) fn sample(&self, index: usize) -> Result<Tensor> {
        let array = match &self.array {
            Array::Stored(stored) => return stored.entry(index),
            Array::Memory(array) => array,
        };
        let Some(samples) = self.samples else { return Ok(array.clone()) };
        let shape = &array.shape()[1..];
        if let Some(strings) = array.strings() {
            let each = strings.len() / samples;
            return Tensor::from_strings(shape, strings[index * each..(index + 1) * each].to_vec());
        }
        let each = array.data().len() / samples;
        Tensor::new(array.dtype(), shape, array.data().slice(index * each..(index + 1) * each))
    }
}

/// Checks the shape of an array against the input of the same name, and returns the number of samples in front; `None`
/// where the array serves as it is for every sample.
///
/// # Errors
/// Fails where rank or extents do not go together, or the array is empty.
pub(super) fn count_samples(input: &TypedName, found: &ValueType) -> Result<Option<usize>> {
    if let ValueType::Other(words) = &input.ty {
        return Err(Error::unsupported(format!("input `{}` cannot be given as an array", input.name))
            .expected("a tensor")
            .found(words.clone()));
    }
    // Where nothing is promised, nothing can be checked.
    let (Some(shape), Some(extents)) = (input.ty.shape(), found.shape().and_then(Shape::as_fixed)) else {
        return Ok(None);
    };
    let (samples, sample) = split_sample_axis(input, shape, &extents, found)?;
    // A cache may be empty at the start; a batch or the set of samples may not.
    let empty_batch = sample.first() == Some(&0) && shape.0.first() != Some(&Dim::Fixed(0));
    if samples == Some(0) || empty_batch {
        return Err(Error::invalid_data(format!("array `{}` is empty", input.name)).found(found.to_string()));
    }
    Ok(samples)
}

/// Fits the array to the input of the same name.
///
/// # Errors
/// Fails where [`count_samples`] does, and where the element types do not go together.
pub(super) fn fit(input: &TypedName, array: Array) -> Result<Fitted> {
    if let Array::Stored(stored) = &array
        && let Some(samples) = count_samples(input, &stored.describe())?
        && input.ty.dtype() == Some(stored.dtype)
    {
        return Ok(Fitted { array, samples: Some(samples), remark: None });
    }
    let array = array.into_tensor()?;
    let samples = count_samples(input, &type_of(&array))?;
    let Some(dtype) = input.ty.dtype() else {
        return Ok(Fitted { array: Array::Memory(array), samples, remark: None });
    };
    let (array, remark) = convert(&array, dtype).ok_or_else(|| {
        Error::invalid_data(format!("array `{}` has the wrong element type", input.name))
            .expected(input.ty.to_string())
            .found(format!("{}, which does not convert without loss", array.type_text()))
    })?;
    let remark = remark.map(|what| format!("`{}` {what}", input.name));
    Ok(Fitted { array: Array::Memory(array), samples, remark })
}

fn type_of(array: &Tensor) -> ValueType {
    ValueType::tensor(array.dtype(), Some(Shape::fixed(array.shape().iter().copied())))
}

/// The number of samples in front, and the extents of one sample.
fn split_sample_axis<'a>(
    input: &TypedName,
    shape: &Shape,
    extents: &'a [u64],
    found: &ValueType,
) -> Result<(Option<usize>, &'a [u64])> {
    let (samples, sample) = match extents.split_first() {
        _ if extents.len() == shape.rank() => (None, extents),
        Some((&count, sample)) if sample.len() == shape.rank() => (Some(count as usize), sample),
        _ => {
            return Err(wrong_shape(input, found).help(format!(
                "give an array of rank {}, or of rank {} with samples in front",
                shape.rank(),
                shape.rank() + 1
            )));
        }
    };
    let fits = |(dim, extent): (&Dim, &u64)| dim.fixed().is_none_or(|fixed| fixed == *extent);
    if shape.0.iter().zip(sample).all(fits) {
        return Ok((samples, sample));
    }
    let error = wrong_shape(input, found);
    // Rows of a batch where the model takes one: the most common mistake has a one-line answer.
    let rows_fit = samples.is_none() && shape.0.iter().zip(sample).skip(1).all(fits);
    match shape.0.first().and_then(Dim::fixed) {
        Some(rows) if samples.is_some() && shape.0.iter().zip(sample).skip(1).all(fits) => {
            let name = &input.name;
            Err(error.help(format!(
                "put {rows} rows into each sample: {name} = {name}.reshape(-1, {rows}, *{name}.shape[2:])"
            )))
        }
        Some(1) if rows_fit => Err(error.help(format!("put samples in front: {0} = {0}[:, None]", input.name))),
        _ => Err(error),
    }
}

fn wrong_shape(input: &TypedName, found: &ValueType) -> Error {
    Error::invalid_data(format!("array `{}` does not fit the input", input.name))
        .expected(input.ty.to_string())
        .found(found.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::DType;

    fn input(dims: Vec<Dim>) -> TypedName {
        TypedName { name: "x".into(), ty: ValueType::tensor(DType::F32, Some(Shape(dims))) }
    }

    #[test]
    fn one_more_dimension_means_samples() {
        let array = Tensor::from_f32(vec![2, 1, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let fitted = fit(&input(vec![Dim::Sym("N".into()), Dim::Fixed(2)]), Array::Memory(array.clone())).unwrap();
        assert_eq!(fitted.samples, Some(2));
        let second = fitted.sample(1).unwrap();
        assert_eq!((second.shape(), second.to_f32()), (&[1, 2][..], Some(vec![3.0, 4.0])));
        // Shared, not copied.
        assert_eq!(second.data().as_ptr(), array.data()[8..].as_ptr());
    }

    #[test]
    fn equal_rank_serves_every_sample() {
        let array = Tensor::from_f32(vec![2, 2], &[1.0, 2.0, 3.0, 4.0]).unwrap();
        let fitted = fit(&input(vec![Dim::Unknown, Dim::Fixed(2)]), Array::Memory(array.clone())).unwrap();
        assert_eq!(fitted.samples, None);
        assert!(fitted.sample(7).unwrap().same_as(&array));
    }

    #[test]
    fn slices_strings() {
        let strings = ["a", "b"].map(bytes::Bytes::from).to_vec();
        let array = Tensor::from_strings(vec![2, 1], strings).unwrap();
        let ty = ValueType::tensor(DType::String, Some(Shape::fixed([1])));
        let fitted = fit(&TypedName { name: "x".into(), ty }, Array::Memory(array)).unwrap();
        assert_eq!(fitted.sample(1).unwrap().strings().unwrap(), &[bytes::Bytes::from("b")]);
    }

    #[test]
    fn says_how_to_give_rows_to_a_model_with_a_batch_of_one() {
        let array = Tensor::from_f32(vec![3, 1], &[0.0; 3]).unwrap();
        let error = fit(&input(vec![Dim::Fixed(1), Dim::Fixed(1)]), Array::Memory(array)).unwrap_err().to_string();
        assert!(error.contains("x = x[:, None]"), "{error}");
        assert!(error.contains("float[3,1]") && error.contains("float[1,1]"), "{error}");
    }

    #[test]
    fn refuses_empty_arrays_but_not_empty_caches() {
        let unknown = input(vec![Dim::Unknown, Dim::Unknown]);
        let fit = |input: &TypedName, array: &Tensor| fit(input, Array::Memory(array.clone()));
        assert!(fit(&unknown, &Tensor::from_f32(vec![0, 3], &[]).unwrap()).is_err());
        assert!(fit(&unknown, &Tensor::from_f32(vec![0, 1, 3], &[]).unwrap()).is_err());
        assert!(fit(&unknown, &Tensor::from_f32(vec![2, 0, 3], &[]).unwrap()).is_err());
        assert!(fit(&unknown, &Tensor::from_f32(vec![1, 0], &[]).unwrap()).is_ok());
        assert!(fit(&input(vec![Dim::Fixed(0)]), &Tensor::from_f32(vec![0], &[]).unwrap()).is_ok());
        assert!(fit(&input(vec![Dim::Fixed(0)]), &Tensor::from_f32(vec![0, 0], &[]).unwrap()).is_err());
    }
}
