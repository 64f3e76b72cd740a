//! Chains: each layer feeds the next.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("vgg", vgg(false)),
        ("vgg_bn", vgg(true)),
        ("lenet", lenet()),
        ("alexnet_groups", alexnet()),
        ("mlp", mlp()),
        ("mlp_shared_weight", shared()),
        ("prelu_net", prelu()),
        ("quantized_weights", quantized()),
        ("text_cnn", text_cnn()),
        ("conv1d_audio", audio()),
        ("glu_net", glu()),
        ("maxout", maxout()),
        ("einops_patch", space_to_depth()),
    ]
}

fn vgg(has_norm: bool) -> Model {
    let (mut net, mut x) = Net::image(3, 16);
    let mut inputs = 3;
    for outputs in [8, 16, 16] {
        x = net.conv(&x, [inputs, outputs], 3, 1, 1);
        if has_norm {
            x = net.norm(&x, outputs);
        }
        x = net.unary("Relu", &x);
        x = net.op("MaxPool", &[&x], "kernel_shape = [2, 2], strides = [2, 2]");
        inputs = outputs;
    }
    let flat = net.op("Flatten", &[&x], "");
    let a = net.gemm(&flat, [16 * 4, 32]);
    let a = net.unary("Relu", &a);
    let y = net.gemm(&a, [32, 10]);
    net.finish(&[&y])
}

fn lenet() -> Model {
    let (mut net, x) = Net::image(1, 14);
    let a = net.conv(&x, [1, 6], 5, 1, 1);
    let a = net.unary("Tanh", &a);
    let a = net.op("AveragePool", &[&a], "kernel_shape = [2, 2], strides = [2, 2]");
    let b = net.conv(&a, [6, 16], 3, 1, 1);
    let b = net.unary("Sigmoid", &b);
    let shape = net.ints(&[1, -1]);
    let flat = net.op("Reshape", &[&b, &shape], "");
    let c = net.gemm(&flat, [16 * 49, 20]);
    let c = net.unary("Sigmoid", &c);
    let d = net.gemm(&c, [20, 10]);
    let y = net.op("Softmax", &[&d], "axis = -1");
    net.finish(&[&y])
}

fn alexnet() -> Model {
    let (mut net, x) = Net::image(3, 16);
    let a = net.conv(&x, [3, 16], 3, 2, 1);
    let a = net.unary("Relu", &a);
    let b = net.conv(&a, [16, 24], 3, 1, 2);
    let b = net.unary("Relu", &b);
    let c = net.conv(&b, [24, 16], 3, 1, 2);
    let c = net.unary("Relu", &c);
    let y = net.head(&c, 16, 10);
    net.finish(&[&y])
}

fn mlp() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[N,12]");
    let a = net.linear(&x, [12, 32]);
    let a = net.unary("Relu", &a);
    let b = net.gemm(&a, [32, 16]);
    let b = net.unary("Sigmoid", &b);
    let y = net.linear(&b, [16, 4]);
    net.finish(&[&y])
}

/// One matrix is read by two layers: its rows and columns are one set of channels.
fn shared() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[2,12]");
    let a = net.linear(&x, [12, 16]);
    let w = net.weight("matrix", &[16, 16]);
    let b = net.op("MatMul", &[&a, &w], "");
    let b = net.unary("Tanh", &b);
    let c = net.op("MatMul", &[&b, &w], "");
    let c = net.unary("Tanh", &c);
    let y = net.linear(&c, [16, 4]);
    net.finish(&[&y])
}

fn prelu() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.conv(&x, [3, 8], 3, 1, 1);
    let slope = net.weight("slope", &[8, 1, 1]);
    let a = net.op("PRelu", &[&a, &slope], "");
    let b = net.conv(&a, [8, 8], 3, 1, 1);
    let scale = net.weight("scale", &[8]);
    let shift = net.weight("shift", &[8]);
    let b = net.op("InstanceNormalization", &[&b, &scale, &shift], "");
    let b = net.op("LeakyRelu", &[&b], "alpha = 0.1");
    let y = net.head(&b, 8, 4);
    net.finish(&[&y])
}

