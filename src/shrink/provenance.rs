//! What a file tells of how it was made, so that it can be made again: entries of its metadata.
//!
//! | key, behind `onnx_shrink.` | value |
//! |---|---|
//! | `pipeline` | the passes, as `-p` takes them; of absolute paths in it the name of the file alone |
//! | `version` | of this tool |
//! | `input_sha256` | of the model it was made from and compared with, side files included |
//! | `data_sha256` | of the calibration data, where a pass read any: [`crate::data::digest`] |
//! | `seed` | of everything random |
//! | `drift` | that was measured on the result, as gates that it holds to: `snr=35.9,top1=0.99`; `none` where outputs are equal |
//! | `backend`, `external_from_bytes` | these options, where they were given |

use serde::Serialize;

use crate::ir::Model;
use crate::validate::{DriftReport, OutputDrift};

/// The entry that holds the pipeline.
pub const PIPELINE_KEY: &str = "onnx_shrink.pipeline";
const VERSION_KEY: &str = "onnx_shrink.version";
const INPUT_KEY: &str = "onnx_shrink.input_sha256";
const DATA_KEY: &str = "onnx_shrink.data_sha256";
const SEED_KEY: &str = "onnx_shrink.seed";
const BACKEND_KEY: &str = "onnx_shrink.backend";
const EXTERNAL_KEY: &str = "onnx_shrink.external_from_bytes";
const DRIFT_KEY: &str = "onnx_shrink.drift";

const KEYS: &[&str] = &[PIPELINE_KEY, VERSION_KEY, INPUT_KEY, DATA_KEY, SEED_KEY, BACKEND_KEY, EXTERNAL_KEY, DRIFT_KEY];

/// How a file was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// The passes.
    pub pipeline: String,
    /// The version of this tool; `None` where the file only tells the pipeline, as all the following then.
    pub version: Option<String>,
    /// The SHA-256 of the model it was made from; `None` where it was not compared with it.
    pub input_sha256: Option<String>,
    /// The SHA-256 of the calibration data; `None` where no pass read any.
    pub data_sha256: Option<String>,
    /// The seed of everything random.
    pub seed: Option<u64>,
    /// The backend, where one was asked for.
    pub backend: Option<String>,
    /// From which size in bytes on weights went to a side file, where that was asked for.
    pub external_from_bytes: Option<u64>,
    /// The drift that was measured, as gates that it holds to: `snr=45.3,top1=1`; `None` where nothing was compared.
    pub drift: Option<String>,
}

impl Provenance {
    /// What a model tells; `None` where it tells no pipeline.
    pub fn of(model: &Model) -> Option<Self> {
        let entry = |key: &str| model.metadata().find(|(known, _)| *known == key).map(|(_, value)| value.to_owned());
        Some(Self {
            pipeline: entry(PIPELINE_KEY)?,
            version: entry(VERSION_KEY),
            input_sha256: entry(INPUT_KEY),
            data_sha256: entry(DATA_KEY),
            seed: entry(SEED_KEY).and_then(|seed| seed.parse().ok()),
            backend: entry(BACKEND_KEY),
            external_from_bytes: entry(EXTERNAL_KEY).and_then(|bytes| bytes.parse().ok()),
            drift: entry(DRIFT_KEY),
        })
    }

    /// Writes the entries, in the place of those of an earlier run.
    pub(super) fn put(&self, model: &mut Model) {
        model.retain_metadata(|key| !KEYS.contains(&key));
        let entries = [
            (PIPELINE_KEY, Some(self.pipeline.clone())),
            (VERSION_KEY, self.version.clone()),
            (INPUT_KEY, self.input_sha256.clone()),
            (DATA_KEY, self.data_sha256.clone()),
            (SEED_KEY, self.seed.map(|seed| seed.to_string())),
            (BACKEND_KEY, self.backend.clone()),
            (EXTERNAL_KEY, self.external_from_bytes.map(|bytes| bytes.to_string())),
            (DRIFT_KEY, self.drift.clone()),
        ];
        for (key, value) in entries {
            if let Some(value) = value {
                model.set_metadata(key, &value);
            }
        }
    }

    /// The pipeline and nothing else.
    pub(super) fn shortened(&self) -> Self {
        Self {
            pipeline: self.pipeline.clone(),
            version: None,
            input_sha256: None,
            data_sha256: None,
            seed: None,
            backend: None,
            external_from_bytes: None,
            drift: None,
        }
    }
}

/// Adds the drift to what a model tells; `false` where it does not tell how it was made at length.
pub(super) fn tell_drift(model: &mut Model, drift: &str) -> bool {
    let is_told = model.metadata().any(|(key, _)| key == VERSION_KEY);
    if is_told {
        model.set_metadata(DRIFT_KEY, drift);
    }
    is_told
}

/// Takes it back.
pub(super) fn forget_drift(model: &mut Model) {
    model.retain_metadata(|key| key != DRIFT_KEY);
}

/// The drift of all outputs as gates that they hold to: rounded down, so that it claims no more than was measured.
pub(super) fn drift_told(drift: &DriftReport) -> String {
    let least = |of: fn(&OutputDrift) -> Option<f64>| drift.outputs.iter().filter_map(of).min_by(f64::total_cmp);
    let snr = least(|output| output.snr_db.filter(|snr| snr.is_finite()));
    let top1 = least(|output| output.top1);
    let told = [
        snr.map(|snr| format!("snr={:.1}", (snr * 10.0).floor() / 10.0)),
        top1.map(|top1| format!("top1={}", (top1 * 1e4).floor() / 1e4)),
    ];
    let is_equal = drift.outputs.iter().all(OutputDrift::same_values);
    let told: Vec<String> = told.into_iter().flatten().filter(|_| !is_equal).collect();
    if told.is_empty() { "none".to_owned() } else { told.join(",") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ir::Tensor;
    use crate::validate::{Comparison, Gate};

    #[test]
    fn drift_is_told_in_gates_that_hold() {
        let report = |after: &[f32]| {
            let tensor = |values: &[f32]| Tensor::from_f32(vec![1, values.len() as u64], values).unwrap();
            let output = Comparison::of(&tensor(&[3.0, 1.0, 2.0]), &tensor(after)).finish("y".into());
            DriftReport {
                backend_reference: "test".into(),
                backend_candidate: "test".into(),
                samples: 1,
                outputs: vec![output],
                noise: None,
                accuracy: None,
            }
        };
        let drifted = report(&[3.0, 1.0, 2.1]);
        let told = drift_told(&drifted);
        assert!(told.starts_with("snr=31.4,top1=1"), "{told}");
        let gates: Vec<Gate> = told.split(',').map(|gate| gate.parse().unwrap()).collect();
        assert!(drifted.judge(&gates).unwrap().passed());
        assert_eq!(drift_told(&report(&[3.0, 1.0, 2.0])), "none");
    }
}
