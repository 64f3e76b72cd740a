//! Element types of tensors.

use std::fmt;

macro_rules! dtypes {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal, $bits:literal;)*) => {
        /// The element type of a tensor; every data type of ONNX up to IR version 14.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum DType { $($(#[$doc])* $variant,)* }

        impl DType {
            /// Every element type, in the order of ONNX's numbers.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The type with ONNX's number for it; `None` for numbers this version does not know.
            pub fn from_onnx(number: i32) -> Option<Self> {
                match number { $($number => Some(Self::$variant),)* _ => None }
            }

            /// ONNX's number for the type (`TensorProto.DataType`).
            pub fn to_onnx(self) -> i32 {
                match self { $(Self::$variant => $number),* }
            }

            /// The name in ONNX's textual syntax.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// The type with that name in ONNX's textual syntax.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }

            /// Bits of one element in `raw_data`; 0 for strings, which have no fixed size.
            pub fn bits(self) -> u64 {
                match self { $(Self::$variant => $bits),* }
            }
        }
    };
}

dtypes! {
    /// 32-bit IEEE float.
    F32 = 1, "float", 32;
    /// Unsigned 8-bit integer.
    U8 = 2, "uint8", 8;
    /// Signed 8-bit integer.
    I8 = 3, "int8", 8;
    /// Unsigned 16-bit integer.
    U16 = 4, "uint16", 16;
    /// Signed 16-bit integer.
    I16 = 5, "int16", 16;
    /// Signed 32-bit integer.
    I32 = 6, "int32", 32;
    /// Signed 64-bit integer.
    I64 = 7, "int64", 64;
    /// Byte strings.
    String = 8, "string", 0;
    /// One byte, 0 or 1.
    Bool = 9, "bool", 8;
    /// 16-bit IEEE float.
    F16 = 10, "float16", 16;
    /// 64-bit IEEE float.
    F64 = 11, "double", 64;
    /// Unsigned 32-bit integer.
    U32 = 12, "uint32", 32;
    /// Unsigned 64-bit integer.
    U64 = 13, "uint64", 64;
    /// Two 32-bit floats.
    Complex64 = 14, "complex64", 64;
    /// Two 64-bit floats.
    Complex128 = 15, "complex128", 128;
    /// The upper half of a 32-bit float.
    BF16 = 16, "bfloat16", 16;
    /// 8-bit float, 4 exponent bits, finite.
    F8E4M3FN = 17, "float8e4m3fn", 8;
    /// 8-bit float, 4 exponent bits, finite, no negative zero.
    F8E4M3FNUZ = 18, "float8e4m3fnuz", 8;
    /// 8-bit float, 5 exponent bits.
    F8E5M2 = 19, "float8e5m2", 8;
    /// 8-bit float, 5 exponent bits, finite, no negative zero.
    F8E5M2FNUZ = 20, "float8e5m2fnuz", 8;
    /// Unsigned 4-bit integer, two in a byte, the first in the low half.
    U4 = 21, "uint4", 4;
    /// Signed 4-bit integer, two in a byte, the first in the low half.
    I4 = 22, "int4", 4;
    /// 4-bit float, two in a byte.
    F4E2M1 = 23, "float4e2m1", 4;
    /// 8-bit power of two, the scale of microscaling formats.
    F8E8M0 = 24, "float8e8m0", 8;
    /// Unsigned 2-bit integer, four in a byte.
    U2 = 25, "uint2", 2;
    /// Signed 2-bit integer, four in a byte.
    I2 = 26, "int2", 2;
    /// 6-bit float, 2 exponent bits, four in three bytes.
    F6E2M3 = 27, "float6e2m3", 6;
    /// 6-bit float, 3 exponent bits, four in three bytes.
    F6E3M2 = 28, "float6e3m2", 6;
}

impl DType {
    /// Whether arithmetic on the type is the float arithmetic that quantization replaces.
    pub fn is_float(self) -> bool {
        matches!(self, Self::F32 | Self::F16 | Self::F64 | Self::BF16)
    }

    /// Whether the type is a signed or unsigned integer of any width; bool is none.
    pub fn is_integer(self) -> bool {
        matches!(
            self,
            Self::U8
                | Self::I8
                | Self::U16
                | Self::I16
                | Self::I32
                | Self::I64
                | Self::U32
                | Self::U64
                | Self::U4
                | Self::I4
                | Self::U2
                | Self::I2
        )
    }

    /// Bytes that `elements` elements take in `raw_data`; `None` for strings and where the number overflows.
    pub fn byte_len(self, elements: u64) -> Option<u64> {
        match self.bits() {
            0 => None,
            bits => Some(elements.checked_mul(bits)?.div_ceil(8)),
        }
    }
}

impl fmt::Display for DType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
