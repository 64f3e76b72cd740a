//! What can be said on the command line.

use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use onnx_shrink::pass::pipeline::{PRESETS, Step};
use onnx_shrink::{Error, Result, passes};

use super::budget::Searching;
use super::check::CheckArgs;
use super::init::InitArgs;
use super::reduce::ReduceArgs;
use super::sweep::SweepArgs;
use super::verify::VerifyArgs;

const EXAMPLES: &str = "\
Examples:
  onnx-shrink model.onnx -p quant8 -o small.onnx
      int8 weights; no data needed
  onnx-shrink model.onnx -p prune=0.5,quant8 -o small.onnx --inputs calib.npz
      half of the weights zero, int8 arithmetic calibrated on real inputs
  onnx-shrink model.onnx -p quant8 -o small.onnx --inputs calib.npz --max-drift snr=30 --max-drift top1=0.99
      the same, refused unless it stays that close to the original
  onnx-shrink model.onnx --input-shape x:1x3x224x224 -o fixed.onnx
      shapes fixed, and what was computed from them folded away
  onnx-shrink init model.onnx && onnx-shrink --recipe shrink.toml
      a commented recipe for the model, and the run it describes
  onnx-shrink model.onnx --budget 'drift>=30dB' -o best.onnx --inputs calib.npz
      the smallest that is no slower and that close to the original
  onnx-shrink check model.onnx small.onnx --inputs eval.npz --max-drift top1=0.99
      the gate alone, for CI
  onnx-shrink inspect model.onnx
      where the bytes are

Exit codes:
  0  done, and within the gate
  1  the result drifted too far or is a worse file (not written unless --force)
  2  wrong usage, bad input, or an error
  3  no backend here can run the model (not written unless --no-validate or --force)";

/// Makes ONNX models smaller and faster, proves how far the result drifted, and refuses to ship a worse file
#[derive(Debug, Parser)]
#[command(
    name = "onnx-shrink",
    version,
    after_long_help = EXAMPLES,
    after_help = "Use --help for examples, the passes and exit codes.",
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    disable_help_subcommand = true
)]
pub(super) struct Cli {
    #[command(subcommand)]
    pub(super) command: Option<Command>,
    #[command(flatten)]
    pub(super) shrink: ShrinkArgs,
}

impl Cli {
    /// The options every command has.
    pub(super) fn common(&self) -> &Common {
        const NONE: &Common = &Common { threads: None, quiet: false, verbose: 0 };
        match &self.command {
            None => &self.shrink.common,
            Some(Command::Check(args)) => &args.common,
            Some(Command::Sweep(args)) => &args.common,
            Some(Command::Verify(args)) => &args.common,
            Some(Command::Init(args)) => &args.common,
            Some(Command::Reduce(args)) => &args.common,
            Some(Command::Inspect(args)) => &args.common,
            Some(Command::Print(args)) => &args.common,
            Some(Command::Pack(args) | Command::Unpack(args)) => &args.common,
            Some(Command::Passes(_) | Command::Completions { .. }) => NONE,
        }
    }
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Compare two models on the same inputs: a drift gate for CI
    Check(Box<CheckArgs>),
    /// Write a commented recipe for a model, which --recipe runs
    Init(InitArgs),
    /// Run many pipelines on one model and compare what they give: size, drift, speed
    Sweep(Box<SweepArgs>),
    /// Make a file again from the original by the pipeline it tells, and compare the bytes
    Verify(VerifyArgs),
    /// Cut a model that fails down to the few operators that make it fail
    Reduce(ReduceArgs),
    /// Show what a model is made of: size by operator and tensor, types, sparsity
    Inspect(InspectArgs),
    /// Print a model in ONNX's textual syntax
    Print(PrintArgs),
    /// Pack a model without loss into an .onnxz file, which every command reads
    Pack(PackArgs),
    /// Restore the model that was packed, byte for byte
    Unpack(PackArgs),
    /// List passes and presets, or describe one of them
    Passes(PassesArgs),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Options of every command that works on models.
#[derive(Debug, Args)]
pub(super) struct Common {
    /// Number of threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    pub(super) threads: Option<u16>,
    /// Print nothing but errors
    #[arg(short, long)]
    pub(super) quiet: bool,
    /// Log what is done to standard error; repeat for more (or set RUST_LOG)
    #[arg(short, long, action = ArgAction::Count)]
    pub(super) verbose: u8,
}

/// Options that narrow the signature of a model.
#[derive(Debug, Args)]
pub(super) struct Narrowing {
    /// Fix the shape of an input: x:1x3x224x224; may be repeated
    ///
    /// `?` leaves a dimension as it is, and a name gives an open one that name: x:?x3xHxW. The name of the input may be
    /// left out where there is only one, and extents may be separated by commas. A dimension with a name is fixed
    /// wherever that name stands, in other inputs too.
    #[arg(long, value_name = "INPUT:SHAPE")]
    pub(super) input_shape: Vec<String>,
    /// Fix a dimension by its name, or rename it: N=1, S=sequence; may be repeated
    #[arg(long, value_name = "NAME=EXTENT")]
    pub(super) dim: Vec<String>,
}

impl Narrowing {
    /// The steps of a pipeline that do so.
    pub(super) fn steps(&self) -> Result<Vec<Step>> {
        let shapes = self.input_shape.iter().map(|text| match text.rsplit_once(':') {
            Some((name, shape)) if !name.is_empty() && !shape.is_empty() => {
                Ok(Step::new("set-shape", &[("", name), ("to", shape)]))
            }
            None if !text.is_empty() => Ok(Step::new("set-shape", &[("to", text)])),
            _ => Err(Error::usage("`--input-shape` does not take this value")
                .expected("INPUT:SHAPE, for instance x:1x3x224x224")
                .found(format!("`{text}`"))),
        });
        let dims = self.dim.iter().map(|text| match text.rsplit_once('=') {
            Some((name, extent)) if !name.is_empty() && !extent.is_empty() => {
                Ok(Step::new("set-dim", &[("", name), ("to", extent)]))
            }
            _ => Err(Error::usage("`--dim` does not take this value")
                .expected("NAME=EXTENT, for instance N=1")
                .found(format!("`{text}`"))),
        });
        let names = |texts: &'_ [String], separator| -> Option<String> {
            let names: Vec<&str> =
                texts.iter().map(|text| text.rsplit_once(separator).map_or("", |(n, _)| n)).collect();
            let twice = names.iter().enumerate().find(|(index, name)| names[..*index].contains(name));
            twice.map(|(_, name)| (*name).to_owned())
        };
        if let Some(name) = names(&self.input_shape, ':') {
            let of = if name.is_empty() { String::new() } else { format!(" of input `{name}`") };
            return Err(Error::usage(format!("the shape{of} is given twice")));
        }
        if let Some(name) = names(&self.dim, '=') {
            return Err(Error::usage(format!("dimension `{name}` is given twice")));
        }
        shapes.chain(dims).collect()
    }
}

