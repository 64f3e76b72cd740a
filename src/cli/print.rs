//! `onnx-shrink print MODEL`.

use std::fmt;
use std::io::{self, BufWriter, Write};

use onnx_shrink::ir::text::{PrintOptions, write};
use onnx_shrink::{Result, onnx};

use super::args::PrintArgs;
use super::written;

pub(super) fn run(args: &PrintArgs) -> Result<()> {
    let model = onnx::read(&args.model)?;
    let options = if args.full { PrintOptions::full() } else { PrintOptions::default() };
    let mut out = Text { out: BufWriter::new(io::stdout().lock()), result: Ok(()) };
    // The text goes out as it is made: with `--full` it can be far larger than the model.
    let _ = write(&mut out, &model, &options);
    let Text { mut out, result } = out;
    written(result.and_then(|()| out.flush()))
}

/// A writer of text that remembers what went wrong below.
struct Text<W> {
    out: W,
    result: io::Result<()>,
}

impl<W: Write> fmt::Write for Text<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.result = self.out.write_all(text.as_bytes());
        self.result.as_ref().map_err(|_| fmt::Error).copied()
    }
}
