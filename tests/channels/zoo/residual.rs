//! Sums of branches: their channels go together.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("resnet_basic", resnet(false, 1)),
        ("resnet_bottleneck", resnet(true, 1)),
        ("resnext", resnet(true, 4)),
        ("resnet_padded_shortcut", padded()),
        ("preact_resnet", preact()),
        ("wide_resnet", wide()),
        ("regnet_se", regnet()),
        ("res2net", res2net()),
        ("senet", senet()),
        ("group_norm_net", group_norm()),
        ("group_norm_by_reshape", group_norm_reshaped()),
        ("convnext", convnext()),
        ("hourglass", hourglass()),
        ("sknet", sknet()),
    ]
}

fn resnet(is_bottleneck: bool, groups: usize) -> Model {
    let (mut net, x) = Net::image(3, 8);
    let mut x = net.block(&x, [3, 16], 3, 1, 1);
    let mut inputs = 16;
    for (outputs, stride) in [(16, 1), (32, 2), (32, 1)] {
        let branch = if is_bottleneck {
            let a = net.block(&x, [inputs, 16], 1, 1, 1);
            let b = net.block(&a, [16, 16], 3, stride, groups);
            let c = net.conv(&b, [16, outputs], 1, 1, 1);
            net.norm(&c, outputs)
        } else {
            let a = net.block(&x, [inputs, outputs], 3, stride, 1);
            let b = net.conv(&a, [outputs, outputs], 3, 1, 1);
            net.norm(&b, outputs)
        };
        let shortcut = if inputs == outputs {
            x
        } else {
            let c = net.conv(&x, [inputs, outputs], 1, stride, 1);
            net.norm(&c, outputs)
        };
        let sum = net.op("Add", &[&branch, &shortcut], "");
        x = net.unary("Relu", &sum);
        inputs = outputs;
    }
    let y = net.head(&x, inputs, 10);
    net.finish(&[&y])
}

/// The shortcut of the first residual nets: half the rows, and channels of zeros.
fn padded() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let a = net.block(&x, [8, 16], 3, 2, 1);
    let small = net.op("AveragePool", &[&x], "kernel_shape = [1, 1], strides = [2, 2]");
    let pads = net.ints(&[0, 4, 0, 0, 0, 4, 0, 0]);
    let shortcut = net.op("Pad", &[&small, &pads], "");
    let sum = net.op("Add", &[&a, &shortcut], "");
    let y = net.head(&sum, 16, 4);
    net.finish(&[&y])
}

fn preact() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let mut x = net.conv(&x, [3, 8], 3, 1, 1);
    for _ in 0..2 {
        let n = net.norm(&x, 8);
        let r = net.unary("Relu", &n);
        let a = net.block(&r, [8, 8], 3, 1, 1);
        let b = net.conv(&a, [8, 8], 3, 1, 1);
        x = net.op("Add", &[&x, &b], "");
    }
    let n = net.norm(&x, 8);
    let r = net.unary("Relu", &n);
    let y = net.head(&r, 8, 4);
    net.finish(&[&y])
}

fn wide() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 32], 3, 1, 1);
    let a = net.block(&x, [32, 32], 3, 1, 1);
    let a = net.unary("Dropout", &a);
    let b = net.block(&a, [32, 32], 3, 1, 1);
    let sum = net.op("Sum", &[&x, &a, &b], "");
    let y = net.head(&sum, 32, 4);
    net.finish(&[&y])
}

fn excite(net: &mut Net, x: &str, channels: usize, inner: usize) -> String {
    let pooled = net.unary("GlobalAveragePool", x);
    let a = net.conv(&pooled, [channels, inner], 1, 1, 1);
    let a = net.unary("Relu", &a);
    let b = net.conv(&a, [inner, channels], 1, 1, 1);
    let gate = net.unary("Sigmoid", &b);
    net.op("Mul", &[x, &gate], "")
}

fn regnet() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let a = net.block(&x, [8, 24], 1, 1, 1);
    let b = net.block(&a, [24, 24], 3, 1, 3);
    let b = excite(&mut net, &b, 24, 4);
    let c = net.conv(&b, [24, 8], 1, 1, 1);
    let c = net.norm(&c, 8);
    let sum = net.op("Add", &[&x, &c], "");
    let y = net.head(&sum, 8, 4);
    net.finish(&[&y])
}

fn res2net() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 16], 3, 1, 1);
    let a = net.block(&x, [16, 16], 1, 1, 1);
    let parts = net.many("Split", &[&a], "axis = 1, num_outputs = 4", 4);
    let mut done = vec![parts[0].clone()];
    for part in &parts[1..] {
        let last = done.last().cloned().unwrap();
        let sum = net.op("Add", &[part, &last], "");
        done.push(net.block(&sum, [4, 4], 3, 1, 1));
    }
    let parts: Vec<&str> = done.iter().map(String::as_str).collect();
    let all = net.op("Concat", &parts, "axis = 1");
    let b = net.block(&all, [16, 16], 1, 1, 1);
    let sum = net.op("Add", &[&x, &b], "");
    let y = net.head(&sum, 16, 4);
    net.finish(&[&y])
}

