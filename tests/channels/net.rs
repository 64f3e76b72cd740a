//! Writes small nets as text: every call adds an operator and gives the name of what it computes.

use onnx_shrink::ir::{Model, Tensor, text};

/// A net under construction.
#[derive(Default)]
pub struct Net {
    inputs: Vec<String>,
    initializers: Vec<String>,
    body: Vec<String>,
    serial: usize,
}

impl Net {
    /// A net with one image as input: `[1, channels, size, size]`.
    pub fn image(channels: usize, size: usize) -> (Self, String) {
        let mut net = Self::default();
        let x = net.input("x", &format!("float[1,{channels},{size},{size}]"));
        (net, x)
    }

    /// A net with one sequence of vectors as input: `[1, length, width]`.
    pub fn sequence(length: usize, width: usize) -> (Self, String) {
        let mut net = Self::default();
        let x = net.input("x", &format!("float[1,{length},{width}]"));
        (net, x)
    }

    /// An input of the graph.
    pub fn input(&mut self, name: &str, ty: &str) -> String {
        self.inputs.push(format!("{ty} {name}"));
        name.to_owned()
    }

    fn fresh(&mut self, base: &str) -> String {
        self.serial += 1;
        format!("{base}_{}", self.serial)
    }

    /// A random weight; [`Net::finish`] scales it by what goes into a sum.
    pub fn weight(&mut self, base: &str, dims: &[usize]) -> String {
        let name = self.fresh(base);
        let dims: Vec<String> = dims.iter().map(usize::to_string).collect();
        self.initializers.push(format!("float[{}] {name} = rand({})", dims.join(","), self.serial));
        name
    }

    /// A list of integers.
    pub fn ints(&mut self, values: &[i64]) -> String {
        let name = self.fresh("list");
        let list: Vec<String> = values.iter().map(i64::to_string).collect();
        self.initializers.push(format!("int64[{}] {name} = {{{}}}", values.len(), list.join(", ")));
        name
    }

    /// A float constant without axes.
    pub fn scalar(&mut self, value: f32) -> String {
        let name = self.fresh("scalar");
        self.initializers.push(format!("float {name} = {{{value:?}}}"));
        name
    }

    /// An integer constant without axes.
    pub fn index(&mut self, value: i64) -> String {
        let name = self.fresh("index");
        self.initializers.push(format!("int64 {name} = {{{value}}}"));
        name
    }

    /// An operator with several outputs.
    pub fn many(&mut self, op: &str, inputs: &[&str], attributes: &str, outputs: usize) -> Vec<String> {
        let base = op.to_lowercase();
        let names: Vec<String> = (0..outputs).map(|_| self.fresh(&base)).collect();
        let attributes = if attributes.is_empty() { String::new() } else { format!("<{attributes}>") };
        self.body.push(format!("{} = {op}{attributes}({})", names.join(", "), inputs.join(", ")));
        names
    }

    /// An operator.
    pub fn op(&mut self, op: &str, inputs: &[&str], attributes: &str) -> String {
        self.many(op, inputs, attributes, 1).remove(0)
    }

    /// An operator without attributes and with one input.
    pub fn unary(&mut self, op: &str, x: &str) -> String {
        self.op(op, &[x], "")
    }

    /// A convolution with a bias, padded to the same size.
    pub fn conv(
        &mut self,
        x: &str,
        [inputs, outputs]: [usize; 2],
        kernel: usize,
        stride: usize,
        groups: usize,
    ) -> String {
        let w = self.weight("w", &[outputs, inputs / groups, kernel, kernel]);
        let b = self.weight("b", &[outputs]);
        let pad = kernel / 2;
        let attributes =
            format!("pads = [{pad}, {pad}, {pad}, {pad}], strides = [{stride}, {stride}], group = {groups}");
        self.op("Conv", &[x, &w, &b], &attributes)
    }

    /// A batch normalization.
    pub fn norm(&mut self, x: &str, channels: usize) -> String {
        let parts: Vec<String> =
            ["scale", "shift", "mean", "var"].iter().map(|base| self.weight(base, &[channels])).collect();
        self.op("BatchNormalization", &[x, &parts[0], &parts[1], &parts[2], &parts[3]], "")
    }

    /// A convolution, a batch normalization and an activation.
    pub fn block(&mut self, x: &str, ends: [usize; 2], kernel: usize, stride: usize, groups: usize) -> String {
        let c = self.conv(x, ends, kernel, stride, groups);
        let n = self.norm(&c, ends[1]);
        self.unary("Relu", &n)
    }

