//! Running both models and the layers between them, and dividing what drifted.

use super::align::Pair;
use super::feed::{Fed, feed};
use super::{LayerDrift, LayersReport, MAX_SAMPLES};
use crate::backend::{BackendChoice, LoadOptions, ModelBytes, NamedTensors, Session, load};
use crate::data::Samples;
use crate::error::{Error, Result};
use crate::ir::{DType, Model, Tensor, ValueId};
use crate::shrink::Comparing;

/// The energy of no signal at all, so that a ratio to it is a number.
const LEAST_ENERGY: f64 = 1e-30;

/// Sums of squares over all samples of one value.
#[derive(Debug, Clone, Copy, Default)]
struct Energies {
    signal: f64,
    drift: f64,
    born: f64,
    passed_on: f64,
}

/// What one value is in the reference, in the candidate, and after the layer of the reference on the candidate's inputs.
type Three = [Tensor; 3];

/// The models on one backend: figures of two would differ by more than many a layer.
struct Sessions {
    reference: Box<dyn Session>,
    candidate: Box<dyn Session>,
}

impl Sessions {
    fn open(
        files: (&ModelBytes, &ModelBytes),
        taps: (Vec<String>, Vec<String>),
        choice: BackendChoice,
    ) -> Result<Self> {
        let open = |choice, file, taps: &Vec<String>| {
            load(choice, file, &LoadOptions { taps: taps.clone(), threads: 0, ..LoadOptions::default() })
        };
        let both = |choice| -> Result<Self> {
            Ok(Self { reference: open(choice, files.0, &taps.0)?, candidate: open(choice, files.1, &taps.1)? })
        };
        let sessions = both(choice)?;
        match sessions.reference.backend() == sessions.candidate.backend() || choice != BackendChoice::Auto {
            true => Ok(sessions),
            false => both(BackendChoice::OnnxRuntime),
        }
    }
}

/// Measures what is born and what is passed on at each pair.
///
/// # Errors
/// Fails where the models have no value in common or do not run.
pub(super) fn measure(
    (reference, candidate): (&Model, &Model),
    files: (&ModelBytes, &ModelBytes),
    pairs: &[Pair],
    samples: &dyn Samples,
    how: &Comparing<'_>,
) -> Result<LayersReport> {
    let name = |model: &Model, value: ValueId| model.graph.value(value).name().to_owned();
    let ours: Vec<String> = pairs.iter().map(|pair| name(reference, pair.reference)).collect();
    let theirs: Vec<String> = pairs.iter().map(|pair| name(candidate, pair.candidate)).collect();
    let sessions = Sessions::open(files, (ours.clone(), theirs.clone()), how.backend)?;
    samples.settle(&|inputs| sessions.reference.run(inputs).map(drop))?;

    let count = samples.len().min(MAX_SAMPLES);
    how.progress.start("comparing layers", count as u64);
    let first = taps(&sessions, &samples.get(0)?, pairs.len())?;
    // What differs in type or shape is not the same value, whatever its name.
    let comparable: Vec<usize> = (0..pairs.len())
        .filter(|&index| {
            let (before, after) = (&first.0[index], &first.1[index]);
            before.dtype().is_float() && before.dtype() == after.dtype() && before.shape() == after.shape()
        })
        .collect();
    if comparable.is_empty() {
        return Err(Error::usage("the two models have no value in common to compare layer by layer")
            .help("compare models of which one was made from the other"));
    }
    let cut: Vec<(ValueId, DType)> =
        comparable.iter().map(|&index| (pairs[index].reference, first.0[index].dtype())).collect();
    let fed = feed(reference, &cut)?;
    let layers = load(how.backend, &fed.file, &LoadOptions { taps: Vec::new(), threads: 0, ..LoadOptions::default() })?;

    let mut energies = vec![Energies::default(); comparable.len()];
    let mut first = Some(first);
    for sample in 0..count {
        let inputs = samples.get(sample)?;
        let (before, after) = match first.take() {
            Some(taps) => taps,
            None => taps(&sessions, &inputs, pairs.len())?,
        };
        let pick = |tensors: &[Tensor]| -> Vec<Tensor> { comparable.iter().map(|&i| tensors[i].clone()).collect() };
        let (before, after) = (pick(&before), pick(&after));
        let computed = run_layers(&*layers, &fed, &inputs, &after)?;
        for ((energies, before), (after, computed)) in
            energies.iter_mut().zip(before).zip(after.into_iter().zip(computed))
        {
            energies.add(&[before, after, computed]);
        }
        how.progress.advance(1);
    }
    how.progress.finish();

    let mut layers: Vec<(f64, LayerDrift)> = Vec::with_capacity(comparable.len());
    for ((&index, energies), operators) in comparable.iter().zip(&energies).zip(fed.operators) {
        let Some((node, _)) = reference.graph.producer(pairs[index].reference) else { continue };
        let (born, passed) = (energies.born / energies.signal(), energies.passed_on / energies.signal());
        layers.push((
            born,
            LayerDrift {
                op: reference.graph.node(node).op_type().to_owned(),
                node: reference.graph.node_label(node),
                operators,
                value: ours[index].clone(),
                candidate_value: theirs[index].clone(),
                snr_db: decibels(energies.drift / energies.signal()),
                born_db: decibels(born),
                passed_on_db: decibels(passed),
                is_born: born > passed,
            },
        ));
    }
    // Stable: layers that add nothing stay in the order of the model.
    layers.sort_by(|(a, _), (b, _)| b.total_cmp(a));
    let by_name = comparable.iter().filter(|&&index| pairs[index].has_equal_name).count();
    Ok(LayersReport {
        values: comparable.len(),
        by_name,
        by_alignment: comparable.len() - by_name,
        samples: count,
        layers: layers.into_iter().map(|(_, layer)| layer).collect(),
    })
}

