//! Runs a plan: pass after pass, each one checked.
//!
//! A model whose operator set is too old for a pass is raised to what the pass needs, as a step of its own.
//! After every pass the structure of the model must be as sound as before, its signature the same (or a narrower one,
//! after a pass that is there for that), and what a user wants kept must still be there; what is not names the pass.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Instant;

use super::cx::Learnt;
use super::pipeline::{Pipeline, Plan, Planned};
use super::report::StepReport;
use super::{Changed, Cx, Effect, Env, PassInfo, Scope};
use crate::census::{Census, census};
use crate::error::{Error, ErrorKind, Result};
use crate::ir::text::{self, PrintOptions};
use crate::ir::{DType, Kept, Model, Signature, TypedName, check};
use crate::onnx::{self, EncodeOptions};

/// A group that has not settled by then never will: two of its passes undo each other's work.
const MAX_ROUNDS: usize = 16;

/// The pass that raises the operator set of models that are too old for another one.
const UPGRADE: &str = "upgrade-opset";

/// Executes the model after a pass, with the strongest effect so far, and fails where it drifted.
pub type Verify<'a> = dyn Fn(&Model, &str, Effect) -> Result<()> + 'a;

/// How to run a plan, beyond what is in it.
#[derive(Clone, Copy, Default)]
pub struct RunOptions<'a> {
    /// Write the model after each pass to this folder.
    pub dump_each: Option<&'a Path>,
    /// Stop after so many passes; those a preset repeats count each time.
    pub stop_after: Option<usize>,
    /// Called after each pass that changed something.
    pub verify: Option<&'a Verify<'a>>,
}

impl fmt::Debug for RunOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunOptions")
            .field("dump_each", &self.dump_each)
            .field("stop_after", &self.stop_after)
            .field("verify", &self.verify.is_some())
            .finish()
    }
}

/// What a run did.
#[derive(Debug, Clone, Default)]
pub struct Run {
    /// Each pass that ran, in order.
    pub steps: Vec<StepReport>,
    /// The strongest effect of the passes that changed something; `None` where none did.
    pub effect: Option<Effect>,
    /// Whether one of them is for something that may cost bytes.
    pub may_grow: bool,
}

impl Run {
    /// Whether any pass changed the model.
    pub fn changed(&self) -> Changed {
        self.effect.is_some().into()
    }

    /// Adds what a run of further passes did.
    pub fn append(&mut self, more: Self) {
        self.steps.extend(more.steps);
        self.effect = self.effect.max(more.effect);
        self.may_grow |= more.may_grow;
    }
}

/// Runs a plan on a model.
///
/// # Errors
/// Passes on what a pass returns; [`ErrorKind::BrokenPass`] where a pass left the model damaged or changed its
/// signature; [`ErrorKind::Unsupported`] where the model's operator set is too old for a pass and cannot be raised.
pub fn run(mut plan: Plan, model: &mut Model, env: &Env<'_>, options: &RunOptions<'_>) -> Result<Run> {
    let (signature, kept, census) = (model.signature(), model.kept(), census(model));
    let mut runner = Runner { env, options, signature, kept, census, changes: 0, learnt: None, run: Run::default() };
    if let Some(folder) = options.dump_each {
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create folder", folder, e))?;
    }
    for group in &mut plan.groups {
        let rounds = if group.repeats { MAX_ROUNDS } else { 1 };
        // For each pass the number of changes the model had seen when the pass found nothing to do. It is the same model
        // while that number is, and there is nothing to do in it still.
        let mut idle_at: Vec<Option<usize>> = vec![None; group.passes.len()];
        for round in 1..=rounds {
            let mut changed = Changed::No;
            for (planned, idle_at) in group.passes.iter_mut().zip(&mut idle_at) {
                if *idle_at == Some(runner.changes) {
                    continue;
                }
                if options.stop_after.is_some_and(|limit| runner.run.steps.len() >= limit) {
                    return Ok(runner.run);
                }
                let ran = runner.step(planned, model, round)?;
                *idle_at = (!ran.is_yes()).then_some(runner.changes);
                changed |= ran;
            }
            if !changed.is_yes() {
                break;
            }
        }
    }
    Ok(runner.run)
}

