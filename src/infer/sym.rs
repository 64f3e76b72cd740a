//! Integers that depend on dimensions with names: `2*H+1`, `floor(H/2)`, `max(1,N)`.
//!
//! An expression is kept as a sum of products with integer coefficients; what is no polynomial (rounded division,
//! maximum, minimum) is an atom of those products. Every operation normalises, so that two expressions which are equal
//! by the rules known here compare equal. Symbols stand for extents and are never negative.
//!
//! Operations answer `None` where an integer overflows or the expression grows past [`MAX_SIZE`].

use std::cmp::Ordering;
use std::sync::Arc;

/// The most atoms and coefficients an expression may have; what is larger is treated as unknown.
const MAX_SIZE: usize = 128;

/// A name in an expression.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Symbol {
    /// A dimension that the model names.
    Named(Arc<str>),
    /// An extent that nobody named, numbered in the order of discovery.
    Fresh(u32),
}

/// What products are made of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Atom {
    Symbol(Symbol),
    /// The quotient rounded towards negative infinity.
    Floor(Arc<(SymExpr, SymExpr)>),
    Max(Arc<(SymExpr, SymExpr)>),
    Min(Arc<(SymExpr, SymExpr)>),
    /// What two extents broadcast to: the one that is not 1.
    Broadcast(Arc<(SymExpr, SymExpr)>),
}

/// A product of atoms, sorted.
type Factors = Vec<Atom>;

/// An integer expression over symbols, in normal form.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct SymExpr {
    /// Sorted by factors; no factors are empty and no coefficient is 0.
    pub(super) terms: Vec<(Factors, i64)>,
    pub(super) constant: i64,
}

impl From<i64> for SymExpr {
    fn from(constant: i64) -> Self {
        Self { terms: Vec::new(), constant }
    }
}

impl SymExpr {
    /// The expression of one symbol.
    pub fn symbol(symbol: Symbol) -> Self {
        Self::atom(Atom::Symbol(symbol))
    }

    /// The expression of a named dimension.
    pub fn named(name: &str) -> Self {
        Self::symbol(Symbol::Named(name.into()))
    }

    fn atom(atom: Atom) -> Self {
        Self { terms: vec![(vec![atom], 1)], constant: 0 }
    }

    /// The value, where no symbol is in it.
    pub fn as_int(&self) -> Option<i64> {
        self.terms.is_empty().then_some(self.constant)
    }

    /// The symbol, where the expression is nothing else.
    pub fn as_symbol(&self) -> Option<&Symbol> {
        match (self.as_atom()?, self.constant) {
            (Atom::Symbol(symbol), 0) => Some(symbol),
            _ => None,
        }
    }

    /// The atom that the expression is, but for the constant.
    fn as_atom(&self) -> Option<&Atom> {
        match self.terms.as_slice() {
            [(factors, 1)] if factors.len() == 1 => factors.first(),
            _ => None,
        }
    }

    /// The sum.
    pub fn add(&self, other: &Self) -> Option<Self> {
        let mut terms = Vec::with_capacity(self.terms.len() + other.terms.len());
        let (mut left, mut right) = (self.terms.iter().peekable(), other.terms.iter().peekable());
        loop {
            let order = match (left.peek(), right.peek()) {
                (Some(l), Some(r)) => l.0.cmp(&r.0),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (None, None) => break,
            };
            match order {
                Ordering::Less => terms.extend(left.next().cloned()),
                Ordering::Greater => terms.extend(right.next().cloned()),
                Ordering::Equal => {
                    if let (Some(l), Some(r)) = (left.next(), right.next()) {
                        let coefficient = l.1.checked_add(r.1)?;
                        if coefficient != 0 {
                            terms.push((l.0.clone(), coefficient));
                        }
                    }
                }
            }
        }
        Self { terms, constant: self.constant.checked_add(other.constant)? }.bounded()
    }

    /// The sum with an integer.
    pub fn plus(&self, number: i64) -> Option<Self> {
        Some(Self { terms: self.terms.clone(), constant: self.constant.checked_add(number)? })
    }

