//! Pipelines as text: what `-p` takes, what the report prints and what a file remembers.
//!
//! ```text
//! pipeline := step (',' step)*      step := name ('=' arg (':' arg)*)?      arg := (key '=')? value
//! prune=0.5:scope=global,quant8     prune=exclude=a:exclude=b
//! ```
//! A value may hold anything: what has a meaning here is written as `%2C` (comma), `%3A` (colon), `%3D` (equals sign) and
//! `%25` (percent sign). Printing a parsed pipeline and parsing it again gives the same pipeline.

use std::fmt;
use std::str::FromStr;

pub use super::preset::{PRESETS, Preset};
use super::{Opts, Pass, PassInfo, Scope};
use crate::error::{Error, Result, did_you_mean};
use crate::passes;

/// Characters that cannot stand in a value as they are. Blanks are among them because those around a step are ignored.
const RESERVED: &[char] = &['%', ',', ':', '='];

/// An argument of a step: a value, and the key of the option it is for, where one was given.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arg {
    pub(super) key: Option<String>,
    pub(super) value: String,
}

/// One step of a pipeline: the name of a pass or preset, and arguments.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub(super) name: String,
    pub(super) args: Vec<Arg>,
}

impl Step {
    /// A step that runs a pass with options, each with its key; the first may leave it empty.
    pub fn new(name: &str, args: &[(&str, &str)]) -> Self {
        let arg = |(key, value): &(&str, &str)| Arg {
            key: (!key.is_empty()).then(|| (*key).to_owned()),
            value: (*value).to_owned(),
        };
        Self { name: name.to_owned(), args: args.iter().map(arg).collect() }
    }
}

/// A sequence of steps, as written; names and options are checked by [`Pipeline::plan`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pipeline {
    pub(super) steps: Vec<Step>,
}

impl FromStr for Pipeline {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let steps = text.split(',').map(|step| parse_step(step.trim(), text)).collect::<Result<_>>()?;
        Ok(Self { steps })
    }
}

impl fmt::Display for Pipeline {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        for (index, Arg { key, value }) in self.args.iter().enumerate() {
            f.write_str(if index == 0 { "=" } else { ":" })?;
            if let Some(key) = key {
                write!(f, "{key}=")?;
            }
            f.write_str(&encode(value))?;
        }
        Ok(())
    }
}

fn parse_step(text: &str, pipeline: &str) -> Result<Step> {
    if text.is_empty() {
        return Err(Error::usage("a step of the pipeline is empty")
            .expected("names of passes with commas between them, as in `simplify,quant8`")
            .found(format!("`{pipeline}`"))
            .help("`none` is the pipeline that does nothing"));
    }
    let (name, args) = match text.split_once('=') {
        Some((name, args)) => (name, args.split(':').map(|arg| parse_arg(arg, text)).collect::<Result<_>>()?),
        None => (text, Vec::new()),
    };
    if !is_word(name) {
        return Err(Error::usage(format!("`{name}` is no name of a pass"))
            .expected("letters, digits and `-`; options follow after `=`, as in `prune=0.5:scope=global`")
            .found(format!("`{text}`")));
    }
    Ok(Step { name: name.to_owned(), args })
}

fn parse_arg(text: &str, step: &str) -> Result<Arg> {
    let (key, value) = match text.split_once('=') {
        Some((key, _)) if !is_word(key) => {
            return Err(Error::usage(format!("`{key}` is no name of an option"))
                .found(format!("`{step}`"))
                .help("write `=`, `:` and `,` inside of a value as `%3D`, `%3A` and `%2C`"));
        }
        Some((key, value)) => (Some(key.to_owned()), value),
        None => (None, text),
    };
    if value.is_empty() {
        return Err(Error::usage("an option has no value").expected("key=value").found(format!("`{step}`")));
    }
    Ok(Arg { key, value: decode(value)? })
}

fn is_word(text: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
}

fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for c in value.chars() {
        if RESERVED.contains(&c) || c.is_whitespace() || c.is_control() {
            let mut utf8 = [0; 4];
            encoded.extend(c.encode_utf8(&mut utf8).bytes().map(|byte| format!("%{byte:02X}")));
        } else {
            encoded.push(c);
        }
    }
    encoded
}

