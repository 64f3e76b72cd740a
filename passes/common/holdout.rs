//! Some of the samples: weights that were fitted to samples look better on those than they are.

use crate::backend::NamedTensors;
use crate::data::Samples;
use crate::error::{Error, Result};

/// One sample in so many is kept back.
const KEPT_BACK: usize = 4;

/// Fewer samples than this are all used for everything: there would be too few to check on.
const FEWEST: usize = 8;

/// With fewer samples than this, whether weights are to be fitted to them is asked of some that are kept back.
pub(in crate::passes) const FEW: usize = 64;

/// Whether the sample in this place, of so many, is kept back.
pub(in crate::passes) fn is_kept_back(place: usize, count: usize) -> bool {
    count >= FEWEST && place % KEPT_BACK == KEPT_BACK - 1
}

/// Some of a set of samples.
#[derive(Debug)]
pub(in crate::passes) struct Part<'a> {
    all: &'a dyn Samples,
    chosen: Vec<usize>,
}

impl<'a> Part<'a> {
    /// Samples to fit to, and others to check on, where there are enough for both.
    pub(in crate::passes) fn split(all: &'a dyn Samples) -> Option<(Self, Self)> {
        if all.len() < FEWEST {
            return None;
        }
        let (checked, fitted) = (0..all.len()).partition(|&index| is_kept_back(index, all.len()));
        Some((Self { all, chosen: fitted }, Self { all, chosen: checked }))
    }

    /// All samples but some, by their places.
    pub(in crate::passes) fn without(all: &'a dyn Samples, left_out: &[usize]) -> Self {
        Self { all, chosen: (0..all.len()).filter(|index| !left_out.contains(index)).collect() }
    }

    /// So many samples at most, spread evenly over all.
    pub(in crate::passes) fn spread(all: &'a dyn Samples, most: usize) -> Self {
        let count = all.len().min(most);
        Self { all, chosen: (0..count).map(|index| index * all.len() / count).collect() }
    }
}

/// The samples of a pass, divided where there are enough.
#[derive(Debug)]
pub(in crate::passes) struct Parts<'a> {
    all: Option<&'a dyn Samples>,
    divided: Option<(Part<'a>, Part<'a>)>,
}

impl<'a> Parts<'a> {
    /// All of them are to check on unless `is_fitted`.
    pub(in crate::passes) fn new(all: Option<&'a dyn Samples>, is_fitted: bool) -> Self {
        Self { all, divided: all.filter(|_| is_fitted).and_then(Part::split) }
    }

    /// What may be fitted to; `None` where there are too few for that, or none.
    pub(in crate::passes) fn fit(&self) -> Option<&dyn Samples> {
        self.divided.as_ref().map(|(fit, _)| fit as &dyn Samples)
    }

    /// What to check on, which nothing was fitted to.
    pub(in crate::passes) fn check(&self) -> Option<&dyn Samples> {
        self.divided.as_ref().map(|(_, check)| check as &dyn Samples).or(self.all)
    }
}

impl Samples for Part<'_> {
    fn len(&self) -> usize {
        self.chosen.len()
    }

    fn get(&self, index: usize) -> Result<NamedTensors> {
        let found = self.chosen.get(index).copied();
        self.all.get(found.ok_or_else(|| Error::invalid_data(format!("there is no sample {index}")))?)
    }

    fn label(&self, index: usize) -> Option<Vec<i64>> {
        self.all.label(*self.chosen.get(index)?)
    }

    fn describe(&self) -> String {
        format!("{} kept back of {}", self.chosen.len(), self.all.describe())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{self, DataOptions, Hints};
    use crate::ir::text;

    #[test]
    fn no_sample_is_in_both_parts() {
        let model =
            text::parse("<ir_version: 8, opset_import: [\"\" : 13]> g (float[3] x) => (float[3] y) { y = Relu(x) }");
        let signature = model.unwrap().signature();
        let options = DataOptions { signature: &signature, seed: 3, hints: &Hints::default(), limit: None };
        let few = data::open("synthetic:7", &options).unwrap();
        assert!(Part::split(&*few).is_none());
        let all = data::open("synthetic:9", &options).unwrap();
        let (fitted, checked) = Part::split(&*all).unwrap();
        assert_eq!(
            (fitted.chosen.as_slice(), checked.chosen.as_slice()),
            ([0, 1, 2, 4, 5, 6, 8].as_slice(), [3, 7].as_slice())
        );
        assert_eq!(checked.get(1).unwrap(), all.get(7).unwrap());
        assert!(checked.get(2).is_err());
        let lengths = |parts: &Parts<'_>| (parts.fit().map(<dyn Samples>::len), parts.check().map(<dyn Samples>::len));
        assert_eq!(lengths(&Parts::new(Some(&*all), true)), (Some(7), Some(2)));
        assert_eq!(lengths(&Parts::new(Some(&*all), false)), (None, Some(9)));
        assert_eq!(lengths(&Parts::new(Some(&*few), true)), (None, Some(7)));
        assert_eq!(lengths(&Parts::new(None, true)), (None, None));
        assert_eq!(Part::without(&*all, &checked.chosen).chosen, fitted.chosen);
        assert_eq!(Part::spread(&*all, 3).chosen, [0, 3, 6]);
    }
}
