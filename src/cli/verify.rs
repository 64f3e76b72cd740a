//! `onnx-shrink verify SMALL --original MODEL`.

use onnx_shrink::Result;
use onnx_shrink::verify::{VerifyOptions, verify};

use super::args::VerifyArgs;
use super::progress::Bars;
use super::to_stdout;

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
