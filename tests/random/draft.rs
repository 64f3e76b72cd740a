//! A graph under construction: lines of the textual syntax, and what is known of every value.

use std::collections::BTreeSet;
use std::fmt::Write;

use onnx_shrink::ir::{DType, Tensor};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// A value, with everything operators need to know to stay valid and sane.
#[derive(Debug, Clone)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) dtype: DType,
    pub(crate) shape: Vec<i64>,
    /// Bounds of the elements.
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// Whether no rounding went into it: only then may an operator with steps (comparison, rounding) read it, or the
    /// last bit of a result decides over whole numbers.
    pub(crate) is_exact: bool,
}

impl Value {
    pub(crate) fn len(&self) -> i64 {
        self.shape.iter().product()
    }

    pub(crate) fn rank(&self) -> usize {
        self.shape.len()
    }

    pub(crate) fn is_float(&self) -> bool {
        self.dtype == DType::F32
    }

    /// The largest magnitude.
    pub(crate) fn peak(&self) -> f64 {
        self.low.abs().max(self.high.abs())
    }

    /// Seeded contents within the bounds.
    pub(crate) fn sample(&self, rng: &mut ChaCha8Rng) -> Tensor {
        let shape: Vec<u64> = self.shape.iter().map(|&extent| extent as u64).collect();
        let whole = |rng: &mut ChaCha8Rng| rng.random_range(self.low as i64..=self.high as i64);
        let count = self.len();
        match self.dtype {
            DType::F32 => {
                let values: Vec<f32> = (0..count).map(|_| rng.random_range(self.low..=self.high) as f32).collect();
                Tensor::from_f32(shape, &values).unwrap()
            }
            DType::F64 | DType::F16 => {
                let values: Vec<f64> = (0..count).map(|_| rng.random_range(self.low..=self.high)).collect();
                Tensor::from_f64(self.dtype, shape, &values).unwrap()
            }
            DType::I64 => Tensor::from_i64(shape, &(0..count).map(|_| whole(rng)).collect::<Vec<_>>()).unwrap(),
            DType::I32 => Tensor::from_i32(shape, &(0..count).map(|_| whole(rng) as i32).collect::<Vec<_>>()).unwrap(),
            other => Tensor::new(other, shape, (0..count).map(|_| whole(rng) as u8).collect::<Vec<_>>()).unwrap(),
        }
    }
}

/// An initializer.
#[derive(Debug, Clone)]
pub(crate) struct Constant {
    pub(crate) value: Value,
    pub(crate) elements: String,
    /// Whether it is the default of an input of the graph.
    pub(crate) is_input: bool,
}

/// An operator that the model defines.
#[derive(Debug, Clone)]
pub(crate) struct Function {
    pub(crate) name: String,
    /// What it may be given.
    pub(crate) formals: Vec<Value>,
    pub(crate) result: Value,
    pub(crate) text: String,
}

/// An operator, with the graphs it holds.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) text: String,
    /// Names it reads, those read inside its graphs included.
    pub(crate) reads: BTreeSet<String>,
    pub(crate) writes: Vec<String>,
}

/// A graph as far as it is drawn.
#[derive(Debug, Clone)]
pub(crate) struct Draft {
    pub(crate) opset: i64,
    /// Whether the first extent of every input is a symbol.
    pub(crate) is_symbolic: bool,
    /// Whether there may be quantization, and no If: ONNX Runtime 1.32 aborts where a branch reads what a
    /// DequantizeLinear yields.
    pub(crate) is_quantized: bool,
    /// Whether there may be floats of 16 bits, with rounding errors to match.
    pub(crate) is_half: bool,
    /// Whether it is the body of a function, which has no initializers.
    pub(crate) is_function: bool,
    pub(crate) functions: Vec<Function>,
    pub(crate) inputs: Vec<Value>,
    pub(crate) constants: Vec<Constant>,
    pub(crate) lines: Vec<Line>,
    /// Every value that can be read now, in the order of their making.
    pub(crate) values: Vec<Value>,
    pub(crate) outputs: Vec<Value>,
    /// Names whose types are declared.
    pub(crate) declared: BTreeSet<String>,
    pub(crate) rng: ChaCha8Rng,
    serial: usize,
    /// How many graphs lie around the one that is being drawn.
    depth: usize,
}

impl Draft {
    pub(crate) fn new(opset: i64, rng: ChaCha8Rng) -> Self {
        Self {
            opset,
            is_symbolic: false,
            is_quantized: false,
            is_half: false,
            is_function: false,
            functions: Vec::new(),
            inputs: Vec::new(),
            constants: Vec::new(),
            lines: Vec::new(),
            values: Vec::new(),
            outputs: Vec::new(),
            declared: BTreeSet::new(),
            rng,
            serial: 0,
            depth: 0,
        }
    }