    /// A global pool and a fully connected layer.
    pub fn head(&mut self, x: &str, channels: usize, classes: usize) -> String {
        let pooled = self.unary("GlobalAveragePool", x);
        let flat = self.op("Flatten", &[&pooled], "");
        self.gemm(&flat, [channels, classes])
    }

    /// A fully connected layer as exporters write it.
    pub fn gemm(&mut self, x: &str, [inputs, outputs]: [usize; 2]) -> String {
        let (w, b) = (self.weight("w", &[outputs, inputs]), self.weight("b", &[outputs]));
        self.op("Gemm", &[x, &w, &b], "transB = 1")
    }

    /// A linear map of the last axis.
    pub fn linear(&mut self, x: &str, [inputs, outputs]: [usize; 2]) -> String {
        let (w, b) = (self.weight("w", &[inputs, outputs]), self.weight("b", &[outputs]));
        let product = self.op("MatMul", &[x, &w], "");
        self.op("Add", &[&product, &b], "")
    }

    /// A layer normalization of the last axis.
    pub fn layer_norm(&mut self, x: &str, width: usize) -> String {
        let (scale, shift) = (self.weight("scale", &[width]), self.weight("shift", &[width]));
        self.op("LayerNormalization", &[x, &scale, &shift], "")
    }

    /// Another shape.
    pub fn reshape(&mut self, x: &str, shape: &[i64]) -> String {
        let shape = self.ints(shape);
        self.op("Reshape", &[x, &shape], "")
    }

    /// Another order of axes.
    pub fn transpose(&mut self, x: &str, order: &[usize]) -> String {
        let order: Vec<String> = order.iter().map(usize::to_string).collect();
        self.op("Transpose", &[x], &format!("perm = [{}]", order.join(", ")))
    }

    /// `x * sigmoid(x)`.
    pub fn swish(&mut self, x: &str) -> String {
        let gate = self.unary("Sigmoid", x);
        self.op("Mul", &[x, &gate], "")
    }

    /// `x / 2 * (1 + erf(x / sqrt(2)))`.
    pub fn gelu(&mut self, x: &str) -> String {
        let (root, one, half) = (self.scalar(std::f32::consts::SQRT_2), self.scalar(1.0), self.scalar(0.5));
        let scaled = self.op("Div", &[x, &root], "");
        let erf = self.unary("Erf", &scaled);
        let sum = self.op("Add", &[&erf, &one], "");
        let product = self.op("Mul", &[x, &sum], "");
        self.op("Mul", &[&product, &half], "")
    }

    /// The model; `outputs` are the names of what it gives.
    pub fn finish(self, outputs: &[&str]) -> Model {
        let text = format!(
            "net ({}) => ({}) <{}> {{\n{}\n}}",
            self.inputs.join(", "),
            outputs.join(", "),
            self.initializers.join(",\n"),
            self.body.join("\n")
        );
        let mut model = text::parse(&text).unwrap_or_else(|e| panic!("{e}\n{text}"));
        model.set_opset("", 18);
        model.set_ir_version(8);
        scale(&mut model);
        model
    }
}

/// Keeps activations near 1: weights by the number of terms in a sum, variances above zero.
fn scale(model: &mut Model) {
    let graph = &mut model.graph;
    for value in graph.initializers() {
        let name = graph.value(value).name().to_owned();
        let Some(tensor) = graph.constant(value).filter(|tensor| tensor.dtype().is_float() && tensor.rank() > 0) else {
            continue;
        };
        let base = name.split('_').next().unwrap_or_default();
        let terms = (tensor.len() as f32 / tensor.shape()[0].max(1) as f32).max(1.0);
        let change = |v: f32| match base {
            "var" | "scale" => v.abs() + 0.5,
            "shift" | "mean" | "b" => v * 0.3,
            "matrix" | "w" if tensor.rank() == 2 => {
                v * (3.0 / (tensor.shape()[0].min(tensor.shape()[1])) as f32).sqrt()
            }
            _ => v * (4.0 / terms).sqrt(),
        };
        let values: Vec<f32> = tensor.to_f32().unwrap().into_iter().map(change).collect();
        graph.set_constant(value, Tensor::from_f32(tensor.shape(), &values).unwrap()).unwrap();
    }
}
