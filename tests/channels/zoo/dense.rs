//! Concatenations: a layer reads channels of several others.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("densenet", densenet()),
        ("inception", inception()),
        ("squeezenet", squeezenet()),
        ("unet", unet()),
        ("fpn_head", fpn()),
        ("yolo_csp", csp()),
        ("yolo_c2f", c2f()),
        ("deeplab_aspp", aspp()),
        ("dual_path", dual_path()),
        ("crnn_features", collapsed()),
    ]
}

fn densenet() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let mut x = net.conv(&x, [3, 8], 3, 1, 1);
    let mut width = 8;
    for _ in 0..3 {
        let n = net.norm(&x, width);
        let r = net.unary("Relu", &n);
        let a = net.block(&r, [width, 8], 1, 1, 1);
        let new = net.conv(&a, [8, 4], 3, 1, 1);
        x = net.op("Concat", &[&x, &new], "axis = 1");
        width += 4;
    }
    let n = net.norm(&x, width);
    let r = net.unary("Relu", &n);
    let t = net.conv(&r, [width, 10], 1, 1, 1);
    let t = net.op("AveragePool", &[&t], "kernel_shape = [2, 2], strides = [2, 2]");
    let y = net.head(&t, 10, 4);
    net.finish(&[&y])
}

fn inception() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let a = net.block(&x, [8, 4], 1, 1, 1);
    let b = net.block(&x, [8, 4], 1, 1, 1);
    let b = net.block(&b, [4, 8], 3, 1, 1);
    let c = net.block(&x, [8, 2], 1, 1, 1);
    let c = net.block(&c, [2, 4], 5, 1, 1);
    let pool = net.op("MaxPool", &[&x], "kernel_shape = [3, 3], pads = [1, 1, 1, 1]");
    let d = net.block(&pool, [8, 4], 1, 1, 1);
    let all = net.op("Concat", &[&a, &b, &c, &d], "axis = 1");
    let all = net.op("LRN", &[&all], "size = 1");
    let e = net.block(&all, [20, 8], 3, 1, 1);
    let y = net.head(&e, 8, 4);
    net.finish(&[&y])
}

fn squeezenet() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let mut x = net.block(&x, [3, 8], 3, 1, 1);
    for _ in 0..2 {
        let s = net.conv(&x, [8, 4], 1, 1, 1);
        let s = net.unary("Relu", &s);
        let a = net.conv(&s, [4, 4], 1, 1, 1);
        let b = net.conv(&s, [4, 4], 3, 1, 1);
        let c = net.op("Concat", &[&a, &b], "axis = 1");
        x = net.unary("Relu", &c);
    }
    let last = net.conv(&x, [8, 6], 1, 1, 1);
    let pooled = net.unary("GlobalAveragePool", &last);
    let y = net.op("Flatten", &[&pooled], "");
    net.finish(&[&y])
}

fn unet() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let a = net.block(&x, [3, 8], 3, 1, 1);
    let down = net.op("MaxPool", &[&a], "kernel_shape = [2, 2], strides = [2, 2]");
    let b = net.block(&down, [8, 16], 3, 1, 1);
    let w = net.weight("w", &[16, 8, 2, 2]);
    let up = net.op("ConvTranspose", &[&b, &w], "strides = [2, 2]");
    let both = net.op("Concat", &[&a, &up], "axis = 1");
    let c = net.block(&both, [16, 8], 3, 1, 1);
    let y = net.conv(&c, [8, 2], 1, 1, 1);
    let y = net.unary("Sigmoid", &y);
    net.finish(&[&y])
}

fn fpn() -> Model {
    let (mut net, x) = Net::image(3, 16);
    let c1 = net.block(&x, [3, 8], 3, 2, 1);
    let c2 = net.block(&c1, [8, 16], 3, 2, 1);
    let p2 = net.conv(&c2, [16, 8], 1, 1, 1);
    let l1 = net.conv(&c1, [8, 8], 1, 1, 1);
    let sizes = net.unary("Shape", &l1);
    let up = net.op("Resize", &[&p2, "", "", &sizes], "mode = \"nearest\"");
    let p1 = net.op("Add", &[&l1, &up], "");
    // One head for all levels: the weights are read twice.
    let (w, b) = (net.weight("w", &[8, 8, 3, 3]), net.weight("b", &[8]));
    let (v, d) = (net.weight("w", &[6, 8, 1, 1]), net.weight("b", &[6]));
    let mut outputs = Vec::new();
    for level in [p1, p2] {
        let h = net.op("Conv", &[&level, &w, &b], "pads = [1, 1, 1, 1]");
        let h = net.unary("Relu", &h);
        outputs.push(net.op("Conv", &[&h, &v, &d], ""));
    }
    net.finish(&[&outputs[0], &outputs[1]])
}

