//! A component of a Python program: a copy of the runner with the program in the room that is kept for it
//! there (`_guest_program.py`), which needs no Python here.

use std::io::Write;
use std::path::Path;

use flate2::Compression;
use flate2::write::ZlibEncoder;
use memchr::memmem;
use serde_json::json;

use super::{Program, runner};
use crate::failure::Failure;

/// What the room is filled with, again and again.
const PATTERN: [u8; 16] =
    [0xf2, 0xa9, 0x7c, 0x1d, 0xe5, 0x80, 0x3b, 0x96, 0xd4, 0x41, 0x0f, 0xbe, 0x68, 0x33, 0xc7, 0x5a];
/// So many in a row are the room: what is left of one elsewhere is not.
const PATTERNS_MIN: usize = 64;

/// The component of the program at this path.
pub(crate) fn component(path: &Path) -> Result<Vec<u8>, Failure> {
    let program = packed(path, &Program::read(path)?)?;
    let runner = runner()?;
    let mut component = std::fs::read(&runner)
        .map_err(|error| Failure::Usage(format!("cannot read {}: {error}", runner.display())))?;
    let room = room(&mut component).ok_or_else(|| {
        Failure::Usage(format!(
            "{} has no room for a program: it was built of one, or is older than this command. Make a new one with \
             `cargo xtask python-runner`",
            runner.display()
        ))
    })?;
    if program.len() > room.len() {
        return Err(Failure::Usage(format!(
            "{} and the modules beside it that it imports have {} bytes when compressed, and a component has room for {} \
             (program_room_bytes): leave data out of the source, and pass it as objects",
            path.display(),
            program.len(),
            room.len()
        )));
    }
    let (front, rest) = room.split_at_mut(program.len());
    front.copy_from_slice(&program);
    // Nothing of the pattern is left, so that nobody takes this for a runner.
    rest.fill(0);
    Ok(component)
}

/// The program as the runner reads it: the length of what follows, and compressed JSON.
fn packed(path: &Path, program: &Program) -> Result<Vec<u8>, Failure> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let text = json!({ "name": name, "source": program.source, "modules": program.modules }).to_string();
    let wrong = |error| Failure::Other(format!("cannot compress {}: {error}", path.display()));
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text.as_bytes()).map_err(wrong)?;
    let data = encoder.finish().map_err(wrong)?;
    let length = u32::try_from(data.len()).map_err(|error| wrong(std::io::Error::other(error)))?;
    Ok([&length.to_le_bytes()[..], &data].concat())
}

/// Where the pattern is repeated.
fn room(component: &mut [u8]) -> Option<&mut [u8]> {
    let begin = memmem::find(component, &PATTERN.repeat(PATTERNS_MIN))?;
    let repeated = component[begin..].chunks_exact(PATTERN.len()).take_while(|chunk| *chunk == PATTERN);
    let bytes = repeated.count() * PATTERN.len();
    Some(&mut component[begin..begin + bytes])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_is_where_the_pattern_is_repeated() {
        let mut component =
            [b"\0asm".as_slice(), &PATTERN.repeat(3), b"between", &PATTERN.repeat(70), b"end"].concat();
        let found = room(&mut component).unwrap();
        assert_eq!(found.len(), 70 * PATTERN.len());
        found.fill(0);
        assert!(component.ends_with(b"\0end") && component.starts_with(b"\0asm\xf2"));
        assert!(room(&mut component).is_none());
    }

    #[test]
    fn a_program_is_packed_with_its_modules_under_its_name() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("app.py");
        std::fs::write(&path, "import shop\n").unwrap();
        std::fs::write(temp.path().join("shop.py"), "PRICE = 3\n").unwrap();
        let packed = packed(&path, &Program::read(&path).unwrap()).unwrap();
        let (length, data) = packed.split_first_chunk().unwrap();
        assert_eq!(u32::from_le_bytes(*length) as usize, data.len());
        let program: serde_json::Value =
            serde_json::from_reader(flate2::read::ZlibDecoder::new(data)).unwrap();
        let modules = json!({ "shop.py": "PRICE = 3\n" });
        assert_eq!(program, json!({ "name": "app.py", "source": "import shop\n", "modules": modules }));
    }
}
