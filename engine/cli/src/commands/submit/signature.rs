//! The signatures of what is submitted, each in a file.

use std::io::{ErrorKind, Read};
use std::path::Path;

use engine_access::limits::SIGNATURE_BYTES_MAX;
use engine_access::signed;

use crate::failure::Failure;

/// Bytes of a file that is read: base64 takes a third more, and lines some.
const FILE_BYTES_MAX: u64 = 2 * SIGNATURE_BYTES_MAX as u64;

/// The signature in a file that was named.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    match found(path)? {
        Some(signature) => Ok(signature),
        None => Err(Failure::Usage(format!("the signature {}: there is no such file", path.display()))),
    }
}

/// The signature beside a module: in the file of its name with `.sig` after it; empty where there is none.
pub(super) fn beside(module: &Path) -> Result<Vec<u8>, Failure> {
    let mut path = module.as_os_str().to_owned();
    path.push(".sig");
    Ok(found(Path::new(&path))?.unwrap_or_default())
}

fn found(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let wrong = |why: &str| Failure::Usage(format!("the signature {}: {why}", path.display()));
    let file = match std::fs::File::open(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        file => file.map_err(|error| wrong(&error.to_string()))?,
    };
    let mut bytes = Vec::new();
    // One more than there may be, so that a file that is too large is seen to be.
    let read = file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| wrong(&error.to_string()))?;
    signed::signature(&bytes).map(Some).map_err(|error| wrong(error.message()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_lies_beside_its_module_or_where_it_is_said() {
        let temp = tempfile::tempdir().unwrap();
        let module = temp.path().join("a.wasm");
        assert_eq!(beside(&module).unwrap(), b"");
        let path = temp.path().join("a.wasm.sig");
        std::fs::write(&path, "AQID\n").unwrap();
        assert_eq!(beside(&module).unwrap(), [1, 2, 3]);
        assert_eq!(read(&path).unwrap(), [1, 2, 3]);
        std::fs::write(&path, vec![0xff; 10_000]).unwrap();
        let Err(Failure::Usage(text)) = beside(&module) else { panic!("it was taken") };
        assert!(text.contains("a.wasm.sig") && text.contains("signature_bytes_max"), "{text}");
        let Err(Failure::Usage(text)) = read(&temp.path().join("b.sig")) else { panic!("it was read") };
        assert!(text.contains("no such file"), "{text}");
    }
}