    /// The product with an integer.
    pub fn times(&self, number: i64) -> Option<Self> {
        if number == 0 {
            return Some(Self::from(0));
        }
        let terms = self.terms.iter().map(|(factors, c)| Some((factors.clone(), c.checked_mul(number)?)));
        Some(Self { terms: terms.collect::<Option<_>>()?, constant: self.constant.checked_mul(number)? })
    }

    /// The difference.
    pub fn sub(&self, other: &Self) -> Option<Self> {
        self.add(&other.times(-1)?)
    }

    /// The product.
    pub fn mul(&self, other: &Self) -> Option<Self> {
        if let Some(number) = other.as_int() {
            return self.times(number);
        }
        if let Some(number) = self.as_int() {
            return other.times(number);
        }
        let mut sum = Self::from(self.constant.checked_mul(other.constant)?);
        for (factors, coefficient) in self.summands() {
            for (others, other_coefficient) in other.summands() {
                if factors.is_empty() && others.is_empty() {
                    continue;
                }
                let mut product = [factors, others].concat();
                product.sort();
                let term = Self { terms: vec![(product, coefficient.checked_mul(other_coefficient)?)], constant: 0 };
                sum = sum.add(&term)?;
            }
        }
        sum.bounded()
    }

    /// The quotient rounded towards negative infinity. A symbolic divisor is taken to be positive.
    pub fn floor_div(&self, divisor: &Self) -> Option<Self> {
        if let Some(quotient) = self.exact_div(divisor) {
            return Some(quotient);
        }
        match divisor.as_int() {
            Some(0) => None,
            Some(number) if number < 0 => self.times(-1)?.floor_div(&Self::from(number.checked_neg()?)),
            Some(number) => self.floor_div_int(number),
            None => Self::atom(Atom::Floor(Arc::new((self.clone(), divisor.clone())))).bounded(),
        }
    }

    /// The quotient rounded towards positive infinity. A symbolic divisor is taken to be positive.
    pub fn ceil_div(&self, divisor: &Self) -> Option<Self> {
        match self.exact_div(divisor) {
            Some(quotient) => Some(quotient),
            None if divisor.as_int().is_some_and(|number| number <= 0) => self.times(-1)?.floor_div(divisor)?.times(-1),
            None => self.add(divisor)?.plus(-1)?.floor_div(divisor),
        }
    }

    /// What remains of a division rounded towards negative infinity.
    pub fn modulo(&self, divisor: &Self) -> Option<Self> {
        self.sub(&divisor.mul(&self.floor_div(divisor)?)?)
    }

    /// Whole multiples of the divisor leave the brackets, and a quotient inside of the brackets joins them:
    /// `floor((4*H+5)/2) = 2*H+2+floor(1/2)`, `floor((floor(H/2)+1)/2) = floor((H+2)/4)`.
    fn floor_div_int(&self, divisor: i64) -> Option<Self> {
        let mut whole = Self::from(self.constant.div_euclid(divisor));
        let mut rest = Self::from(self.constant.rem_euclid(divisor));
        let mut common = divisor;
        for (factors, coefficient) in &self.terms {
            let (outside, inside) = (coefficient.div_euclid(divisor), coefficient.rem_euclid(divisor));
            if outside != 0 {
                whole.terms.push((factors.clone(), outside));
            }
            if inside != 0 {
                rest.terms.push((factors.clone(), inside));
                common = gcd(common, inside);
            }
        }
        if rest.terms.is_empty() {
            return Some(whole);
        }
        let divisor = divisor / common;
        rest.constant = rest.constant.div_euclid(common);
        rest.terms.iter_mut().for_each(|(_, coefficient)| *coefficient /= common);
        if divisor == 1 {
            return whole.add(&rest);
        }
        if let Some(Atom::Floor(inner)) = rest.as_atom()
            && let Some(inner_divisor) = inner.1.as_int()
        {
            let numerator = inner.0.plus(rest.constant.checked_mul(inner_divisor)?)?;
            return whole.add(&numerator.floor_div_int(divisor.checked_mul(inner_divisor)?)?);
        }
        whole.add(&Self::atom(Atom::Floor(Arc::new((rest, Self::from(divisor))))))?.bounded()
    }