struct Runner<'a> {
    env: &'a Env<'a>,
    options: &'a RunOptions<'a>,
    signature: Signature,
    kept: Kept,
    /// Of the model as it is now.
    census: Census,
    /// How many runs of passes changed the model.
    changes: usize,
    /// What inference knows of the model as it is now.
    learnt: Option<Learnt>,
    run: Run,
}

impl Runner<'_> {
    fn step(&mut self, planned: &mut Planned, model: &mut Model, round: usize) -> Result<Changed> {
        let info = planned.info;
        let mut changed = Changed::No;
        if let Some(needed) = info.min_opset
            && model.opset() < needed
        {
            changed |= self.upgrade_for(info.name, needed, model, round)?;
        }
        changed |= self.execute(planned, model, round, None)?;
        Ok(changed)
    }

    /// Raises the operator set of a model that is too old for a pass, as a step of its own that says why.
    fn upgrade_for(&mut self, pass: &str, needed: i64, model: &mut Model, round: usize) -> Result<Changed> {
        let reason = format!("`{pass}` needs opset {needed}, and the model is at opset {}", model.opset());
        let pipeline: Pipeline = format!("{UPGRADE}={needed}").parse()?;
        let mut changed = Changed::No;
        for mut planned in pipeline.plan()?.groups.into_iter().flat_map(|group| group.passes) {
            let ran = self.execute(&mut planned, model, round, Some(&reason));
            changed |= ran.map_err(|e| e.or_help(format!("leave `{pass}` out, which needs opset {needed}")))?;
        }
        Ok(changed)
    }

    /// Runs one pass and checks what it left; `reason` is why it runs where the pipeline does not name it.
    fn execute(
        &mut self,
        planned: &mut Planned,
        model: &mut Model,
        round: usize,
        reason: Option<&str>,
    ) -> Result<Changed> {
        let info = planned.info;
        let before = self.census;
        let start = Instant::now();
        let mut cx = Cx::new(self.env, info.name).with_learnt(self.learnt.take());
        if let Some(reason) = reason {
            cx.note(reason);
        }
        let changed = planned.pass.run(model, &mut cx)?;
        let seconds = start.elapsed().as_secs_f64();
        check::structure(model).map_err(|e| {
            let what = format!("pass `{}` left a damaged model behind", info.name);
            e.reframed(ErrorKind::BrokenPass, what).help(report_it(info.name))
        })?;
        self.check_signature(info, planned.pass.retypes_floats_to(), model)?;
        self.check_kept(info.name, model)?;
        if changed.is_yes() {
            self.changes += 1;
            self.census = census(model);
        } else {
            self.learnt = cx.take_learnt();
        }
        let after = self.census;
        tracing::info!(
            pass = %planned.text, changed = changed.is_yes(), seconds,
            nodes = after.nodes, constant_bytes = after.constant_bytes, "ran"
        );
        let step = StepReport::new(planned.text.clone(), info.effect, round, changed, seconds, (before, after), cx);
        self.run.steps.push(step);
        if changed.is_yes() {
            let effect = self.run.effect.map_or(info.effect, |effect| effect.max(info.effect));
            self.run.effect = Some(effect);
            self.run.may_grow |= info.may_grow;
            if let Some(verify) = self.options.verify {
                verify(model, info.name, effect)?;
            }
        }
        if let Some(folder) = self.options.dump_each {
            dump(folder, self.run.steps.len(), info.name, model)?;
        }
        Ok(changed)
    }

    /// Checks that callers find what they found before, but for shapes and for element types where those are what the pass
    /// changes.
    fn check_signature(&mut self, info: &PassInfo, retyped: Option<DType>, model: &Model) -> Result<()> {
        let now = model.signature();
        if now == self.signature {
            return Ok(());
        }
        let may_narrow = info.scope == Scope::Signature;
        let is_sound = |before: Option<&TypedName>, after: Option<&TypedName>| match (before, after) {
            (Some(before), Some(after)) if may_narrow => after.narrows(before),
            (Some(before), Some(after)) if retyped.is_some() => after == before || after.is_retyped(before, retyped),
            (before, after) => before == after,
        };
        let sides = [("input", &self.signature.inputs, &now.inputs), ("output", &self.signature.outputs, &now.outputs)];
        let difference = sides.into_iter().find_map(|(side, before, after)| {
            let place = (0..before.len().max(after.len())).find(|&i| !is_sound(before.get(i), after.get(i)))?;
            let text =
                |name: Option<&TypedName>| name.map_or(format!("no {side} {place}"), |name| format!("{side} `{name}`"));
            Some((text(before.get(place)), text(after.get(place))))
        });
        let Some((expected, found)) = difference else {
            self.signature = now;
            return Ok(());
        };
        let how = if may_narrow { "in another way than to narrow shapes" } else { "" };
        let what = format!("pass `{}` changed the signature of the model {how}", info.name);
        Err(Error::new(ErrorKind::BrokenPass, what.trim_end())
            .expected(expected)
            .found(found)
            .help(report_it(info.name)))
    }

    fn check_kept(&mut self, pass: &str, model: &Model) -> Result<()> {
        let now = model.kept();
        let Some(lost) = self.kept.lost_in(&now) else {
            self.kept = now;
            return Ok(());
        };
        Err(Error::new(ErrorKind::BrokenPass, format!("pass `{pass}` removed {lost}, which is to be kept"))
            .help(report_it(pass)))
    }
}

