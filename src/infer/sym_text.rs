//! Expressions as text, and back: what a dimension of a file may say in place of a name.

use std::fmt;

use super::sym::{Atom, SymExpr, Symbol};

/// How deep brackets may nest in text that is read.
const MAX_DEPTH: usize = 16;

impl fmt::Display for Symbol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(name) => f.write_str(name),
            // No name that a file could hold.
            Self::Fresh(number) => write!(f, "?{number}"),
        }
    }
}

impl fmt::Display for SymExpr {
    /// `2*H+1`, `floor((H-1)/2)`, `max(1,N)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.terms.is_empty() {
            return write!(f, "{}", self.constant);
        }
        for (index, (factors, coefficient)) in self.terms.iter().enumerate() {
            match (*coefficient, index) {
                (1, 0) => {}
                (1, _) => f.write_str("+")?,
                (-1, _) => f.write_str("-")?,
                (other, 0) => write!(f, "{other}*")?,
                (other, _) => write!(f, "{other:+}*")?,
            }
            for (place, factor) in factors.iter().enumerate() {
                if place > 0 {
                    f.write_str("*")?;
                }
                write!(f, "{factor}")?;
            }
        }
        if self.constant != 0 {
            write!(f, "{:+}", self.constant)?;
        }
        Ok(())
    }
}

impl fmt::Display for Atom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symbol(symbol) => write!(f, "{symbol}"),
            Self::Floor(pair) => write!(f, "floor({}/{})", Operand(&pair.0), Operand(&pair.1)),
            Self::Max(pair) => write!(f, "max({},{})", pair.0, pair.1),
            Self::Min(pair) => write!(f, "min({},{})", pair.0, pair.1),
            Self::Broadcast(pair) => write!(f, "broadcast({},{})", pair.0, pair.1),
        }
    }
}

/// A part of a quotient, in brackets unless it is one number or symbol.
struct Operand<'a>(&'a SymExpr);

impl fmt::Display for Operand<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.as_int(), self.0.as_symbol()) {
            (None, None) => write!(f, "({})", self.0),
            _ => write!(f, "{}", self.0),
        }
    }
}

impl SymExpr {
    /// The expression that a text stands for, every name in it a named dimension; `None` where it is no expression.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parser = Parser { rest: text.trim_start(), depth: 0 };
        let parsed = parser.sum()?;
        parser.rest.is_empty().then_some(parsed)
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn take(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest.trim_start();
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, token: &str) -> Option<()> {
        self.take(token).then_some(())
    }

    fn word(&mut self, belongs: impl Fn(char) -> bool) -> Option<&'a str> {
        let end = self.rest.find(|c: char| !belongs(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at_checked(end)?;
        self.rest = rest.trim_start();
        (!word.is_empty()).then_some(word)
    }

    fn sum(&mut self) -> Option<SymExpr> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let negative = self.take("-");
        let mut sum = self.product()?;
        if negative {
            sum = sum.times(-1)?;
        }
        loop {
            if self.take("+") {
                sum = sum.add(&self.product()?)?;
            } else if self.take("-") {
                sum = sum.sub(&self.product()?)?;
            } else {
                self.depth -= 1;
                return Some(sum);
            }
        }
    }

    fn product(&mut self) -> Option<SymExpr> {
        let mut product = self.operand()?;
        loop {
            if self.take("//") {
                product = product.floor_div(&self.operand()?)?;
            } else if self.take("*") {
                product = product.mul(&self.operand()?)?;
            } else {
                return Some(product);
            }
        }
    }

    fn operand(&mut self) -> Option<SymExpr> {
        if self.take("(") {
            let inner = self.sum()?;
            self.expect(")")?;
            return Some(inner);
        }
        if self.rest.starts_with(|c: char| c.is_ascii_digit()) {
            return self.word(|c| c.is_ascii_digit())?.parse::<i64>().ok().map(SymExpr::from);
        }
        let name = self.word(|c| c.is_alphanumeric() || c == '_' || c == '.')?;
        if !self.take("(") {
            return Some(SymExpr::named(name));
        }
        let result = match name {
            "floor" | "ceil" | "ceiling" => {
                let numerator = self.product()?;
                self.expect("/")?;
                let divisor = self.product()?;
                if name == "floor" { numerator.floor_div(&divisor) } else { numerator.ceil_div(&divisor) }
            }
            "max" | "min" | "Max" | "Min" | "broadcast" => {
                let first = self.sum()?;
                self.expect(",")?;
                let second = self.sum()?;
                match name {
                    "broadcast" => first.broadcast(&second),
                    "max" | "Max" => first.larger(&second),
                    _ => first.smaller(&second),
                }
            }
            _ => None,
        };
        self.expect(")")?;
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(source: &str) -> String {
        SymExpr::parse(source).unwrap().to_string()
    }

    #[test]
    fn prints_what_it_reads() {
        for source in ["2*H+1", "H*W", "-H+3", "floor((H+1)/2)", "max(1,N-3)", "floor(H/W)", "min(H,W)", "7", "batch.x"]
        {
            assert_eq!(SymExpr::parse(&text(source)), SymExpr::parse(source), "{source}");
        }
        assert_eq!(text("2*H+1"), "2*H+1");
        assert_eq!(text("floor(H/2)"), "floor(H/2)");
        assert_eq!(text("H // 2 - 1"), "floor(H/2)-1");
        assert_eq!(SymExpr::parse("H+"), None);
        assert_eq!(SymExpr::parse("a b"), None);
        assert_eq!(SymExpr::parse(&"(".repeat(100_000)), None);
    }

    #[test]
    fn equal_values_have_one_form() {
        for (left, right) in [
            ("(H+1)*(H-1)", "H*H-1"),
            ("floor((4*H+5)/2)", "2*H+2"),
            ("floor((2*H+2)/4)", "floor((H+1)/2)"),
            ("floor((floor((H-1)/2)+1-1)/2)+1", "floor((H+3)/4)"),
            ("ceil(H/2)", "floor((H+1)/2)"),
            ("floor((N*H*W*64)/(N*64))", "H*W"),
            ("floor((N*H+N)/(H+1))", "N"),
            ("max(N+1,1)", "N+1"),
            ("min(N,N+2)", "N"),
            ("broadcast(N,min(N,512))", "N"),
            ("broadcast(N,broadcast(M,N))", "broadcast(N,M)"),
            ("broadcast(3,N)", "3"),
        ] {
            assert_eq!(SymExpr::parse(left).unwrap(), SymExpr::parse(right).unwrap(), "{left}");
        }
    }

    #[test]
    fn overflow_is_unknown() {
        let large = SymExpr::from(i64::MAX);
        assert_eq!(large.add(&large), None);
        assert_eq!(large.mul(&SymExpr::named("N")).unwrap().times(3), None);
        assert_eq!(SymExpr::from(1).floor_div(&SymExpr::from(0)), None);
        let mut power = SymExpr::named("N");
        let grows = (0..20).any(|_| match power.mul(&power).and_then(|p| p.plus(1)) {
            Some(next) => {
                power = next;
                false
            }
            None => true,
        });
        assert!(grows, "{power}");
    }
}