    /// The quotient where the division leaves no rest, whatever the symbols are.
    pub fn exact_div(&self, divisor: &Self) -> Option<Self> {
        if divisor.as_int() == Some(1) {
            return Some(self.clone());
        }
        let (lead_factors, lead) = divisor.lead()?;
        let mut quotient = Self::from(0);
        let mut rest = self.clone();
        for _ in 0..MAX_SIZE {
            let Some((factors, coefficient)) = rest.lead() else { return Some(quotient) };
            if coefficient.checked_rem(lead)? != 0 {
                return None;
            }
            let mut left = factors.to_vec();
            for factor in lead_factors {
                left.remove(left.iter().position(|one| one == factor)?);
            }
            let step = coefficient.checked_div(lead)?;
            let step = if left.is_empty() { Self::from(step) } else { Self { terms: vec![(left, step)], constant: 0 } };
            rest = rest.sub(&step.mul(divisor)?)?;
            quotient = quotient.add(&step)?;
        }
        None
    }

    /// The larger of two.
    pub fn larger(&self, other: &Self) -> Option<Self> {
        if self.at_least(other) {
            return Some(self.clone());
        }
        if other.at_least(self) {
            return Some(other.clone());
        }
        Self::atom(Atom::Max(Arc::new(ordered(self, other)))).bounded()
    }

    /// The smaller of two.
    pub fn smaller(&self, other: &Self) -> Option<Self> {
        if self.at_least(other) {
            return Some(other.clone());
        }
        if other.at_least(self) {
            return Some(self.clone());
        }
        Self::atom(Atom::Min(Arc::new(ordered(self, other)))).bounded()
    }

    /// What two extents broadcast to: they are equal, or one of them is 1. `None` where they never are.
    pub fn broadcast(&self, other: &Self) -> Option<Self> {
        let one = Self::from(1);
        match (self.as_int(), other.as_int()) {
            _ if self == other || *other == one => return Some(self.clone()),
            _ if *self == one => return Some(other.clone()),
            (Some(_), Some(_)) => return None,
            (Some(_), None) => return Some(self.clone()),
            (None, Some(_)) => return Some(other.clone()),
            (None, None) => {}
        }
        for (whole, part) in [(self, other), (other, self)] {
            let inner = |expression: &Self, of: fn(&Atom) -> Option<&(Self, Self)>| {
                let pair = expression.as_atom().filter(|_| expression.constant == 0).and_then(of);
                pair.map(|(a, b)| (a.clone(), b.clone()))
            };
            // `min(n, k)` with k at least 1 is 0 only where n is, and else n or 1.
            let minimum = inner(part, |atom| if let Atom::Min(pair) = atom { Some(pair) } else { None });
            let is_cut =
                minimum.is_some_and(|(a, b)| (a == *whole && b.at_least(&one)) || (b == *whole && a.at_least(&one)));
            let broadcast = inner(whole, |atom| if let Atom::Broadcast(pair) = atom { Some(pair) } else { None });
            let is_in = broadcast.is_some_and(|(a, b)| a == *part || b == *part);
            if is_cut || is_in || (whole.at_least(part) && part.at_least(&one)) {
                return Some(whole.clone());
            }
        }
        Self::atom(Atom::Broadcast(Arc::new(ordered(self, other)))).bounded()
    }

    /// Whether the value is never below the other; false where that is not certain.
    pub fn at_least(&self, other: &Self) -> bool {
        self.sub(other).and_then(|difference| difference.lower_bound()).is_some_and(|bound| bound >= 0)
    }

    /// Whether the value is always above the other; false where that is not certain.
    pub fn above(&self, other: &Self) -> bool {
        self.sub(other).and_then(|difference| difference.lower_bound()).is_some_and(|bound| bound > 0)
    }

    /// Whether the values can never be equal; false where that is not certain.
    pub fn never_equals(&self, other: &Self) -> bool {
        self.above(other) || other.above(self)
    }

    /// A number that the value is never below.
    pub fn lower_bound(&self) -> Option<i64> {
        self.terms.iter().try_fold(self.constant, |sum, (factors, coefficient)| {
            if *coefficient < 0 {
                return None;
            }
            let bounds: Vec<i64> = factors.iter().map(Atom::lower_bound).collect::<Option<_>>()?;
            let product = match bounds.as_slice() {
                [one] => *one,
                many if many.iter().all(|bound| *bound >= 0) => {
                    many.iter().try_fold(1i64, |product, bound| product.checked_mul(*bound))?
                }
                _ => return None,
            };
            sum.checked_add(product.checked_mul(*coefficient)?)
        })
    }

