//! Pipelines with options for single layers, and with paths that are relative to a folder.
//!
//! ```text
//! edge, exclude /head/*   =>   simplify,quant8=auto:for=generic:timing=false:exclude=/head/*,strip
//! ```
//! Only options that take names can be about single layers. A preset takes no options, so its steps are written out where
//! one of them gets some.

use std::path::Path;

use super::pipeline::{Arg, PRESETS, Pipeline, Preset, Step};
use super::{OptKind, OptSpec};
use crate::error::{Error, Result, did_you_mean};

/// What one or all passes do with the layers of a name, or of a pattern with `*`.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerOption {
    /// The name or pattern.
    pub layer: String,
    /// The pass; `None` for every one that has the option.
    pub pass: Option<String>,
    /// The option.
    pub option: String,
    /// The share, for options that take one for each name.
    pub share: Option<f64>,
}

impl Pipeline {
    /// The pipeline with the option given to the steps it is for.
    ///
    /// # Errors
    /// Says so where no step has the option, it is not about single layers, or it lacks a share or takes none.
    pub fn with_layer(self, wanted: &LayerOption) -> Result<Self> {
        let mut given = 0;
        let mut steps = Vec::new();
        for step in self.steps.iter().cloned() {
            steps.extend(wanted.give(step, PRESETS, &mut given)?);
        }
        match given {
            0 => Err(wanted.goes_nowhere(&self)),
            _ => Ok(Self { steps }),
        }
    }

    /// The pipeline with every path that an option names taken from `folder`.
    #[must_use]
    pub fn relative_to(mut self, folder: &Path) -> Self {
        self.each_path(|path| folder.join(path).display().to_string());
        self
    }
}

impl Pipeline {
    /// The pipeline as a file may tell it to anybody: absolute paths, which tell of folders and users, lose their folders.
    #[must_use]
    pub fn without_folders(mut self) -> Self {
        self.each_path(|path| match Path::new(path).file_name().filter(|_| Path::new(path).is_absolute()) {
            Some(name) => name.to_string_lossy().into_owned(),
            None => path.to_owned(),
        });
        self
    }

    /// Whether the pipeline asks for a file that tells nothing of its makers.
    pub fn strips_all(&self) -> bool {
        self.steps.iter().any(|step| step.name == "strip" && step.args.iter().any(|arg| arg.value == "all"))
    }

    fn each_path(&mut self, change: impl Fn(&str) -> String) {
        for step in &mut self.steps {
            let Some(info) = step.info() else { continue };
            for (index, arg) in step.args.iter_mut().enumerate() {
                let is_named = |spec: &&OptSpec| arg.key.as_deref().map_or(index == 0, |key| key == spec.key);
                if info.options.iter().find(is_named).is_some_and(|spec| spec.kind == OptKind::Path) {
                    arg.value = change(&arg.value);
                }
            }
        }
    }
}

impl LayerOption {
    /// The step with the option, if it is for it; a preset becomes its steps where one of them gets the option.
    fn give(&self, mut step: Step, presets: &[Preset], given: &mut usize) -> Result<Vec<Step>> {
        if let Some(place) = presets.iter().position(|preset| preset.name == step.name) {
            let preset = &presets[place];
            if preset.expansion.is_empty() || !step.args.is_empty() {
                return Ok(vec![step]);
            }
            let before = *given;
            let mut steps = Vec::new();
            for inner in preset.expansion.parse::<Pipeline>()?.steps {
                steps.extend(self.give(inner, &presets[..place], given)?);
            }
            if *given > before && preset.repeats {
                return Err(Error::usage(format!("the passes of `{}` have no options for single layers", preset.name)));
            }
            return Ok(if *given > before { steps } else { vec![step] });
        }
        let Some(info) = step.info().filter(|info| self.pass.as_deref().is_none_or(|pass| pass == info.name)) else {
            return Ok(vec![step]);
        };
        let Some(spec) = info.options.iter().find(|spec| spec.key == self.option) else {
            return match self.pass {
                Some(_) => Err(self.is_unknown(info.name, info.options)),
                None => Ok(vec![step]),
            };
        };
        let value = match (spec.kind, self.share) {
            (OptKind::Names, None) => self.layer.clone(),
            (OptKind::Shares, Some(share)) => format!("{}@{share}", self.layer),
            (OptKind::Names, Some(_)) => return Err(self.takes(info.name, "true: it only names layers")),
            (OptKind::Shares, None) => return Err(self.takes(info.name, "a share from 0 to 1 for each layer")),
            _ => return Err(self.is_unknown(info.name, info.options)),
        };
        step.args.push(Arg { key: Some(self.option.clone()), value });
        *given += 1;
        Ok(vec![step])
    }