/// Options about running models.
#[derive(Debug, Args)]
pub(super) struct Running {
    /// Hold the result to a bound; may be repeated
    ///
    /// METRIC is snr (decibels, at least), top1, top5, cosine, equal (at least), max-abs, rel-l2, accuracy-drop (at
    /// most). OUTPUT:METRIC=VALUE bounds one output. A bound on snr replaces the default gate, all others are added to
    /// it.
    #[arg(long, value_name = "METRIC=VALUE")]
    pub(super) max_drift: Vec<String>,
    /// The runtime that runs models
    #[arg(long, value_name = "NAME", default_value = "auto",
          value_parser = PossibleValuesParser::new(["auto", "tract", "onnxruntime"]))]
    pub(super) backend: String,
    /// Seed of everything random: equal seeds give equal bytes
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(super) seed: u64,
}

#[derive(Debug, Args)]
pub(super) struct ShrinkArgs {
    /// The ONNX model
    #[arg(value_name = "MODEL", required_unless_present_any = ["report_schema", "recipe"])]
    pub(super) model: Option<PathBuf>,
    /// Take what is not said here from a TOML file, which `onnx-shrink init MODEL` writes
    ///
    /// Keys: model, output, pipeline, inputs, eval-inputs, keep, seed, threads, backend, external-data, report; sections:
    /// [gates], [gates.OUTPUT], [input-shape], [dim], [layer."NAME"]. Paths are relative to the file.
    #[arg(long, value_name = "FILE")]
    pub(super) recipe: Option<PathBuf>,
    /// Passes to run, in order: PASS[=OPTION[:OPTION...]][,PASS...]
    #[arg(short, long, value_name = "PIPELINE", default_value = "simplify")]
    pub(super) passes: String,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) searching: Searching,
    #[command(flatten)]
    pub(super) narrowing: Narrowing,
    /// Keep an operator or value of that name as it is, through all passes; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(super) keep: Vec<String>,
    /// Do everything but write the output
    #[arg(long, conflicts_with = "output")]
    pub(super) dry_run: bool,
    /// Real inputs, to calibrate on and to compare on
    ///
    /// An .npz file (one array for each input), an .npy file, a folder of those or of ONNX test_data_set_* folders, or
    /// synthetic[:N]. An array with one dimension more than its input holds one sample after the other. An array `label`
    /// holds the right classes.
    ///
    /// A folder of images (png, jpeg, bmp, webp) or .wav files, or a folder for each class: FOLDER[:key=value...]. For
    /// images: resize=256, crop=224, scale=1/255, mean=0.485/0.456/0.406, std=0.229/0.224/0.225, order=rgb|bgr|grey,
    /// layout=nchw|nhwc, limit=N; for sound: rate=16000, length=N, scale=1, limit=N. What is not said follows from the
    /// model's input, and the report tells it.
    ///
    /// A .jsonl file (an object a line, from the names of inputs to nested lists), or a .csv file of token ids, one text a
    /// line: FILE.csv[:pad=ID:length=N:limit=N].
    #[arg(long, value_name = "DATA")]
    pub(super) inputs: Option<String>,
    /// Inputs to compare on, where they should be others than those to calibrate on
    #[arg(long, value_name = "DATA")]
    pub(super) eval_inputs: Option<String>,
    /// Write the statistics that calibration measures to a file
    ///
    /// Shards of a large data set can be measured apart, on any machine, with the same model and passes, and be merged
    /// with --stats-in: the result is that of all samples at once, byte for byte.
    #[arg(long, value_name = "FILE", help_heading = "Calibration")]
    pub(super) stats: Option<PathBuf>,
    /// Calibrate on statistics in a file instead of on --inputs; repeat to merge several
    ///
    /// --inputs may be given as well, for what takes running the model: `target`, and the comparison of the result.
    #[arg(long, value_name = "FILE", help_heading = "Calibration")]
    pub(super) stats_in: Vec<PathBuf>,
    #[command(flatten)]
    pub(super) running: Running,
    /// Do not compare the result with the original
    #[arg(long)]
    pub(super) no_validate: bool,
    /// Write the result even where it is refused; the exit code still tells
    #[arg(long)]
    pub(super) force: bool,
    /// Write weights of at least MIN_BYTES (1024 unless told) to a side file FILE.data
    #[arg(long, value_name = "MIN_BYTES", num_args = 0..=1, require_equals = true, default_missing_value = "1024")]
    pub(super) external_data: Option<u64>,
    /// Write a report: FILE.html for people, FILE.json, or FILE.md; may be repeated
    ///
    /// What was done and why, sizes and drift by layer, weights before and after. The page loads nothing. Written also
    /// where the result is refused.
    #[arg(long, value_name = "FILE")]
    pub(super) report: Vec<PathBuf>,
    /// Print the JSON Schema of --report FILE.json
    #[arg(long, exclusive = true)]
    pub(super) report_schema: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub(super) json: bool,
    /// Write the model after each pass to a folder
    #[arg(long, value_name = "FOLDER", help_heading = "Debugging")]
    pub(super) dump_each: Option<PathBuf>,
    /// Stop after so many passes
    #[arg(long, value_name = "N", help_heading = "Debugging")]
    pub(super) stop_after: Option<usize>,
    /// Run the model after each pass and compare it with the original
    #[arg(long, help_heading = "Debugging")]
    pub(super) verify_each: bool,
    /// Where the result drifts too far, find the first pass and the first operator that break the gate
    #[arg(long, conflicts_with = "no_validate", help_heading = "Debugging")]
    pub(super) bisect: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct InspectArgs {
    /// The ONNX model
    #[arg(value_name = "MODEL")]
    pub(super) model: PathBuf,
    /// Show so many of the largest tensors and operators
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub(super) top: usize,
    /// Print everything as JSON
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PrintArgs {
    /// The ONNX model
    #[arg(value_name = "MODEL")]
    pub(super) model: PathBuf,
    /// Print the contents of large tensors, too, instead of a hash of them
    #[arg(long)]
    pub(super) full: bool,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PackArgs {
    /// The file to pack or unpack
    #[arg(value_name = "FILE")]
    pub(super) input: PathBuf,
    /// The file to write
    #[arg(short, long, value_name = "FILE")]
    pub(super) output: PathBuf,
    #[command(flatten)]
    pub(super) common: Common,
}

#[derive(Debug, Args)]
pub(super) struct PassesArgs {
    /// A pass or preset to describe
    #[arg(value_name = "NAME")]
    pub(super) name: Option<String>,
}

/// The parser, with the passes of the registry in its help.
pub(super) fn command() -> clap::Command {
    let mut text = String::from("Passes to run, in order: PASS[=OPTION[:OPTION...]][,PASS...]\n\n");
    let width = passes::ALL.iter().map(|info| info.name.len()).chain(PRESETS.iter().map(|p| p.name.len())).max();
    let width = width.unwrap_or(0);
    text += "Presets, and what they stand for:\n";
    for preset in PRESETS {
        text += &format!("  {:width$}  {}\n", preset.name, preset.summary);
        if !preset.expansion.is_empty() {
            text += &format!("  {:width$}  = {}\n", "", preset.expansion);
        }
    }
    text += "\nPasses:\n";
    for info in passes::ALL {
        text += &format!("  {:width$}  {}\n", info.name, info.summary);
    }
    text += "\nAn option is key=value, the first of a pass may leave out its key: prune=0.5:scope=global,quant8. \
             `onnx-shrink passes NAME` describes the options.";
    Cli::command().mut_arg("passes", |arg| arg.long_help(text))
}

#[cfg(test)]
mod tests {
    #[test]
    fn is_well_formed() {
        super::command().debug_assert();
    }
}