fn csp() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.conv(&x, [3, 16], 3, 1, 1);
    let x = net.swish(&x);
    let a = net.conv(&x, [16, 8], 1, 1, 1);
    let mut a = net.swish(&a);
    let b = net.conv(&x, [16, 8], 1, 1, 1);
    let b = net.swish(&b);
    for _ in 0..2 {
        let c = net.conv(&a, [8, 8], 1, 1, 1);
        let c = net.swish(&c);
        let d = net.conv(&c, [8, 8], 3, 1, 1);
        let d = net.swish(&d);
        a = net.op("Add", &[&a, &d], "");
    }
    let both = net.op("Concat", &[&a, &b], "axis = 1");
    let e = net.conv(&both, [16, 16], 1, 1, 1);
    let e = net.swish(&e);
    let y = net.conv(&e, [16, 10], 1, 1, 1);
    let y = net.reshape(&y, &[1, 2, 5, 64]);
    let y = net.transpose(&y, &[0, 1, 3, 2]);
    net.finish(&[&y])
}

fn c2f() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 16], 3, 1, 1);
    let parts = net.many("Split", &[&x], "axis = 1, num_outputs = 2", 2);
    let a = net.block(&parts[1], [8, 8], 3, 1, 1);
    let b = net.conv(&a, [8, 8], 3, 1, 1);
    let sum = net.op("Add", &[&parts[1], &b], "");
    let all = net.op("Concat", &[&parts[0], &parts[1], &sum], "axis = 1");
    let c = net.block(&all, [24, 16], 1, 1, 1);
    let mut pools = vec![c.clone()];
    for _ in 0..2 {
        let last = pools.last().cloned().unwrap();
        pools.push(net.op("MaxPool", &[&last], "kernel_shape = [5, 5], pads = [2, 2, 2, 2]"));
    }
    let parts: Vec<&str> = pools.iter().map(String::as_str).collect();
    let all = net.op("Concat", &parts, "axis = 1");
    let d = net.block(&all, [48, 8], 1, 1, 1);
    let y = net.head(&d, 8, 4);
    net.finish(&[&y])
}

fn aspp() -> Model {
    let mut net = Net::default();
    let x = net.input("x", "float[N,3,8,8]");
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let a = net.block(&x, [8, 4], 1, 1, 1);
    let w = net.weight("w", &[4, 8, 3, 3]);
    let b = net.op("Conv", &[&x, &w], "pads = [2, 2, 2, 2], dilations = [2, 2]");
    let pooled = net.unary("GlobalAveragePool", &x);
    let c = net.conv(&pooled, [8, 4], 1, 1, 1);
    let shape = net.ints(&[1, 4, 8, 8]);
    let c = net.op("Expand", &[&c, &shape], "");
    let all = net.op("Concat", &[&a, &b, &c], "axis = 1");
    let d = net.block(&all, [12, 8], 1, 1, 1);
    let y = net.conv(&d, [8, 3], 1, 1, 1);
    net.finish(&[&y])
}

/// Part of the output is added to one path, the rest put beside the other.
fn dual_path() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let x = net.block(&x, [3, 8], 3, 1, 1);
    let a = net.block(&x, [8, 12], 3, 1, 1);
    let sizes = net.ints(&[8, 4]);
    let parts = net.many("Split", &[&a, &sizes], "axis = 1", 2);
    let sum = net.op("Add", &[&x, &parts[0]], "");
    let all = net.op("Concat", &[&sum, &parts[1]], "axis = 1");
    let y = net.head(&all, 12, 4);
    net.finish(&[&y])
}

/// Columns of an image become steps of a sequence, channels and rows its features.
fn collapsed() -> Model {
    let (mut net, x) = Net::image(1, 8);
    let a = net.block(&x, [1, 8], 3, 2, 1);
    let a = net.reshape(&a, &[1, 32, 4]);
    let a = net.transpose(&a, &[0, 2, 1]);
    let b = net.linear(&a, [32, 16]);
    let b = net.unary("Relu", &b);
    let y = net.linear(&b, [16, 5]);
    net.finish(&[&y])
}