fn decode(value: &str) -> Result<String> {
    let wrong = || {
        Error::usage("a percent sign in a value is not followed by two hexadecimal digits")
            .found(format!("`{value}`"))
            .help("write the percent sign itself as `%25`")
    };
    let mut decoded = Vec::with_capacity(value.len());
    let mut parts = value.split('%');
    decoded.extend_from_slice(parts.next().unwrap_or_default().as_bytes());
    for part in parts {
        let digits = part.get(..2).filter(|digits| digits.bytes().all(|b| b.is_ascii_hexdigit())).ok_or_else(wrong)?;
        decoded.push(u8::from_str_radix(digits, 16).map_err(|_| wrong())?);
        decoded.extend_from_slice(&part.as_bytes()[2..]);
    }
    String::from_utf8(decoded).map_err(|_| {
        Error::usage("a value is not UTF-8 once its percent signs are resolved").found(format!("`{value}`"))
    })
}

/// A pass that is ready to run.
#[derive(Debug)]
pub(crate) struct Planned {
    pub(crate) info: &'static PassInfo,
    /// The step as a user would write it.
    pub(crate) text: String,
    pub(crate) pass: Box<dyn Pass>,
}

/// A part of a plan.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) passes: Vec<Planned>,
    /// Whether the passes are repeated until none of them changes anything.
    pub(crate) repeats: bool,
}

/// A pipeline with its presets expanded and its passes built.
#[derive(Debug, Default)]
pub struct Plan {
    pub(crate) groups: Vec<Group>,
}

impl Plan {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.groups.iter().all(|group| group.passes.is_empty())
    }
}

impl Pipeline {
    /// The pipeline with these steps in front.
    #[must_use]
    pub fn after(self, front: impl IntoIterator<Item = Step>) -> Self {
        Self { steps: front.into_iter().chain(self.steps).collect() }
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// Whether there is no step.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// Some of the steps, as a pipeline of their own.
    #[must_use]
    pub fn part(&self, steps: std::ops::Range<usize>) -> Self {
        Self { steps: self.steps.get(steps).unwrap_or_default().to_vec() }
    }

    /// The steps that change the signature of a model, and nothing else; `None` where there are none.
    pub fn narrowing(&self) -> Option<Self> {
        let narrows = |step: &&Step| step.info().is_some_and(|info| info.scope == Scope::Signature);
        let steps: Vec<Step> = self.steps.iter().filter(narrows).cloned().collect();
        (!steps.is_empty()).then_some(Self { steps })
    }

    /// Looks up passes and presets, checks the options and builds the passes.
    ///
    /// # Errors
    /// Names an unknown pass, preset or option, or a wrong value, and what was probably meant.
    pub fn plan(&self) -> Result<Plan> {
        Ok(Plan { groups: groups(&self.steps, PRESETS)? })
    }
}

/// The groups that steps stand for, of which some may be among `presets`.
fn groups(steps: &[Step], presets: &[Preset]) -> Result<Vec<Group>> {
    let mut groups = Vec::new();
    for step in steps {
        match presets.iter().position(|preset| preset.name == step.name) {
            Some(place) => groups.extend(expand(&presets[place], step, &presets[..place])?),
            None => groups.push(Group { passes: vec![step.plan()?], repeats: false }),
        }
    }
    Ok(groups)
}

/// The groups of a preset; `earlier` are those it may name.
fn expand(preset: &Preset, step: &Step, earlier: &[Preset]) -> Result<Vec<Group>> {
    if !step.args.is_empty() {
        return Err(Error::usage(format!("preset `{}` takes no options", preset.name))
            .found(format!("`{step}`"))
            .help(format!("write its passes instead: {}", preset.expansion)));
    }
    let parts = match preset.expansion {
        "" => Vec::new(),
        expansion => groups(&expansion.parse::<Pipeline>()?.steps, earlier)?,
    };
    Ok(match preset.repeats {
        true => vec![Group { passes: parts.into_iter().flat_map(|group| group.passes).collect(), repeats: true }],
        false => parts,
    })
}

impl Step {
    /// What the pass of the step is like; `None` for presets and names that nothing has.
    pub(super) fn info(&self) -> Option<&'static PassInfo> {
        passes::find(&self.name)
    }

    fn plan(&self) -> Result<Planned> {
        let info = self.info().ok_or_else(|| unknown_pass(&self.name))?;
        let args: Vec<_> = self.args.iter().map(|arg| (arg.key.clone(), arg.value.clone())).collect();
        let pass = (info.build)(&Opts::new(info, &args)?)?;
        Ok(Planned { info, text: self.to_string(), pass })
    }
}

