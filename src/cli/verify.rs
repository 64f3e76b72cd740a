//! `onnx-shrink verify SMALL --original MODEL`.

use std::path::PathBuf;

use clap::Args;
use onnx_shrink::Result;
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
    /// The seed it was made with
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(in crate::cli) seed: u64,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

/// Runs the command.
pub(super) fn run(args: &VerifyArgs) -> Result<()> {
    let options = VerifyOptions { inputs: args.inputs.clone(), seed: args.seed };
    let verified = verify(&args.file, &args.original, &options, &Bars::new(args.common.quiet))?;
    if args.common.quiet {
        return Ok(());
    }
    let text = format!(
        "the same bytes: `{}` on {}\noriginal SHA-256 {}\nresult   SHA-256 {}\n",
        verified.pipeline,
        args.original.display(),
        verified.original.sha256,
        verified.file.sha256
    );
    to_stdout(text.as_bytes())
}
