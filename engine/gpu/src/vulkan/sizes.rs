//! How large a source's arrays can be, from its text: naga works constants out while it reads, and writes out
//! every element of an array of zeros of which one is taken. So what it would write is bounded before it reads.
//!
//! The bound of an expression is the product of the numbers in it, each at least 2: no sum, product or
//! quotient of them is above. What could be (shifts, unknown functions) is refused in an array's size.

use std::collections::HashMap;

use crate::error::{Result, exceeded, invalid};

/// Elements of an array with a size times the places at which elements are taken, in one source.
const ELEMENTS_TAKEN_MAX: u64 = 1 << 26;
/// Constants of constants, one in the other.
const DEPTH_MAX: usize = 32;

/// LIMIT_EXCEEDED for arrays that a compiler may not be given; INVALID_ARGUMENT for sizes that cannot be told.
/// The source has no comments.
pub(super) fn check_sizes(source: &str) -> Result<()> {
    let tokens = tokens(source);
    let mut constants: HashMap<&str, Vec<&[&str]>> = HashMap::new();
    for (at, token) in tokens.iter().enumerate() {
        if let ("const" | "override", Some(name)) = (*token, tokens.get(at + 1)) {
            let rest = &tokens[at + 2..];
            let end = rest.iter().position(|token| *token == ";").unwrap_or(rest.len());
            let begin = rest[..end].iter().position(|token| *token == "=").map_or(end, |at| at + 1);
            constants.entry(name).or_default().push(&rest[begin..end]);
        }
    }
    let mut largest = 1;
    for (at, _) in tokens.windows(2).enumerate().filter(|(_, pair)| *pair == ["array", "<"]) {
        if let Some(size) = size_of(&tokens[at + 2..])? {
            largest = largest.max(bound(size, &constants, 0)?);
        }
    }
    let taken = tokens.iter().filter(|token| **token == "[").count().max(1) as u64;
    if largest.saturating_mul(taken) > ELEMENTS_TAKEN_MAX {
        return exceeded(format!(
            "the kernel's source has an array of as many as {largest} elements, and takes elements at {taken} \
             places; together that may be {ELEMENTS_TAKEN_MAX}: leave the size out (array<f32>), as of buffers"
        ));
    }
    Ok(())
}

/// Words, numbers with what belongs to them, and signs one by one.
fn tokens(source: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.' || !c.is_ascii();
    let mut found = Vec::new();
    let mut rest = source.trim_start();
    while let Some(first) = rest.chars().next() {
        let end = match is_word(first) {
            true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
            false => first.len_utf8(),
        };
        found.push(&rest[..end]);
        rest = rest[end..].trim_start();
    }
    found
}

/// What stands between the comma and the end of `array<…>`; none without a comma. An error where the end
/// cannot be told, as with shifts.
fn size_of<'a, 'b>(inside: &'b [&'a str]) -> Result<Option<&'b [&'a str]>> {
    let (mut angles, mut others, mut comma) = (0, 0, None);
    let next_is = |at: usize, sign: &str| inside.get(at + 1).is_some_and(|token| *token == sign);
    let mut at = 0;
    while let Some(token) = inside.get(at) {
        match *token {
            "(" | "[" => others += 1,
            ")" | "]" => others -= 1,
            // A shift, which no size may have.
            "<" if next_is(at, "<") => at += 1,
            "<" if others == 0 => angles += 1,
            ">" if others == 0 && angles == 0 => {
                let Some(comma) = comma else { return Ok(None) };
                // Of `>>` both may be ends, or it is a shift.
                let is_shift = next_is(at, ">")
                    && inside.get(at + 2).is_some_and(|next| {
                        next.starts_with(|c: char| c.is_alphanumeric() || matches!(c, '_' | '(' | '-' | '~'))
                    });
                return if is_shift { unclear(inside, "a shift") } else { Ok(Some(&inside[comma..at])) };
            }
            ">" if others == 0 => angles -= 1,
            "," if others == 0 && angles == 0 && comma.is_none() => comma = Some(at + 1),
            ";" | "{" | "}" => break,
            _ => {}
        }
        at += 1;
    }
    // It has no end: without a size, the compiler will say so.
    match comma {
        Some(_) => unclear(inside, "no end"),
        None => Ok(None),
    }
}

