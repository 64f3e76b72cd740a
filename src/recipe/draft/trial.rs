//! Whether what a recipe suggests works on the model, without any data.

use std::path::Path;

use super::advice::{Advice, LEAST_SNR_DB};
use crate::error::{Error, ErrorKind, Result};
use crate::pass::Progress;
use crate::shrink::{ShrinkOptions, shrink};

/// Leaves of the steps that were suggested those from the first on that works, and says why the others went.
///
/// # Errors
/// Fails where the model cannot be read.
pub(super) fn settle(advice: &mut Advice, model: &Path, progress: &dyn Progress) -> Result<()> {
    while let Some(step) = advice.lossy.first() {
        let Err(error) = attempt(model, step, progress)? else { return Ok(()) };
        let why = one_line(&error);
        if error.kind() == ErrorKind::CannotValidate {
            advice.reasons.push(format!(
                "Not tried, since it cannot be run here: {why}.\n# --no-validate writes the result all the same."
            ));
            advice.lossy.clear();
            return Ok(());
        }
        advice.reasons.push(format!("{step} was tried on random inputs and refused: {why}.\n# With real data it may do: add it to the pipeline again, and name inputs below."));
        advice.lossy.remove(0);
    }
    Ok(())
}

/// A dry run; why it is no good, if it is not.
fn attempt(model: &Path, step: &str, progress: &dyn Progress) -> Result<std::result::Result<(), Error>> {
    let pipeline = format!("simplify,{step}").parse()?;
    let gates = vec![format!("snr={LEAST_SNR_DB}").parse()?];
    Ok(match shrink(model, &ShrinkOptions { gates, ..ShrinkOptions::new(pipeline) }, progress) {
        Ok(shrunk) => shrunk.refusal.map_or(Ok(()), Err),
        Err(error) => Err(error),
    })
}

/// An error as the end of a sentence in a comment.
fn one_line(error: &Error) -> String {
    let text = error.to_string();
    let found = text.lines().find_map(|line| line.trim().strip_prefix("found:")).map(str::trim);
    let what: String = error.what().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    match found {
        Some(found) => format!("{what} ({found})"),
        None => what,
    }
}
