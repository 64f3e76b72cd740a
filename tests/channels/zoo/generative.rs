//! Nets that make images.

use crate::net::Net;
use onnx_shrink::ir::Model;

pub fn all() -> Vec<(&'static str, Model)> {
    vec![
        ("dcgan_generator", generator()),
        ("dcgan_discriminator", discriminator()),
        ("vae", vae()),
        ("pixel_shuffle_sr", super_resolution("DCR")),
        ("pixel_shuffle_crd", super_resolution("CRD")),
        ("pixel_shuffle_by_reshape", reshaped_shuffle()),
        ("stylized_transfer", transfer()),
        ("diffusion_block", diffusion()),
        ("grouped_transpose", grouped_transpose()),
    ]
}

fn generator() -> Model {
    let mut net = Net::default();
    let z = net.input("z", "float[1,10]");
    let a = net.linear(&z, [10, 16 * 4]);
    let mut x = net.reshape(&a, &[-1, 16, 2, 2]);
    for [inputs, outputs] in [[16, 12], [12, 8]] {
        let w = net.weight("w", &[inputs, outputs, 4, 4]);
        let b = net.weight("b", &[outputs]);
        x = net.op("ConvTranspose", &[&x, &w, &b], "strides = [2, 2], pads = [1, 1, 1, 1]");
        x = net.norm(&x, outputs);
        x = net.unary("Relu", &x);
    }
    let w = net.weight("w", &[8, 3, 4, 4]);
    let y = net.op("ConvTranspose", &[&x, &w], "strides = [2, 2], pads = [1, 1, 1, 1]");
    let y = net.unary("Tanh", &y);
    net.finish(&[&y])
}

fn discriminator() -> Model {
    let (mut net, mut x) = Net::image(3, 16);
    for [inputs, outputs] in [[3, 8], [8, 16]] {
        x = net.conv(&x, [inputs, outputs], 3, 2, 1);
        x = net.op("LeakyRelu", &[&x], "alpha = 0.2");
    }
    let w = net.weight("w", &[1, 16, 4, 4]);
    let last = net.op("Conv", &[&x, &w], "");
    let flat = net.op("Flatten", &[&last], "");
    let y = net.unary("Sigmoid", &flat);
    net.finish(&[&y])
}

fn vae() -> Model {
    let (mut net, x) = Net::image(1, 8);
    let noise = net.input("noise", "float[1,6]");
    let a = net.block(&x, [1, 8], 3, 2, 1);
    let flat = net.op("Flatten", &[&a], "");
    let (mean, log) = (net.gemm(&flat, [128, 6]), net.gemm(&flat, [128, 6]));
    let spread = net.unary("Exp", &log);
    let offset = net.op("Mul", &[&noise, &spread], "");
    let z = net.op("Add", &[&mean, &offset], "");
    let h = net.gemm(&z, [6, 128]);
    let h = net.unary("Relu", &h);
    let h = net.reshape(&h, &[1, 8, 4, 4]);
    let w = net.weight("w", &[8, 1, 2, 2]);
    let y = net.op("ConvTranspose", &[&h, &w], "strides = [2, 2]");
    let y = net.unary("Sigmoid", &y);
    net.finish(&[&y])
}

fn super_resolution(mode: &str) -> Model {
    let (mut net, x) = Net::image(1, 8);
    let a = net.conv(&x, [1, 8], 5, 1, 1);
    let a = net.unary("Tanh", &a);
    let b = net.conv(&a, [8, 16], 3, 1, 1);
    let up = net.op("DepthToSpace", &[&b], &format!("blocksize = 2, mode = \"{mode}\""));
    let y = net.conv(&up, [4, 1], 3, 1, 1);
    net.finish(&[&y])
}

fn reshaped_shuffle() -> Model {
    let (mut net, x) = Net::image(1, 8);
    let a = net.block(&x, [1, 16], 3, 1, 1);
    let a = net.reshape(&a, &[1, 4, 2, 2, 8, 8]);
    let a = net.transpose(&a, &[0, 1, 4, 2, 5, 3]);
    let a = net.reshape(&a, &[1, 4, 16, 16]);
    let y = net.conv(&a, [4, 3], 3, 1, 1);
    net.finish(&[&y])
}

fn transfer() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let pads = net.ints(&[0, 0, 1, 1, 0, 0, 1, 1]);
    let mut x = net.op("Pad", &[&x, &pads], "mode = \"reflect\"");
    let w = net.weight("w", &[8, 3, 3, 3]);
    x = net.op("Conv", &[&x, &w], "");
    for _ in 0..2 {
        let (scale, shift) = (net.weight("scale", &[8]), net.weight("shift", &[8]));
        let n = net.op("InstanceNormalization", &[&x, &scale, &shift], "");
        let r = net.unary("Relu", &n);
        let padded = net.op("Pad", &[&r, &pads], "mode = \"reflect\"");
        let w = net.weight("w", &[8, 8, 3, 3]);
        let c = net.op("Conv", &[&padded, &w], "");
        x = net.op("Add", &[&x, &c], "");
    }
    let y = net.conv(&x, [8, 3], 3, 1, 1);
    net.finish(&[&y])
}

/// A residual block with a shift for each channel that the time step computes.
fn diffusion() -> Model {
    let (mut net, x) = Net::image(3, 8);
    let time = net.input("time", "float[1,4]");
    let t = net.linear(&time, [4, 16]);
    let t = net.swish(&t);
    let x = net.conv(&x, [3, 8], 3, 1, 1);
    let a = net.conv(&x, [8, 8], 3, 1, 1);
    let shift = net.linear(&t, [16, 8]);
    let axes = net.ints(&[2, 3]);
    let shift = net.op("Unsqueeze", &[&shift, &axes], "");
    let a = net.op("Add", &[&a, &shift], "");
    let a = net.swish(&a);
    let b = net.conv(&a, [8, 8], 3, 1, 1);
    let sum = net.op("Add", &[&x, &b], "");
    let y = net.conv(&sum, [8, 3], 3, 1, 1);
    net.finish(&[&y])
}

fn grouped_transpose() -> Model {
    let (mut net, x) = Net::image(3, 4);
    let x = net.block(&x, [3, 16], 3, 1, 1);
    let w = net.weight("w", &[16, 4, 2, 2]);
    let up = net.op("ConvTranspose", &[&x, &w], "strides = [2, 2], group = 2");
    let v = net.weight("w", &[8, 1, 2, 2]);
    let up = net.op("ConvTranspose", &[&up, &v], "strides = [2, 2], group = 8");
    let y = net.conv(&up, [8, 3], 3, 1, 1);
    net.finish(&[&y])
}