/// The paired values of both models on one sample.
fn taps(sessions: &Sessions, inputs: &NamedTensors, count: usize) -> Result<(Vec<Tensor>, Vec<Tensor>)> {
    let run = |session: &dyn Session| -> Result<Vec<Tensor>> {
        let outputs = session.run(inputs)?;
        let start = outputs.len().saturating_sub(count);
        Ok(outputs.into_iter().skip(start).map(|(_, tensor)| tensor).collect())
    };
    Ok((run(&*sessions.reference)?, run(&*sessions.candidate)?))
}

/// What each layer of the reference makes of the candidate's values.
fn run_layers(session: &dyn Session, fed: &Fed, inputs: &NamedTensors, values: &[Tensor]) -> Result<Vec<Tensor>> {
    let given = fed.inputs.iter().zip(values);
    let given = given.filter_map(|(name, tensor)| Some((name.clone()?, tensor.clone())));
    let inputs: NamedTensors = inputs.iter().cloned().chain(given).collect();
    Ok(session.run(&inputs)?.into_iter().map(|(_, tensor)| tensor).collect())
}

impl Energies {
    fn add(&mut self, three: &Three) {
        let [Some(reference), Some(candidate), Some(layer)] = three.each_ref().map(Tensor::to_f64) else { return };
        for ((r, c), l) in reference.into_iter().zip(candidate).zip(layer) {
            // Masks are infinite on purpose; equal ones are no drift.
            if r == c && c == l {
                self.signal += if r.is_finite() { r * r } else { 0.0 };
                continue;
            }
            self.signal += finite(r * r);
            self.drift += finite((c - r) * (c - r));
            self.born += finite((c - l) * (c - l));
            self.passed_on += finite((l - r) * (l - r));
        }
    }

    fn signal(&self) -> f64 {
        self.signal.max(LEAST_ENERGY)
    }
}

/// What is NaN or infinite on one side only is as far off as can be.
fn finite(square: f64) -> f64 {
    if square.is_finite() { square } else { 1e30 }
}

/// A ratio of noise to signal in decibels; `None` without noise.
fn decibels(noise_to_signal: f64) -> Option<f64> {
    (noise_to_signal > 0.0).then(|| -10.0 * noise_to_signal.log10())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divides_drift_as_computed_by_hand() {
        let one = |value: f32| Tensor::from_f32(vec![1], &[value]).unwrap();
        let mut energies = Energies::default();
        // The reference gives 10; the candidate 13; the layer gives 12 from what the candidate hands it.
        energies.add(&[one(10.0), one(13.0), one(12.0)]);
        assert_eq!((energies.signal, energies.drift, energies.born, energies.passed_on), (100.0, 9.0, 1.0, 4.0));
        assert_eq!(decibels(energies.born / energies.signal()), Some(20.0));
        assert_eq!(decibels(0.0), None);
    }

    #[test]
    fn equal_infinities_are_no_drift() {
        let one = |value: f32| Tensor::from_f32(vec![1], &[value]).unwrap();
        let mut energies = Energies::default();
        energies.add(&[one(f32::NEG_INFINITY), one(f32::NEG_INFINITY), one(f32::NEG_INFINITY)]);
        assert_eq!((energies.drift, energies.born), (0.0, 0.0));
        energies.add(&[one(1.0), one(f32::NAN), one(1.0)]);
        assert!(energies.born > 1e20);
    }
}