fn report_it(pass: &str) -> String {
    format!("this is a defect of onnx-shrink, not of the model: please report it; meanwhile leave `{pass}` out")
}

/// Writes the model after the pass that ran as number `number`.
fn dump(folder: &Path, number: usize, pass: &str, model: &Model) -> Result<()> {
    let path = |extension: &str| -> PathBuf { folder.join(format!("{number:02}-{pass}.{extension}")) };
    let side_file_name = format!("{number:02}-{pass}.onnx.data");
    let encoded =
        onnx::encode(model, &EncodeOptions { external_from_bytes: None, side_file_name: side_file_name.clone() })?;
    write(&path("onnx"), |file| encoded.write_model(file))?;
    if encoded.side_len() > 0 {
        write(&folder.join(side_file_name), |file| encoded.write_side(file))?;
    }
    let text = text::print(model, &PrintOptions::default());
    write(&path("txt"), |file| io::Write::write_all(file, text.as_bytes()))?;
    Ok(())
}

fn write(path: &Path, contents: impl FnOnce(&mut std::fs::File) -> io::Result<()>) -> Result<()> {
    std::fs::File::create(path).and_then(|mut file| contents(&mut file)).map_err(|e| Error::io("write", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;

    use crate::pass::pipeline::Group;
    use crate::pass::{Pass, PassInfo, Scope, Scratch};

    /// Does what it is told to, so many times.
    #[derive(Debug)]
    struct Scripted {
        times: usize,
        script: fn(&mut Model),
    }

    impl Pass for Scripted {
        fn run(&mut self, model: &mut Model, cx: &mut Cx<'_>) -> Result<Changed> {
            if self.times == 0 {
                return Ok(Changed::No);
            }
            self.times -= 1;
            (self.script)(model);
            cx.note("ran");
            Ok(Changed::Yes)
        }
    }

    static EXACT: PassInfo = PassInfo {
        name: "scripted",
        summary: "Do as the test says",
        effect: Effect::Exact,
        scope: Scope::MainGraph,
        min_opset: None,
        may_grow: false,
        options: &[],
        build: |_| Err(Error::usage("only built by tests")),
    };
    static LOSSY: PassInfo = PassInfo { name: "lossy", effect: Effect::Lossy, min_opset: Some(13), ..EXACT };

    fn planned(info: &'static PassInfo, times: usize, script: fn(&mut Model)) -> Planned {
        Planned { info, text: info.name.to_owned(), pass: Box::new(Scripted { times, script }) }
    }

    fn run_plan(passes: Vec<Planned>, repeats: bool, model: &mut Model, stop_after: Option<usize>) -> Result<Run> {
        let scratch = Scratch::in_memory();
        let env = Env::plain(&scratch);
        let options = RunOptions { stop_after, ..RunOptions::default() };
        run(Plan { groups: vec![Group { passes, repeats }] }, model, &env, &options)
    }

    fn opset13() -> Model {
        let mut model = Model::default();
        model.set_opset("", 13);
        model
    }

    #[test]
    fn repeats_a_group_until_it_settles() {
        let passes = vec![planned(&EXACT, 2, |_| {}), planned(&EXACT, 1, |_| {})];
        let run = run_plan(passes, true, &mut opset13(), None).unwrap();
        let changed: Vec<bool> = run.steps.iter().map(|step| step.changed).collect();
        // The second one found nothing in the model that the first one found nothing in after it.
        assert_eq!(changed, [true, true, true, false, false]);
        assert_eq!(run.effect, Some(Effect::Exact));
    }

    #[test]
    fn gives_up_on_a_group_that_never_settles() {
        let run = run_plan(vec![planned(&EXACT, usize::MAX, |_| {})], true, &mut opset13(), None).unwrap();
        assert_eq!(run.steps.len(), MAX_ROUNDS);
    }

    #[test]
    fn takes_the_strongest_effect_of_what_changed_something() {
        let effect = |lossy: usize| {
            let passes = vec![planned(&EXACT, 1, |_| {}), planned(&LOSSY, lossy, |_| {})];
            run_plan(passes, false, &mut opset13(), None).unwrap().effect
        };
        assert_eq!(effect(1), Some(Effect::Lossy));
        assert_eq!(effect(0), Some(Effect::Exact));
        let nothing = run_plan(vec![planned(&LOSSY, 0, |_| {})], false, &mut opset13(), None).unwrap();
        assert!(!nothing.changed().is_yes());
    }

    #[test]
    fn stops_where_it_is_told() {
        let passes = vec![planned(&EXACT, 1, |_| {}), planned(&EXACT, 1, |_| {})];
        assert_eq!(run_plan(passes, false, &mut opset13(), Some(1)).unwrap().steps.len(), 1);
    }

    #[test]
    fn raises_the_opset_of_a_model_that_is_too_old_for_a_pass() {
        let mut model = Model::default();
        model.set_opset("", 11);
        let run = run_plan(vec![planned(&LOSSY, 1, |_| {})], false, &mut model, None).unwrap();
        assert_eq!(model.opset(), 13);
        let steps: Vec<&str> = run.steps.iter().map(|step| step.step.as_str()).collect();
        assert_eq!(steps, ["upgrade-opset=13", "lossy"]);
        let reason = &run.steps[0].remarks[0].text;
        assert!(reason.contains("`lossy` needs opset 13") && reason.contains("opset 11"), "{reason}");
    }

    #[test]
    fn names_opset_and_pass_where_the_opset_cannot_be_raised() {
        let mut model = Model::default();
        model.set_opset("", 6);
        let error = run_plan(vec![planned(&LOSSY, 1, |_| {})], false, &mut model, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        let text = error.to_string();
        assert!(text.contains("`lossy`") && text.contains("opset 13") && text.contains("opset 6"), "{text}");
    }

    #[test]
    fn a_changed_signature_names_the_pass() {
        let add_output = |model: &mut Model| {
            let tensor = crate::ir::Tensor::from_f32(vec![1], &[1.0]).unwrap();
            let value = model.graph.add_initializer("extra", tensor);
            model.graph.add_output(value).unwrap();
        };
        let error = run_plan(vec![planned(&EXACT, 1, add_output)], false, &mut opset13(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPass);
        let text = error.to_string();
        assert!(text.contains("`scripted`") && text.contains("extra") && text.contains("no output 0"), "{text}");
    }

    #[test]
    fn a_damaged_graph_names_the_pass() {
        let use_undefined = |model: &mut Model| {
            let value = model.graph.add_value("ghost", crate::ir::ValueType::Unknown);
            model.graph.outputs.push(crate::ir::graph::Output { value, info: Default::default() });
            model.graph.value_mut(value).unwrap().output_uses = 1;
        };
        let error = run_plan(vec![planned(&EXACT, 1, use_undefined)], false, &mut opset13(), None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPass);
        assert!(error.to_string().contains("`ghost`"), "{error}");
    }
}
