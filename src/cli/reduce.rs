//! `onnx-shrink reduce MODEL --check CMD -o REPRO`.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use clap::Args;
use onnx_shrink::input::Input;
use onnx_shrink::ir::Model;
use onnx_shrink::onnx::{EncodeOptions, encode};
use onnx_shrink::output::Staging;
use onnx_shrink::reduce::reduce;
use onnx_shrink::{Error, ErrorKind, Result};

use super::args::Common;
use super::progress::Bars;
use super::to_stdout;

#[derive(Debug, Args)]
#[command(after_help = "\
The check is run by sh with the path of a model behind it, or in the place of $1. It exits with 0 where the model still
fails in the way that matters. What it prints goes nowhere.

Examples:
  onnx-shrink reduce model.onnx --check './crashes.sh' -o repro.onnx
  onnx-shrink reduce model.onnx --check '! python run.py \"$1\"' -o repro.onnx")]
pub(in crate::cli) struct ReduceArgs {
    /// The model that fails
    #[arg(value_name = "MODEL")]
    pub(in crate::cli) model: PathBuf,
    /// A command that exits with 0 where a model still fails
    #[arg(long, value_name = "CMD")]
    pub(in crate::cli) check: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(in crate::cli) output: PathBuf,
    /// A check that takes longer does not count as failing
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    pub(in crate::cli) timeout: u64,
    #[command(flatten)]
    pub(in crate::cli) common: Common,
}

/// How often a running command is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Runs the command.
pub(super) fn run(args: &ReduceArgs) -> Result<()> {
    let input = Input::open(&args.model)?;
    let name = args.output.file_name().unwrap_or_default().to_string_lossy();
    let staging = Staging::open(&args.output, &format!("{name}.data"))?;
    let folder = tempfile::tempdir().map_err(|e| Error::io("make a folder in", &std::env::temp_dir(), e))?;
    let path = folder.path().join("model.onnx");
    let limit = Duration::from_secs(args.timeout);
    let mut fails = |model: &Model| -> Result<bool> {
        let side_file_name = "model.onnx.data".to_owned();
        let encoded = encode(model, &EncodeOptions { external_from_bytes: None, side_file_name })?;
        let write = || -> std::io::Result<()> {
            encoded.write_model(&mut std::fs::File::create(&path)?)?;
            match encoded.side_len() {
                0 => Ok(()),
                _ => encoded.write_side(&mut std::fs::File::create(folder.path().join("model.onnx.data"))?),
            }
        };
        write().map_err(|e| Error::io("write", &path, e))?;
        exits_with_0(&args.check, &path, limit)
    };
    let reduced = reduce(&input.model, &mut fails, &Bars::new(args.common.quiet))?;
    let encoded =
        encode(&reduced.model, &EncodeOptions { external_from_bytes: None, side_file_name: format!("{name}.data") })?;
    staging.write(&encoded)?;
    staging.commit()?;
    if args.common.quiet {
        return Ok(());
    }
    let text = format!(
        "{} -> {} operators after {} runs of the check\nwrote {}\n",
        reduced.before,
        reduced.after,
        reduced.tries,
        args.output.display()
    );
    to_stdout(text.as_bytes())
}

/// Runs the check in a shell, with the path of the model as its last argument. One that takes too long does not exit with 0.
fn exits_with_0(check: &str, model: &Path, limit: Duration) -> Result<bool> {
    let failed = |e: std::io::Error| {
        Error::new(ErrorKind::Io, format!("the check cannot be run: {e}")).help("it is run by sh").with_source(e)
    };
    let mut command = Command::new("sh");
    // The check is the script, so that it may be a pipe or several commands; `$1` is the path.
    let script = if check.contains("$1") { check.to_owned() } else { format!("{check} \"$1\"") };
    command.args(["-c", &script, "sh"]).arg(model);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut child = command.spawn().map_err(failed)?;
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            return Ok(status.success());
        }
        if start.elapsed() > limit {
            // It may have ended by itself meanwhile.
            let _ = child.kill();
            child.wait().map_err(failed)?;
            return Ok(false);
        }
        std::thread::sleep(POLL);
    }
}
