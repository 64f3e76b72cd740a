//! `onnx-shrink init MODEL`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use onnx_shrink::output::Staging;
use onnx_shrink::recipe::draft;
use onnx_shrink::{Error, Result};

use super::args::Common;
use super::progress::Bars;
use super::to_stdout;

#[derive(Debug, Args)]
pub(in crate::cli) struct InitArgs {
    /// The ONNX model
    #[arg(value_name = "MODEL")]
    pub(in crate::cli) model: PathBuf,
    /// The recipe to write
    #[arg(short, long, value_name = "FILE", default_value = "shrink.toml")]
    pub(in crate::cli) output: PathBuf,
    /// Replace the recipe that is there
    #[arg(long)]
    pub(in crate::cli) force: bool,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

/// Runs the command.
pub(super) fn run(args: &InitArgs) -> Result<()> {
    let path = &args.output;
    if !args.force && std::fs::symlink_metadata(path).is_ok() {
        return Err(Error::usage(format!("`{}` is there already", path.display()))
            .help("name another file with -o, or replace it with --force"));
    }
    if onnx_shrink::output::is_same_place(path, &args.model) {
        return Err(Error::usage("the recipe would be written over the model").help("name another file with -o"));
    }
    let staging = Staging::alone(path)?;
    let text = draft(&args.model, path.parent().unwrap_or(Path::new("")), &Bars::new(args.common.quiet))?;
    staging.write_with(|out| out.write_all(text.as_bytes()).map_err(|e| Error::io("write", path, e)))?;
    staging.commit()?;
    if args.common.quiet {
        return Ok(());
    }
    let shown = path.display();
    to_stdout(format!("wrote {shown}\nrun it: onnx-shrink --recipe {shown}\n").as_bytes())
}