/// Weights pass through operators of their own: a product with a scale for each channel, and a transposition.
fn quantized() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[1,12]");
    let (w, scale) = (net.weight("w", &[12, 16]), net.weight("scale", &[16]));
    let w = net.op("Mul", &[&w, &scale], "");
    let a = net.op("MatMul", &[&x, &w], "");
    let a = net.unary("Relu", &a);
    let v = net.weight("matrix", &[8, 16]);
    let v = net.transpose(&v, &[1, 0]);
    let b = net.op("MatMul", &[&a, &v], "");
    let b = net.unary("Relu", &b);
    let y = net.linear(&b, [8, 4]);
    net.finish(&[&y])
}

/// Kernels of several widths over an embedding, their maxima side by side.
fn text_cnn() -> Model {
    let mut net = Net::default();
    let ids = net.input("ids", "int64[1,12]");
    let table = net.weight("table", &[30, 8]);
    let x = net.op("Gather", &[&table, &ids], "");
    let x = net.transpose(&x, &[0, 2, 1]);
    let mut pooled = Vec::new();
    for kernel in [2, 3, 4] {
        let w = net.weight("w", &[6, 8, kernel]);
        let c = net.op("Conv", &[&x, &w], "");
        let c = net.unary("Relu", &c);
        let axes = net.ints(&[2]);
        pooled.push(net.op("ReduceMax", &[&c, &axes], "keepdims = 0"));
    }
    let parts: Vec<&str> = pooled.iter().map(String::as_str).collect();
    let all = net.op("Concat", &parts, "axis = 1");
    let y = net.gemm(&all, [18, 3]);
    net.finish(&[&y])
}

fn audio() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[N,1,T]");
    let w = net.weight("w", &[8, 1, 5]);
    let a = net.op("Conv", &[&x, &w], "strides = [2]");
    let a = net.unary("Relu", &a);
    let v = net.weight("w", &[12, 8, 3]);
    let b = net.op("Conv", &[&a, &v], "");
    let b = net.unary("Softplus", &b);
    let axes = net.ints(&[2]);
    let c = net.op("ReduceMean", &[&b, &axes], "keepdims = 0");
    let y = net.gemm(&c, [12, 4]);
    net.finish(&[&y])
}

/// Half of the channels are gates of the other half.
fn glu() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.conv(&x, [3, 16], 3, 1, 1);
    let parts = net.many("Split", &[&a], "axis = 1, num_outputs = 2", 2);
    let gate = net.unary("Sigmoid", &parts[1]);
    let b = net.op("Mul", &[&parts[0], &gate], "");
    let c = net.conv(&b, [8, 12], 3, 1, 1);
    let sizes = net.ints(&[4, 8]);
    let parts = net.many("Split", &[&c, &sizes], "axis = 1", 2);
    let d = net.conv(&parts[0], [4, 8], 1, 1, 1);
    let e = net.op("Add", &[&d, &parts[1]], "");
    let y = net.head(&e, 8, 4);
    net.finish(&[&y])
}

/// The larger of two slices.
fn maxout() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.conv(&x, [3, 16], 3, 1, 1);
    let (zero, half, all, one) = (net.ints(&[0]), net.ints(&[8]), net.ints(&[i64::MAX]), net.ints(&[1]));
    let low = net.op("Slice", &[&a, &zero, &half, &one], "");
    let high = net.op("Slice", &[&a, &half, &all, &one], "");
    let m = net.op("Max", &[&low, &high], "");
    let order = net.ints(&[7, 6, 5, 4, 3, 2, 1, 0]);
    let turned = net.op("Gather", &[&m, &order], "axis = 1");
    let y = net.head(&turned, 8, 4);
    net.finish(&[&y])
}

fn space_to_depth() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.conv(&x, [3, 4], 3, 1, 1);
    let a = net.unary("Relu", &a);
    let a = net.op("SpaceToDepth", &[&a], "blocksize = 2");
    let b = net.conv(&a, [16, 8], 3, 1, 1);
    let b = net.op("Clip", &[&b], "");
    let y = net.head(&b, 8, 4);
    net.finish(&[&y])
}
