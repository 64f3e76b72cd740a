//! Recipes: a run of the shrink command in a TOML file.
//!
//! ```toml
//! model = "model.onnx"                      # paths are relative to the recipe
//! output = "small.onnx"
//! pipeline = ["simplify", "quant8"]         # or "simplify,quant8"
//! inputs = { path = "images/", crop = 224, mean = [0.485, 0.456, 0.406] }
//! eval-inputs = "eval.npz"
//! keep = ["/encoder/out"]
//! seed = 0
//! report = ["out.html", "out.json"]
//!
//! [gates]
//! snr = 30
//! [gates.logits]
//! top1 = 0.99
//! [dim]
//! N = 1
//! [layer."/head/*"]
//! exclude = true
//! ```
//! A recipe says nothing that the command line could not: it becomes the same words, so both give the same bytes. Every
//! key may be left out; what the command line says goes before what the recipe does. What a recipe asks for in vain is an
//! error with its line, never passed over.

mod draft;
mod file;
mod layers;
mod place;
mod values;

use std::path::{Path, PathBuf};

use toml::Value;

use crate::backend::BackendChoice;
use crate::error::{Error, Result};
use crate::pass::pipeline::Pipeline;

pub use draft::draft;
use file::File;
use layers::Layers;
use place::Source;
use values::{data, dims, gates, shapes, texts, wrong};

/// From which size on weights go to the side file where a recipe only says that there is one, in bytes.
const DEFAULT_EXTERNAL_FROM_BYTES: u64 = 1024;

/// What a recipe says, in the words of the command line; `None` and empty lists for what it does not say.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Recipe {
    /// The model.
    pub model: Option<PathBuf>,
    /// The file to write.
    pub output: Option<PathBuf>,
    /// The pipeline as it is written, without what is said of layers: see [`Recipe::pipeline`].
    pipeline: Option<String>,
    /// What `--inputs` takes.
    pub inputs: Option<String>,
    /// What `--eval-inputs` takes.
    pub eval_inputs: Option<String>,
    /// What `--max-drift` takes, each.
    pub gates: Vec<String>,
    /// What `--input-shape` takes, each.
    pub input_shapes: Vec<String>,
    /// What `--dim` takes, each.
    pub dims: Vec<String>,
    /// Names to keep.
    pub keep: Vec<String>,
    /// The seed of everything random.
    pub seed: Option<u64>,
    /// The number of threads.
    pub threads: Option<u16>,
    /// The backend, by name.
    pub backend: Option<String>,
    /// From which size in bytes on weights go to a side file.
    pub external_from_bytes: Option<u64>,
    /// Reports to write.
    pub reports: Vec<PathBuf>,
    layers: Layers,
    path: PathBuf,
    text: String,
}

impl Recipe {
    /// Reads a recipe.
    ///
    /// # Errors
    /// Names the line and the key that are wrong, and what was probably meant.
    pub fn read(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => Error::usage(format!("there is no recipe `{}`", path.display()))
                .help("onnx-shrink init MODEL writes one"),
            _ => Error::io("read the recipe", path, e),
        })?;
        Self::parse(&text, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self> {
        let source = Source { path, text };
        let file: File = toml::from_str(text).map_err(|error| source.unreadable(&error))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let resolve = |text: &str| folder.join(text).display().to_string();
        let data_of = |key: &str, value: &Option<toml::Spanned<Value>>| {
            value.as_ref().map(|value| source.read(value, |value| data(key, value, &resolve))).transpose()
        };
        let mut layers = Layers::read(&file.layer, source)?;
        let keep = file.keep.into_iter().chain(std::mem::take(&mut layers.keep)).collect();
        let pipeline =
            file.pipeline.as_ref().map(|value| source.read(value, |value| steps(value, folder))).transpose()?;
        let external = |value: &Value| match value {
            Value::Boolean(true) => Ok(Some(DEFAULT_EXTERNAL_FROM_BYTES)),
            Value::Boolean(false) => Ok(None),
            Value::Integer(bytes) if *bytes >= 0 => Ok(Some(bytes.unsigned_abs())),
            other => Err(wrong("external-data", "true, false, or a number of bytes", other)),
        };
        let reports = |value: &Value| {
            let reports = texts(value).ok_or_else(|| wrong("report", "a path, or a list of paths", value))?;
            Ok(reports.iter().map(|report| folder.join(report)).collect())
        };
        let threads = |threads: &u16| match threads {
            0 => Err(Error::usage("`threads` does not take this value").expected("a number from 1 up").found("0")),
            threads => Ok(*threads),
        };
        let backend = |name: &String| name.parse::<BackendChoice>().map(|_| name.clone());
        Ok(Self {
            model: file.model.map(|model| folder.join(model)),
            output: file.output.map(|output| folder.join(output)),
            pipeline,
            inputs: data_of("inputs", &file.inputs)?,
            eval_inputs: data_of("eval-inputs", &file.eval_inputs)?,
            gates: gates(&file.gates, source)?,
            input_shapes: shapes(&file.input_shape, source)?,
            dims: dims(&file.dim, source)?,
            keep,
            seed: file.seed,
            threads: file.threads.map(|value| source.read(&value, threads)).transpose()?,
            backend: file.backend.map(|value| source.read(&value, backend)).transpose()?,
            external_from_bytes: file.external_data.map(|value| source.read(&value, external)).transpose()?.flatten(),
            reports: file.report.map(|value| source.read(&value, reports)).transpose()?.unwrap_or_default(),
            layers,
            path: path.to_owned(),
            text: text.to_owned(),
        })
    }

    /// The pipeline with what is said of layers: that of the command line, else that of the recipe, else `default`.
    ///
    /// # Errors
    /// Names the line that a pass has no use for.
    pub fn pipeline(&self, of_command_line: Option<&str>, default: &str) -> Result<Pipeline> {
        let text = of_command_line.or(self.pipeline.as_deref()).unwrap_or(default);
        self.layers.apply(text.parse()?, Source { path: &self.path, text: &self.text })
    }
}

/// The pipeline, with paths in it taken from the folder of the recipe.
fn steps(value: &Value, folder: &Path) -> Result<String> {
    let steps = texts(value).filter(|steps| !steps.is_empty());
    let steps =
        steps.ok_or_else(|| wrong("pipeline", "passes: \"simplify,quant8\" or [\"simplify\", \"quant8\"]", value))?;
    let pipeline = steps.join(",").parse::<Pipeline>()?.relative_to(folder);
    // So that a mistake in it is found with its line.
    pipeline.plan()?;
    Ok(pipeline.to_string())
}

#[cfg(test)]
mod tests;
