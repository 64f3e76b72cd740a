//! What was pruned, in words and figures.

use std::io::{self, Write};

use flate2::{Compression, write::GzEncoder};
use rayon::prelude::*;

use super::options::Settings;
use super::pattern::Pattern;
use super::targets::Target;
use crate::ir::Tensor;
use crate::pass::{Cx, counted};

/// Says for every tensor that changed how much of it is zero, and for all together. `results` are the tensors afterwards,
/// in the order of the targets.
pub(super) fn report(targets: &[Target], results: &[Tensor], settings: &Settings, cx: &mut Cx<'_>) {
    let (measures_gzip, pattern) = (settings.measures_gzip, settings.pattern);
    let mut is_changed = false;
    let (mut elements, mut zeros, mut bytes) = (0, 0, 0);
    for (target, result) in targets.iter().zip(results) {
        let count = target.tensor.len();
        let (zeros_before, zeros_after) = (zeros_of(&target.tensor), zeros_of(result));
        elements += count;
        zeros += zeros_after;
        bytes += target.tensor.byte_len();
        if !result.same_as(&target.tensor) {
            is_changed = true;
            let (before, after) = (ratio(zeros_before, count), ratio(zeros_after, count));
            let text =
                format!("{zeros_after} of {count} weights are zero: {}, {} before", percent(after), percent(before));
            let figures = [("sparsity", after), ("sparsity_before", before), ("elements", count as f64)];
            cx.measured(target.site.clone(), text, &figures);
        }
    }
    let mut text = format!(
        "{} of {elements} weights in {} are zero",
        percent(ratio(zeros, elements)),
        counted(targets.len(), "tensor")
    );
    if measures_gzip {
        let size = |tensors: &[&Tensor]| tensors.par_iter().map(|tensor| gzip_len(tensor.data())).sum::<u64>();
        let before = size(&targets.iter().map(|target| &target.tensor).collect::<Vec<_>>());
        let after = size(&results.iter().collect::<Vec<_>>());
        text += &format!("; their {bytes} bytes are {after} after gzip, {before} before pruning");
    }
    cx.note(text + "; zeros alone do not make an ONNX file smaller: compress it for transport");
    if is_changed {
        cx.note(use_of_zeros(pattern));
    }
}

/// What runtimes make of zeros of that form.
fn use_of_zeros(pattern: Pattern) -> &'static str {
    match pattern {
        Pattern::Of { kept: 2, of: 4 } => {
            "TensorRT skips two zeros of four in Conv and MatMul, on NVIDIA GPUs from Ampere on and where it is asked to \
             (--sparsity=enable); ONNX Runtime and tract multiply by them as by any number, and are no faster"
        }
        Pattern::Slices { .. } => {
            "ONNX Runtime and tract multiply by zeros as by any number, and are no faster: the pass `channels` takes whole \
             slices out"
        }
        _ => {
            "ONNX Runtime and tract multiply by zeros as by any number, and are no faster; OpenVINO keeps 8-bit matrices \
             packed on processors with AMX where it is asked to (CPU_SPARSE_WEIGHTS_DECOMPRESSION_RATE)"
        }
    }
}

/// The number of zeros of a tensor.
pub(super) fn zeros_of(tensor: &Tensor) -> u64 {
    let mut zeros = 0;
    tensor.for_each_f64(|weight| zeros += u64::from(weight == 0.0));
    zeros
}

fn ratio(part: u64, whole: usize) -> f64 {
    part as f64 / whole as f64
}

fn percent(ratio: f64) -> String {
    format!("{:.1} %", ratio * 100.0)
}

fn gzip_len(data: &[u8]) -> u64 {
    let mut encoder = GzEncoder::new(Count(0), Compression::fast());
    // Counting cannot fail.
    let written = encoder.write_all(data).and_then(|()| encoder.finish());
    written.map_or(0, |count| count.0)
}

/// Counts what is written.
struct Count(u64);

impl Write for Count {
    fn write(&mut self, data: &[u8]) -> io::Result<usize> {
        self.0 += data.len() as u64;
        Ok(data.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zeros_compress() {
        let noise: Vec<u8> = (0..4096u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(gzip_len(&noise) > 1000);
        assert!(gzip_len(&vec![0; 4096]) < 100);
    }
}
