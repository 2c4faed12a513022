//! Takes the debug sections out of a module or component, and leaves everything else as it was:
//! the name section stays, for backtraces with function names.

const CUSTOM: u8 = 0;
const COMPONENT_CORE_MODULE: u8 = 1;
const COMPONENT_COMPONENT: u8 = 4;
const HEADER_BYTES: usize = 8;

/// The same binary without `.debug_*` sections; none when the sections are not well-formed.
pub(crate) fn without_debug(wasm: &[u8]) -> Option<Vec<u8>> {
    let header = wasm.get(..HEADER_BYTES)?;
    let is_component = header[6] == 1;
    let mut out = header.to_vec();
    let mut rest = &wasm[HEADER_BYTES..];
    while let Some((&id, after)) = rest.split_first() {
        let (size, after) = leb_u32(after)?;
        let content = after.get(..size)?;
        rest = &after[size..];
        if id == CUSTOM && is_debug(content)? {
            continue;
        }
        let nested = is_component && (id == COMPONENT_CORE_MODULE || id == COMPONENT_COMPONENT);
        out.push(id);
        if nested {
            let inner = without_debug(content)?;
            push_leb_u32(&mut out, u32::try_from(inner.len()).ok()?);
            out.extend(inner);
        } else {
            push_leb_u32(&mut out, u32::try_from(size).ok()?);
            out.extend(content);
        }
    }
    Some(out)
}

fn is_debug(custom: &[u8]) -> Option<bool> {
    let (length, rest) = leb_u32(custom)?;
    Some(rest.get(..length)?.starts_with(b".debug_"))
}

fn leb_u32(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0u64;
    for (index, byte) in bytes.iter().take(5).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((usize::try_from(value).ok()?, &bytes[index + 1..]));
        }
    }
    None
}

fn push_leb_u32(out: &mut Vec<u8>, mut value: u32) {
    loop {
        let byte = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            out.push(byte);
            return;
        }
        out.push(byte | 0x80);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MODULE: &str = r#"(module $m
        (func $work (export "work"))
        (@custom ".debug_info" "abc")
        (@custom "producers-like" "kept"))"#;

    fn holds(wasm: &[u8], text: &str) -> bool {
        wasm.windows(text.len()).any(|window| window == text.as_bytes())
    }

    #[test]
    fn only_debug_sections_go() {
        let wasm = wat::parse_str(MODULE).unwrap();
        assert!(holds(&wasm, ".debug_info"));
        let stripped = without_debug(&wasm).unwrap();
        assert!(!holds(&stripped, ".debug_info"));
        assert!(holds(&stripped, "producers-like") && holds(&stripped, "name"));
        wasmparser::validate(&stripped).unwrap();
    }

    #[test]
    fn modules_inside_components_are_stripped_too() {
        let inner = MODULE.replace("(module $m", "(core module $m");
        let wasm = wat::parse_str(format!("(component {inner})")).unwrap();
        let stripped = without_debug(&wasm).unwrap();
        assert!(holds(&wasm, ".debug_info") && !holds(&stripped, ".debug_info"));
        wasmparser::validate(&stripped).unwrap();
    }

    #[test]
    fn damaged_bytes_give_nothing() {
        let wasm = wat::parse_str(MODULE).unwrap();
        assert_eq!(without_debug(&wasm[..wasm.len() - 1]), None);
        assert_eq!(without_debug(b"\0asm"), None);
    }
}
