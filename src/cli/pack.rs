//! `onnx-shrink pack MODEL -o PACKED` and `onnx-shrink unpack PACKED -o MODEL`.

use onnx_shrink::Result;
use onnx_shrink::container::{self, Sizes};
use onnx_shrink::report::words;

use super::args::PackArgs;
use super::to_stdout;

pub(super) fn pack(args: &PackArgs) -> Result<()> {
    let sizes = container::pack_file(&args.input, &args.output)?;
    report(args, sizes, sizes.model_bytes, sizes.packed_bytes)
}

pub(super) fn unpack(args: &PackArgs) -> Result<()> {
    let sizes = container::unpack_file(&args.input, &args.output)?;
    report(args, sizes, sizes.packed_bytes, sizes.model_bytes)
}

fn report(args: &PackArgs, sizes: Sizes, before: u64, after: u64) -> Result<()> {
    if args.common.quiet {
        return Ok(());
    }
    let share = words::percent(sizes.packed_bytes as f64 / sizes.model_bytes.max(1) as f64);
    let text =
        format!("{} -> {} bytes; packed is {share} of the model\n", words::grouped(before), words::grouped(after));
    to_stdout(text.as_bytes())
}
