//! `onnx-shrink verify SMALL --original MODEL`.

use std::path::PathBuf;

use clap::Args;
use onnx_shrink::Result;
use onnx_shrink::shrink::Provenance;
use onnx_shrink::verify::{VerifyOptions, verify};

use super::args::Common;
use super::progress::Bars;
use super::to_stdout;

#[derive(Debug, Args)]
pub(in crate::cli) struct VerifyArgs {
    /// The file that was made
    #[arg(value_name = "FILE")]
    pub(in crate::cli) file: PathBuf,
    /// The model it was made from
    #[arg(long, value_name = "MODEL")]
    pub(in crate::cli) original: PathBuf,
    /// The data it was calibrated on, if it was
    #[arg(long, value_name = "DATA")]
    pub(in crate::cli) inputs: Option<String>,
    /// Statistics it was calibrated on, in the place of the data; may be repeated
    #[arg(long, value_name = "FILE")]
    pub(in crate::cli) stats_in: Vec<PathBuf>,
    /// The seed it was made with, where the file does not tell it
    #[arg(long, value_name = "N")]
    pub(in crate::cli) seed: Option<u64>,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let options = VerifyOptions { inputs: args.inputs.clone(), stats_in: args.stats_in.clone(), seed: args.seed };
    let verified = verify(&args.file, &args.original, &options, &Bars::new(args.common.quiet))?;
    if args.common.quiet {
        return Ok(());
    }
    let Provenance { pipeline, seed, data_sha256, .. } = &verified.provenance;
    let mut text = format!("the same bytes: `{pipeline}` on {}\n", args.original.display());
    text += &format!("original SHA-256 {}\n", verified.original.sha256);
    if let Some(data) = data_sha256 {
        text += &format!("data     SHA-256 {data}\n");
    }
    text += &format!("result   SHA-256 {}\n", verified.file.sha256);
    if let Some(seed) = seed {
        text += &format!("seed     {seed}\n");
    }
    to_stdout(text.as_bytes())
}
