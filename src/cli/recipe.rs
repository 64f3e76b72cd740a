//! `--recipe FILE`: the command line, completed by what a recipe says.

use clap::ArgMatches;
use clap::parser::ValueSource;
use onnx_shrink::Result;
use onnx_shrink::recipe::Recipe;

use super::args::ShrinkArgs;

/// Puts what the recipe says where the command line says nothing.
///
/// # Errors
/// As [`Recipe::read`] and [`Recipe::pipeline`].
pub(super) fn complete(args: &mut ShrinkArgs, matches: &ArgMatches) -> Result<()> {
    let Some(path) = &args.recipe else { return Ok(()) };
    let recipe = Recipe::read(path)?;
    let is_given = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let given = is_given("passes").then_some(args.passes.as_str());
    args.passes = recipe.pipeline(given, &args.passes)?.to_string();
    if let Some(seed) = recipe.seed.filter(|_| !is_given("seed")) {
        args.running.seed = seed;
    }
    if let Some(backend) = recipe.backend.filter(|_| !is_given("backend")) {
        args.running.backend = backend;
    }
    args.model = args.model.take().or(recipe.model);
    if !args.dry_run {
        args.output = args.output.take().or(recipe.output);
    }
    args.inputs = args.inputs.take().or(recipe.inputs);
    args.eval_inputs = args.eval_inputs.take().or(recipe.eval_inputs);
    args.common.threads = args.common.threads.or(recipe.threads);
    args.external_data = args.external_data.or(recipe.external_from_bytes);
    complete_list(&mut args.running.max_drift, recipe.gates);
    complete_list(&mut args.narrowing.input_shape, recipe.input_shapes);
    complete_list(&mut args.narrowing.dim, recipe.dims);
    complete_list(&mut args.keep, recipe.keep);
    complete_list(&mut args.report, recipe.reports);
    Ok(())
}

fn complete_list<T>(given: &mut Vec<T>, from_recipe: Vec<T>) {
    if given.is_empty() {
        *given = from_recipe;
    }
}