    /// The expression with symbols replaced by what `replace` has for them.
    pub fn substitute(&self, replace: &dyn Fn(&Symbol) -> Option<Self>) -> Option<Self> {
        let mut sum = Self::from(self.constant);
        for (factors, coefficient) in &self.terms {
            let mut product = Self::from(*coefficient);
            for factor in factors {
                product = product.mul(&factor.substitute(replace)?)?;
            }
            sum = sum.add(&product)?;
        }
        Some(sum)
    }

    /// Lets `visit` see every symbol of the expression.
    pub fn visit_symbols(&self, visit: &mut dyn FnMut(&Symbol)) {
        for factor in self.terms.iter().flat_map(|(factors, _)| factors) {
            match factor {
                Atom::Symbol(symbol) => visit(symbol),
                Atom::Floor(pair) | Atom::Max(pair) | Atom::Min(pair) | Atom::Broadcast(pair) => {
                    pair.0.visit_symbols(visit);
                    pair.1.visit_symbols(visit);
                }
            }
        }
    }

    /// Whether any symbol of the expression fulfils a condition.
    pub fn any_symbol(&self, condition: impl Fn(&Symbol) -> bool) -> bool {
        let mut found = false;
        self.visit_symbols(&mut |symbol| found |= condition(symbol));
        found
    }

    fn summands(&self) -> impl Iterator<Item = (&[Atom], i64)> {
        let constant = (self.constant != 0).then_some((&[][..], self.constant));
        self.terms.iter().map(|(factors, c)| (factors.as_slice(), *c)).chain(constant)
    }

    /// The term of the highest degree; what long division begins with.
    fn lead(&self) -> Option<(&[Atom], i64)> {
        self.summands().max_by(|(a, _), (b, _)| a.len().cmp(&b.len()).then_with(|| a.cmp(b)))
    }

    fn bounded(self) -> Option<Self> {
        (self.size() <= MAX_SIZE).then_some(self)
    }

    fn size(&self) -> usize {
        1 + self.terms.iter().flat_map(|(factors, _)| factors).map(Atom::size).sum::<usize>()
    }
}

impl Atom {
    fn lower_bound(&self) -> Option<i64> {
        match self {
            Self::Symbol(_) => Some(0),
            Self::Floor(pair) => match (pair.0.lower_bound()?, pair.1.as_int()) {
                (bound, Some(divisor)) => bound.checked_div_euclid(divisor),
                (bound, None) => (bound >= 0).then_some(0),
            },
            Self::Max(pair) => pair.0.lower_bound().max(pair.1.lower_bound()),
            Self::Min(pair) | Self::Broadcast(pair) => Some(pair.0.lower_bound()?.min(pair.1.lower_bound()?)),
        }
    }

    fn substitute(&self, replace: &dyn Fn(&Symbol) -> Option<SymExpr>) -> Option<SymExpr> {
        let both = |pair: &(SymExpr, SymExpr)| Some((pair.0.substitute(replace)?, pair.1.substitute(replace)?));
        match self {
            Self::Symbol(symbol) => Some(replace(symbol).unwrap_or_else(|| SymExpr::symbol(symbol.clone()))),
            Self::Floor(pair) => both(pair).and_then(|(a, b)| a.floor_div(&b)),
            Self::Max(pair) => both(pair).and_then(|(a, b)| a.larger(&b)),
            Self::Min(pair) => both(pair).and_then(|(a, b)| a.smaller(&b)),
            Self::Broadcast(pair) => both(pair).and_then(|(a, b)| a.broadcast(&b)),
        }
    }

    fn size(&self) -> usize {
        match self {
            Self::Symbol(_) => 1,
            Self::Floor(pair) | Self::Max(pair) | Self::Min(pair) | Self::Broadcast(pair) => {
                pair.0.size() + pair.1.size()
            }
        }
    }
}

fn ordered(a: &SymExpr, b: &SymExpr) -> (SymExpr, SymExpr) {
    if a <= b { (a.clone(), b.clone()) } else { (b.clone(), a.clone()) }
}

fn gcd(a: i64, b: i64) -> i64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