    fn takes(&self, pass: &str, what: &str) -> Error {
        Error::usage(format!("option `{}` of `{pass}` takes another value for a layer", self.option)).expected(what)
    }

    /// The error for an option that the pass lacks, or has for the whole model alone.
    fn is_unknown(&self, pass: &str, options: &[OptSpec]) -> Error {
        let by_name: Vec<&str> = options.iter().filter(|spec| spec.kind.is_by_name()).map(|spec| spec.key).collect();
        let error = match options.iter().any(|spec| spec.key == self.option) {
            true => Error::usage(format!(
                "option `{}` of `{pass}` is about the whole model, and cannot be given for one layer",
                self.option
            )),
            false => Error::usage(format!("pass `{pass}` has no option `{}`", self.option)),
        };
        let error = error.expected(match by_name.is_empty() {
            true => format!("nothing: `{pass}` has no options for single layers"),
            false => format!("one of its options for single layers: {}", by_name.join(", ")),
        });
        match did_you_mean(&self.option, by_name) {
            Some(meant) => error.help(format!("did you mean `{meant}`?")),
            None => error,
        }
    }

    fn goes_nowhere(&self, pipeline: &Pipeline) -> Error {
        let what = match &self.pass {
            Some(pass) => format!("the pipeline does not run `{pass}`, so there is nothing to set for one layer"),
            None => format!("no pass of the pipeline has the option `{}`", self.option),
        };
        let error = Error::usage(what).found(format!("pipeline `{pipeline}`"));
        match &self.pass {
            Some(pass) => match did_you_mean(pass, pipeline.steps.iter().map(|step| step.name.as_str())) {
                Some(meant) => error.help(format!("did you mean `{meant}`?")),
                None => error,
            },
            None => error.help("`keep` leaves operators alone in every pass"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(pipeline: &str, pass: Option<&str>, option: &str, share: Option<f64>) -> Result<String> {
        let wanted = LayerOption { layer: "/a:0*".into(), pass: pass.map(str::to_owned), option: option.into(), share };
        pipeline.parse::<Pipeline>()?.with_layer(&wanted).map(|pipeline| pipeline.to_string())
    }

    #[test]
    fn steps_that_have_the_option_get_it() {
        let all = with("simplify,prune=0.5,fp16", None, "exclude", None).unwrap();
        assert_eq!(all, "simplify,prune=0.5:exclude=/a%3A0*,fp16=exclude=/a%3A0*");
        let one = with("prune,fp16", Some("prune"), "ratio", Some(0.9)).unwrap();
        assert_eq!(one, "prune=ratio=/a%3A0*@0.9,fp16");
        one.parse::<Pipeline>().unwrap().plan().unwrap();
    }

    #[test]
    fn a_preset_is_written_out_where_it_has_to_be() {
        let text = with("deep-compress,simplify", Some("prune"), "exclude", None).unwrap();
        assert_eq!(text, "prune=0.9:exclude=/a%3A0*,cluster=16:form=bytes:min-elements=256,simplify");
    }

    #[test]
    fn what_cannot_be_said_of_a_layer_is_refused() {
        let error = |pipeline, pass, option, share| with(pipeline, pass, option, share).unwrap_err().to_string();
        assert!(error("simplify", None, "exclude", None).contains("no pass of the pipeline"));
        assert!(error("simplify,fp16", Some("quant8"), "exclude", None).contains("does not run `quant8`"));
        assert!(error("quant8", Some("quant8"), "target", Some(30.0)).contains("about the whole model"));
        assert!(error("quant8", Some("quant8"), "exclud", None).contains("did you mean `exclude`?"));
        assert!(error("quant8", Some("quant8"), "exclude", Some(0.5)).contains("only names layers"));
        assert!(error("prune", Some("prune"), "ratio", None).contains("a share"));
    }

    #[test]
    fn a_file_tells_no_folders() {
        let record = |text: &str| text.parse::<Pipeline>().unwrap().without_folders().to_string();
        assert_eq!(record("prune=mask=/home/ann/m.npz,strip=all"), "prune=mask=m.npz,strip=all");
        assert_eq!(record("prune=mask=a/m.npz"), "prune=mask=a/m.npz");
        let strips = |text: &str| text.parse::<Pipeline>().unwrap().strips_all();
        assert!(strips("dce,strip=all") && strips("strip=what=all") && !strips("strip,strip=names"));
    }

    #[test]
    fn paths_are_taken_from_a_folder() {
        let pipeline: Pipeline = "simplify,prune=mask=m.npz,quant8=weights".parse().unwrap();
        assert_eq!(pipeline.relative_to(Path::new("a/b")).to_string(), "simplify,prune=mask=a/b/m.npz,quant8=weights");
    }
}