    /// True in so many cases of a hundred.
    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    /// A number from `0..count`.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        self.rng.random_range(0..count)
    }

    /// One of several.
    pub(crate) fn one_of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }

    /// A name that is new.
    pub(crate) fn fresh(&mut self, stem: &str) -> String {
        self.serial += 1;
        format!("{stem}{}", self.serial)
    }

    pub(crate) fn depth(&self) -> usize {
        self.depth
    }

    /// A value that will do; recent ones are likelier, so that graphs are deep.
    pub(crate) fn pick(&mut self, fits: impl Fn(&Value) -> bool) -> Option<Value> {
        let fitting: Vec<usize> = (0..self.values.len()).filter(|&index| fits(&self.values[index])).collect();
        let count = fitting.len();
        if count == 0 {
            return None;
        }
        let place = if self.chance(40) { count - 1 } else { self.below(count).max(self.below(count)) };
        Some(self.values[fitting[place]].clone())
    }

    /// A constant of given elements: an initializer or a Constant operator, or one that is there already.
    pub(crate) fn constant(&mut self, dtype: DType, shape: &[i64], elements: &[f64]) -> Value {
        assert_eq!(shape.iter().product::<i64>(), elements.len() as i64);
        let text: Vec<String> = elements.iter().map(|element| element.to_string()).collect();
        let text = text.join(", ");
        let same = |constant: &&Constant| {
            constant.elements == text && constant.value.shape == shape && constant.value.dtype == dtype
        };
        if let Some(same) = self.constants.iter().find(same).cloned()
            && self.chance(60)
        {
            return same.value;
        }
        let (low, high) = bounds(elements);
        let value = Value { name: self.fresh("k"), dtype, shape: shape.to_vec(), low, high, is_exact: true };
        if value.len() > 0 && self.chance(25) {
            let line = format!("{} = Constant<value = {} {{{text}}}>()", value.name, type_text(&value));
            self.lines.push(Line { text: line, reads: BTreeSet::new(), writes: vec![value.name.clone()] });
            // Read again by later operators, as initializers are.
            self.values.push(value.clone());
        } else {
            self.constants.push(Constant { value: value.clone(), elements: text, is_input: false });
            // Arithmetic on constants alone is there to be folded.
            if value.is_float() && value.len() > 0 && self.chance(15) {
                self.values.push(value.clone());
            }
        }
        value
    }

    /// A one-dimensional constant of whole numbers.
    pub(crate) fn int64s(&mut self, elements: &[i64]) -> Value {
        let elements: Vec<f64> = elements.iter().map(|&element| element as f64).collect();
        self.constant(DType::I64, &[elements.len() as i64], &elements)
    }

    /// A constant of floats within bounds; sometimes one that is there already, and sometimes all the same.
    pub(crate) fn floats(&mut self, shape: &[i64], low: f64, high: f64) -> Value {
        let fits = |constant: &Constant| {
            let value = &constant.value;
            value.is_float() && value.shape == shape && value.low >= low && value.high <= high
        };
        if self.chance(30)
            && let Some(index) = self.constants.iter().position(fits)
        {
            return self.constants[index].value.clone();
        }
        let count = shape.iter().product::<i64>();
        let thousandths = |x: f64| (x * 1000.0).round() / 1000.0;
        let uniform = self.chance(15).then(|| self.one_of(&[0.0, 1.0, -1.0, 0.5]));
        let elements: Vec<f64> = match uniform.filter(|&same| low <= same && same <= high) {
            Some(same) => vec![same; count as usize],
            None => (0..count).map(|_| thousandths(self.rng.random_range(low..=high)).clamp(low, high)).collect(),
        };
        self.constant(DType::F32, shape, &elements)
    }

    /// An operator with one output.
    pub(crate) fn emit(&mut self, op: &str, inputs: &[&str], attributes: &str, like: Value) -> Value {
        self.emit_all(op, inputs, attributes, vec![like]).remove(0)
    }

    /// An operator with several outputs, whose names are made here.
    pub(crate) fn emit_all(&mut self, op: &str, inputs: &[&str], attributes: &str, like: Vec<Value>) -> Vec<Value> {
        let reads = inputs.iter().filter(|name| !name.is_empty()).map(|&name| name.to_owned()).collect();
        self.emit_reading(op, inputs, attributes, like, reads)
    }

    /// An operator that reads other names than its inputs, inside of graphs it holds.
    pub(crate) fn emit_reading(
        &mut self,
        op: &str,
        inputs: &[&str],
        attributes: &str,
        mut values: Vec<Value>,
        reads: BTreeSet<String>,
    ) -> Vec<Value> {
        for value in &mut values {
            value.name = self.fresh("v");
        }
        let writes: Vec<String> = values.iter().map(|value| value.name.clone()).collect();
        let inputs: Vec<&str> = inputs.iter().map(|&name| if name.is_empty() { "\"\"" } else { name }).collect();
        let attributes = if attributes.is_empty() { String::new() } else { format!("<{attributes}>") };
        let label = self.fresh("n");
        let text = format!("[{label}] {} = {op}{attributes}({})", writes.join(", "), inputs.join(", "));
        self.lines.push(Line { text, reads, writes });
        self.values.extend(values.iter().cloned());
        values
    }

    /// Draws an inner graph: what `draw` adds stays inside. Returns its lines and what they read of the graphs around.
    pub(crate) fn inside<T>(&mut self, draw: impl FnOnce(&mut Self) -> T) -> (T, String, BTreeSet<String>) {
        let outer_lines = std::mem::take(&mut self.lines);
        let visible = self.values.len();
        self.depth += 1;
        let drawn = draw(self);
        self.depth -= 1;
        self.values.truncate(visible);
        let lines = std::mem::replace(&mut self.lines, outer_lines);
        let written: BTreeSet<&String> = lines.iter().flat_map(|line| &line.writes).collect();
        let read = lines.iter().flat_map(|line| &line.reads).filter(|name| !written.contains(name)).cloned().collect();
        let text = lines.iter().map(|line| format!("{}\n", line.text)).collect();
        (drawn, text, read)
    }

    /// Drops operators, initializers and declarations that nothing reads any more.
    pub(crate) fn trim(&mut self) {
        let mut read: BTreeSet<String> = self.outputs.iter().map(|value| value.name.clone()).collect();
        let mut kept = Vec::new();
        for line in self.lines.drain(..).rev() {
            if line.writes.iter().any(|name| read.contains(name)) {
                read.extend(line.reads.iter().cloned());
                kept.push(line);
            }
        }
        self.lines = kept.into_iter().rev().collect();
        self.constants.retain(|constant| read.contains(&constant.value.name));
        self.inputs.retain(|input| read.contains(&input.name));
        let written: BTreeSet<&String> = self.lines.iter().flat_map(|line| &line.writes).collect();
        self.declared.retain(|name| written.contains(name));
    }

    /// The model in the textual syntax.
    pub(crate) fn text(&self) -> String {
        let ir_version = match self.opset {
            ..21 if !self.functions.is_empty() => 8,
            // Then every initializer is listed among the inputs.
            _ if !self.constants.is_empty() && self.constants.iter().all(|constant| constant.is_input) => 3,
            ..21 => 8,
            _ => 10,
        };
        let local = if self.functions.is_empty() { "" } else { ", \"local\" : 1" };
        let mut text = format!("<ir_version: {ir_version}, opset_import: [\"\" : {}{local}]>\ng (", self.opset);
        let mut inputs: Vec<String> = self.inputs.iter().map(|value| self.declaration(value, true)).collect();
        let defaults = self.constants.iter().filter(|constant| constant.is_input);
        inputs.extend(defaults.map(|constant| typed_name(&constant.value)));
        let outputs: Vec<String> = self.outputs.iter().map(|value| self.declaration(value, false)).collect();
        let _ = writeln!(text, "{}) => ({}) <", inputs.join(", "), outputs.join(", "));
        let constants = self.constants.iter().map(|c| format!("  {} = {{{}}}", typed_name(&c.value), c.elements));
        let declared = self
            .values
            .iter()
            .filter(|value| self.declared.contains(&value.name))
            .map(|value| format!("  {}", typed_name(value)));
        text.push_str(&constants.chain(declared).collect::<Vec<_>>().join(",\n"));
        text.push_str("\n> {\n");
        for line in &self.lines {
            let _ = writeln!(text, "  {}", line.text.replace('\n', "\n  "));
        }
        text.push_str("}\n");
        self.functions.iter().for_each(|function| text.push_str(&function.text));
        text
    }

    /// The body of a function in the textual syntax.
    pub(crate) fn function_text(&self, name: &str, formals: &[Value]) -> String {
        let names = |values: &[Value]| values.iter().map(|value| value.name.clone()).collect::<Vec<_>>().join(", ");
        let mut text = format!("<domain: \"local\", opset_import: [\"\" : {}]>\n{name} ", self.opset);
        let _ = writeln!(text, "({}) => ({}) {{", names(formals), names(&self.outputs));
        for Constant { value, elements, .. } in &self.constants {
            let _ = writeln!(text, "  {} = Constant<value = {} {{{elements}}}>()", value.name, type_text(value));
        }
        for line in &self.lines {
            let _ = writeln!(text, "  {}", line.text.replace('\n', "\n  "));
        }
        text.push_str("}\n");
        text
    }

    fn declaration(&self, value: &Value, is_input: bool) -> String {
        if !self.is_symbolic || value.rank() == 0 {
            return typed_name(value);
        }
        let extents = value.shape.iter().enumerate().map(|(axis, extent)| match is_input {
            true if axis == 0 => format!("N{extent}"),
            true => extent.to_string(),
            false => "?".to_owned(),
        });
        format!("{}[{}] {}", value.dtype, extents.collect::<Vec<_>>().join(","), value.name)
    }
}

/// A value's type as the textual syntax writes it.
pub(crate) fn type_text(value: &Value) -> String {
    if value.shape.is_empty() {
        return value.dtype.to_string();
    }
    let extents: Vec<String> = value.shape.iter().map(|extent| extent.to_string()).collect();
    format!("{}[{}]", value.dtype, extents.join(","))
}

fn typed_name(value: &Value) -> String {
    format!("{} {}", type_text(value), value.name)
}

fn bounds(elements: &[f64]) -> (f64, f64) {
    let low = elements.iter().copied().fold(f64::INFINITY, f64::min);
    let high = elements.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if elements.is_empty() { (0.0, 0.0) } else { (low, high) }
}