/// The error for a name that is neither a pass nor a preset.
pub fn unknown_pass(name: &str) -> Error {
    let known = || passes::ALL.iter().map(|info| info.name).chain(PRESETS.iter().map(|preset| preset.name));
    let error = Error::usage(format!("there is no pass or preset `{name}`"));
    match did_you_mean(name, known()) {
        Some(meant) => error.help(format!("did you mean `{meant}`?")),
        None => error
            .expected(format!("one of {}", known().collect::<Vec<_>>().join(", ")))
            .help("`onnx-shrink passes` describes them"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn arg(key: Option<&str>, value: &str) -> Arg {
        Arg { key: key.map(str::to_owned), value: value.to_owned() }
    }

    fn parse_error(text: &str) -> String {
        let error = text.parse::<Pipeline>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        error.to_string()
    }

    #[test]
    fn reads_steps_options_and_escapes() {
        let pipeline: Pipeline = "prune=0.5:scope=global, quant8=exclude=%2Fa%3A0:exclude=b".parse().unwrap();
        let prune = Step { name: "prune".into(), args: vec![arg(None, "0.5"), arg(Some("scope"), "global")] };
        let quant8 =
            Step { name: "quant8".into(), args: vec![arg(Some("exclude"), "/a:0"), arg(Some("exclude"), "b")] };
        assert_eq!(pipeline.steps, [prune, quant8]);
        assert_eq!(pipeline.to_string(), "prune=0.5:scope=global,quant8=exclude=/a%3A0:exclude=b");
    }

    #[test]
    fn refuses_what_is_no_pipeline() {
        assert!(parse_error("").contains("`none`"));
        assert!(parse_error("prune,,quant8").contains("`prune,,quant8`"));
        assert!(parse_error("prune=").contains("no value"));
        assert!(parse_error("prune=0.5:").contains("no value"));
        assert!(parse_error("prune=/a/b=c").contains("`/a/b` is no name of an option"));
        assert!(parse_error("prune quant8").contains("no name of a pass"));
        assert!(parse_error("prune=%2").contains("%25"));
        assert!(parse_error("prune=%+1").contains("%25"));
        assert!(parse_error("prune=%é").contains("%25"));
        assert!(parse_error("prune=%FF").contains("UTF-8"));
    }

    #[test]
    fn names_what_was_meant() {
        let error = "simplfy".parse::<Pipeline>().unwrap().plan().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Usage);
        assert!(error.to_string().contains("did you mean `simplify`?"), "{error}");
        assert!("none=1".parse::<Pipeline>().unwrap().plan().unwrap_err().to_string().contains("takes no options"));
    }

    #[test]
    fn presets_expand() {
        for preset in PRESETS {
            let plan = preset.name.parse::<Pipeline>().unwrap().plan().unwrap_or_else(|e| panic!("{e}"));
            assert_eq!(plan.is_empty(), preset.expansion.is_empty(), "{}", preset.name);
            assert!(passes::find(preset.name).is_none(), "`{}` is a pass, too", preset.name);
        }
    }

    #[test]
    fn a_preset_in_a_preset_keeps_its_rounds() {
        let plan = "edge".parse::<Pipeline>().unwrap().plan().unwrap();
        let sizes: Vec<_> = plan.groups.iter().map(|group| (group.passes.len() > 1, group.repeats)).collect();
        assert_eq!(sizes, [(true, true), (false, false), (false, false)]);
    }

    #[test]
    fn a_preset_cannot_contain_itself() {
        const LOOP: &[Preset] = &[
            Preset { name: "a", summary: "", expansion: "b", repeats: false },
            Preset { name: "b", summary: "", expansion: "b", repeats: false },
        ];
        for name in ["a", "b"] {
            let error = groups(&[Step::new(name, &[])], LOOP).unwrap_err();
            assert!(error.to_string().contains("no pass or preset `b`"), "{error}");
        }
    }

    fn any_arg() -> impl Strategy<Value = Arg> {
        (proptest::option::of("[a-z][a-z0-9-]{0,8}"), any::<String>().prop_filter("no value", |v| !v.is_empty()))
            .prop_map(|(key, value)| Arg { key, value })
    }

    fn any_pipeline() -> impl Strategy<Value = Pipeline> {
        let step = ("[a-z][a-z0-9-]{0,12}", proptest::collection::vec(any_arg(), 0..4))
            .prop_map(|(name, args)| Step { name, args });
        proptest::collection::vec(step, 1..5).prop_map(|steps| Pipeline { steps })
    }

    proptest! {
        #[test]
        fn reads_back_what_it_prints(pipeline in any_pipeline()) {
            let text = pipeline.to_string();
            prop_assert!(!text.contains(char::is_whitespace));
            prop_assert_eq!(text.parse::<Pipeline>().unwrap(), pipeline);
        }
    }
}