fn unclear<T>(inside: &[&str], what: &str) -> Result<T> {
    let shown: Vec<&str> = inside.iter().copied().take(12).collect();
    invalid(format!(
        "an array whose size cannot be told, as there is {what} (array<{} …): write a number",
        shown.join(" ")
    ))
}

fn bound(expression: &[&str], constants: &HashMap<&str, Vec<&[&str]>>, depth: usize) -> Result<u64> {
    let shown = || expression.join(" ");
    if depth > DEPTH_MAX {
        return invalid(format!(
            "an array's size is made of too many constants ({}): write a number",
            shown()
        ));
    }
    let mut product: u64 = 1;
    for token in expression {
        let factor = match *token {
            "+" | "-" | "*" | "/" | "%" | "(" | ")" | "," | "u32" | "i32" | "min" | "max" => continue,
            token if token.starts_with(|c: char| c.is_ascii_digit()) => number(token).unwrap_or(u64::MAX),
            token => match constants.get(token) {
                Some(values) => values
                    .iter()
                    .try_fold(0, |most: u64, value| Ok(most.max(bound(value, constants, depth + 1)?)))?,
                None => {
                    return invalid(format!(
                        "an array's size of which `{token}` is a part ({}) cannot be told: write a number, or a \
                         constant of numbers with + - * / %",
                        shown()
                    ));
                }
            },
        };
        product = product.saturating_mul(factor.max(2));
    }
    Ok(product)
}

/// A whole number, in the forms that WGSL has.
fn number(token: &str) -> Option<u64> {
    let digits = token.trim_end_matches(['u', 'i']);
    match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => digits.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    fn code(source: &str) -> Option<Code> {
        check_sizes(source).err().map(|error| error.code())
    }

    #[test]
    fn arrays_as_people_write_them_are_fine() {
        for source in [
            "var<storage> a: array<f32>;",
            "var<workgroup> a: array<f32, 256>;",
            "const TILE = 16u; var<workgroup> a: array<f32, TILE * TILE>;",
            "const N: u32 = 0x10u; const M = N * (N + 1); var<workgroup> a: array<array<vec4<f32>, M>, 4>;",
            "var a = array<f32, 4>(1.0, 2.0, 3.0, 4.0);",
            "override N = 64; var<workgroup> a: array<f32, N>;",
            "if a[1] < b[2] { c = array<u32,2>(1, 2); }",
            "struct S { a: array<array<i32, 2>>, b: array<array<i32,2>,3> }",
            "fn f(p: ptr<function, array<i32, 2>>) {}",
            "const SEED = 0xD2511F53u;",
        ] {
            assert_eq!(code(source), None, "{source}");
        }
    }

    #[test]
    fn arrays_beyond_all_bounds_are_refused() {
        for source in [
            "const a = array<i32, 100000000>();",
            "const a = array<i32, 10000 * 10000>();",
            "const N = 100000; const M = N * N; const a = array<i32, M>();",
            "alias T = array<array<i32, 1000000000>, 2>;",
            "const a = array < i32 , 0xfffffff >();",
            "const a = array<array<i32, 2>, 99999999u>();",
        ] {
            assert_eq!(code(source), Some(Code::LimitExceeded), "{source}");
        }
        let many = format!("const a = array<i32, 65536>(); {}", "const b = a[5];".repeat(2_000));
        assert_eq!(code(&many), Some(Code::LimitExceeded));
    }

    #[test]
    fn sizes_that_cannot_be_told_are_refused() {
        for source in [
            "const a = array<i32, 1 << 30>();",
            "const a = array<i32, 2 >> 1 << 30>();",
            "const a = array<i32, (1 << 30)>();",
            "const a = array<i32, ~0u>();",
            "const a = array<i32, f()>();",
            "const a = array<i32, u32(exp2(20.0))>();",
            "const a = b; const b = a; var c: array<i32, a>;",
        ] {
            assert_eq!(code(source), Some(Code::InvalidArgument), "{source}");
        }
    }
}