/// Squeeze and excite by fully connected layers.
fn senet() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 16], 3, 1, 1);
    let axes = net.ints(&[2, 3]);
    let pooled = net.op("ReduceMean", &[&x, &axes], "keepdims = 0");
    let a = net.gemm(&pooled, [16, 4]);
    let a = net.unary("Relu", &a);
    let b = net.gemm(&a, [4, 16]);
    let gate = net.unary("HardSigmoid", &b);
    let gate = net.reshape(&gate, &[1, 16, 1, 1]);
    let x = net.op("Mul", &[&x, &gate], "");
    let y = net.head(&x, 16, 4);
    net.finish(&[&y])
}

/// Instance normalization of rows of channels, with a scale behind it: what exporters make of a group normalization.
fn group_norm() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.conv(&x, [3, 16], 3, 1, 1);
    let shape = net.ints(&[0, 4, -1]);
    let grouped = net.op("Reshape", &[&a, &shape], "");
    let (scale, shift) = (net.weight("scale", &[4]), net.weight("shift", &[4]));
    let normal = net.op("InstanceNormalization", &[&grouped, &scale, &shift], "");
    let back = net.reshape(&normal, &[1, 16, 8, 8]);
    let (scale, shift) = (net.weight("scale", &[16, 1, 1]), net.weight("shift", &[16, 1, 1]));
    let b = net.op("Mul", &[&back, &scale], "");
    let b = net.op("Add", &[&b, &shift], "");
    let b = net.unary("Relu", &b);
    let y = net.head(&b, 16, 4);
    net.finish(&[&y])
}

/// The same with the shape computed from the input.
fn group_norm_reshaped() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.conv(&x, [3, 16], 3, 1, 1);
    let shape = net.unary("Shape", &a);
    let grouped = net.reshape(&a, &[0, 4, -1]);
    let (scale, shift) = (net.weight("scale", &[4]), net.weight("shift", &[4]));
    let normal = net.op("InstanceNormalization", &[&grouped, &scale, &shift], "");
    let back = net.op("Reshape", &[&normal, &shape], "");
    let y = net.head(&back, 16, 4);
    net.finish(&[&y])
}

fn convnext() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.conv(&x, [3, 8], 2, 2, 1);
    let a = net.conv(&x, [8, 8], 7, 1, 8);
    let a = net.transpose(&a, &[0, 2, 3, 1]);
    let a = net.layer_norm(&a, 8);
    let a = net.linear(&a, [8, 32]);
    let a = net.gelu(&a);
    let a = net.linear(&a, [32, 8]);
    let gamma = net.weight("gamma", &[8]);
    let a = net.op("Mul", &[&a, &gamma], "");
    let a = net.transpose(&a, &[0, 3, 1, 2]);
    let sum = net.op("Add", &[&x, &a], "");
    let y = net.head(&sum, 8, 4);
    net.finish(&[&y])
}

fn hourglass() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let small = net.op("MaxPool", &[&x], "kernel_shape = [2, 2], strides = [2, 2]");
    let a = net.block(&small, [8, 8], 3, 1, 1);
    let sizes = net.ints(&[1, 8, 8, 8]);
    let up = net.op("Resize", &[&a, "", "", &sizes], "mode = \"nearest\"");
    let b = net.block(&x, [8, 8], 3, 1, 1);
    let sum = net.op("Add", &[&up, &b], "");
    let y = net.conv(&sum, [8, 5], 1, 1, 1);
    net.finish(&[&y])
}

/// Two kernels, weighed by a softmax over the branches.
fn sknet() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let (a, b) = (net.block(&x, [3, 8], 3, 1, 1), net.block(&x, [3, 8], 5, 1, 1));
    let sum = net.op("Add", &[&a, &b], "");
    let pooled = net.unary("GlobalAveragePool", &sum);
    let z = net.block(&pooled, [8, 4], 1, 1, 1);
    let logits = net.conv(&z, [4, 16], 1, 1, 1);
    let logits = net.reshape(&logits, &[1, 2, 8, 1, 1]);
    let share = net.op("Softmax", &[&logits], "axis = 1");
    let one = net.ints(&[1]);
    let parts = net.many("Split", &[&share], "axis = 1, num_outputs = 2", 2);
    let left = net.op("Squeeze", &[&parts[0], &one], "");
    let right = net.op("Squeeze", &[&parts[1], &one], "");
    let a = net.op("Mul", &[&a, &left], "");
    let b = net.op("Mul", &[&b, &right], "");
    let sum = net.op("Add", &[&a, &b], "");
    let y = net.head(&sum, 8, 4);
    net.finish(&[&y])
}
