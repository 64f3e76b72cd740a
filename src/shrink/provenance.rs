//! What a file tells of how it was made, so that it can be made again: entries of its metadata.
//!
//! | key, behind `onnx_shrink.` | value |
//! |---|---|
//! | `pipeline` | the passes, as `-p` takes them; of absolute paths in it the name of the file alone |
//! | `version` | of this tool |
//! | `input_sha256` | of the model it was made from and compared with, side files included |
//! | `data_sha256` | of the calibration data, where a pass read any: [`crate::data::digest`] |
//! | `seed` | of everything random |
//! | `backend`, `external_from_bytes` | these options, where they were given |

use serde::Serialize;

use crate::ir::Model;

/// The entry that holds the pipeline.
pub const PIPELINE_KEY: &str = "onnx_shrink.pipeline";
const VERSION_KEY: &str = "onnx_shrink.version";
const INPUT_KEY: &str = "onnx_shrink.input_sha256";
const DATA_KEY: &str = "onnx_shrink.data_sha256";
const SEED_KEY: &str = "onnx_shrink.seed";
const BACKEND_KEY: &str = "onnx_shrink.backend";
const EXTERNAL_KEY: &str = "onnx_shrink.external_from_bytes";

const KEYS: &[&str] = &[PIPELINE_KEY, VERSION_KEY, INPUT_KEY, DATA_KEY, SEED_KEY, BACKEND_KEY, EXTERNAL_KEY];

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
        }
    }
}
