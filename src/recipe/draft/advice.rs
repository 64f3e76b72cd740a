//! Which pipeline suits a model, and why.

use std::fmt::Write;

use crate::inspect::Inspection;
use crate::report::words::{grouped, percent};

/// How the names of operators on quantized values begin, whatever their domain.
const QUANTIZED: &[&str] = &[
    "ConvInteger",
    "Dequantize",
    "DynamicQuantize",
    "MatMulInteger",
    "MatMulNBits",
    "QAttention",
    "QGemm",
    "QLinear",
    "Quantize",
];

/// Float constants of fewer bytes are not worth fewer bits.
const LEAST_WEIGHT_BYTES: u64 = 1 << 14;

/// The operator sets in which quantized arithmetic can be written, and the oldest that can be raised to them.
const STATIC_OPSET: i64 = 13;

/// A sign of a transformer.
const MATMULS_OF_A_TRANSFORMER: u64 = 8;

/// The least signal-to-noise ratio in decibels of the outputs that a recipe asks for where weights get fewer bits.
pub(super) const LEAST_SNR_DB: u32 = 20;

/// What to do with a model.
#[derive(Debug)]
pub(super) struct Advice {
    /// Reasons, each of one or several lines of comment.
    pub(super) reasons: Vec<String>,
    /// Whether there are weights that could have fewer bits.
    pub(super) has_weights: bool,
    /// The steps behind `simplify`, the best first; the first that passes its trial is taken.
    pub(super) lossy: Vec<&'static str>,
    others: Vec<(&'static str, &'static str)>,
}

impl Advice {
    pub(super) fn new(model: &Inspection) -> Self {
        let float_bytes: u64 = model
            .types
            .iter()
            .filter(|share| matches!(share.dtype.as_str(), "float" | "float16" | "bfloat16" | "double"))
            .map(|share| share.bytes)
            .sum();
        let quantized = model.operators.iter().find(|share| {
            let name = share.operator.rsplit('.').next().unwrap_or_default();
            QUANTIZED.iter().any(|prefix| name.starts_with(prefix))
        });
        if let Some(operator) = quantized {
            let reasons = vec![format!(
                "The model is quantized already ({} {}): what is left in float was left for a reason.",
                grouped(operator.nodes),
                operator.operator
            )];
            return Self { reasons, has_weights: false, lossy: Vec::new(), others: Vec::new() };
        }
        if float_bytes < LEAST_WEIGHT_BYTES {
            let reasons = vec![format!(
                "There are {} bytes of float weights: too few to give them fewer bits.",
                grouped(float_bytes)
            )];
            return Self { reasons, has_weights: false, lossy: Vec::new(), others: Vec::new() };
        }
        let opset = model.opsets.get("ai.onnx").copied().unwrap_or(1);
        let matmuls: u64 =
            model.operators.iter().filter(|share| share.operator == "MatMul").map(|share| share.nodes).sum();
        let mut reasons = vec![format!(
            "{} of the constants are float weights. quant8 gives them 8 bits at the same speed; with data (below) it\n\
                 # computes in 8 bits too, where that is faster and close enough.",
            percent(float_bytes as f64 / model.constant_bytes.max(1) as f64)
        )];
        if opset < STATIC_OPSET {
            reasons.push(format!(
                "8-bit arithmetic needs opset {STATIC_OPSET}: quant8 raises the model from {opset} where it pays."
            ));
        }
        let mut others = vec![
            ("\"edge\"", "the processor of a board; \"mobile\", \"server\" and \"tiny\" likewise: onnx-shrink passes"),
            ("[\"simplify\", \"quant8\"]", "8-bit weights; with data, 8-bit arithmetic"),
            ("[\"simplify\", \"fp16\"]", "half the size, nearly exact"),
            ("[\"simplify\", \"quant4\"]", "a seventh of the size, less exact"),
        ];
        if matmuls >= MATMULS_OF_A_TRANSFORMER {
            others
                .push(("[\"simplify\", \"quant8=dynamic\"]", "MatMul in integers without data: fast for transformers"));
        }
        Self { reasons, has_weights: true, lossy: vec!["quant8", "fp16"], others }
    }

    /// The pipeline, its reasons, and what else there is.
    pub(super) fn write(&self, text: &mut String) {
        *text += "# simplify removes what costs nothing to remove.\n";
        self.reasons.iter().for_each(|reason| *text += &format!("# {reason}\n"));
        let chosen = match self.lossy.first() {
            Some(step) => format!("[\"simplify\", \"{step}\"]"),
            None => "\"simplify\"".to_owned(),
        };
        *text += &format!("pipeline = {chosen}\n");
        for (pipeline, what) in self.others.iter().filter(|(pipeline, _)| *pipeline != chosen) {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "# pipeline = {pipeline}  # {what}");
        }
    }

    /// The gates.
    pub(super) fn write_gates(&self, text: &mut String) {
        *text +=
            "\n# How far outputs may drift; else nothing is written. [gates.\"OUTPUT\"] bounds one output.\n[gates]\n";
        *text += &match self.lossy.is_empty() {
            false => format!("snr = {LEAST_SNR_DB}  # decibels; 10 unless it is told\n"),
            true => "# snr = 60  # decibels; this is what holds unless it is told\n".to_owned(),
        };
        *text += "# top1 = 0.99  # how often the best score stays in place\n# accuracy-drop = 0.01  # with labels in the data\n";
    }
}
