//! NVIDIA's compiler of CUDA C at run time (nvrtc.h).

use std::collections::HashMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use sha2::{Digest, Sha256};

use crate::cuda::includes::check_includes;
use crate::cuda::loader::functions;
use crate::error::{Code, Error, Result, invalid, unsupported};

functions! {
    /// Functions of libnvrtc.
    Nvrtc {
        create = "nvrtcCreateProgram"(*mut *mut c_void, *const c_char, *const c_char, c_int, *const *const c_char, *const *const c_char) -> c_int;
        destroy = "nvrtcDestroyProgram"(*mut *mut c_void) -> c_int;
        compile = "nvrtcCompileProgram"(*mut c_void, c_int, *const *const c_char) -> c_int;
        log_size = "nvrtcGetProgramLogSize"(*mut c_void, *mut usize) -> c_int;
        log = "nvrtcGetProgramLog"(*mut c_void, *mut c_char) -> c_int;
        image_size = "nvrtcGetCUBINSize"(*mut c_void, *mut usize) -> c_int;
        image = "nvrtcGetCUBIN"(*mut c_void, *mut c_char) -> c_int;
        assembly_size = "nvrtcGetPTXSize"(*mut c_void, *mut usize) -> c_int;
        assembly = "nvrtcGetPTX"(*mut c_void, *mut c_char) -> c_int;
        architecture_count = "nvrtcGetNumSupportedArchs"(*mut c_int) -> c_int;
        architectures = "nvrtcGetSupportedArchs"(*mut c_int) -> c_int;
        error_text = "nvrtcGetErrorString"(c_int) -> *const c_char;
    }
    optional {}
}

/// Bytes of compiled kernels that a process keeps; above, all are forgotten.
const CACHE_BYTES_MAX: usize = 256 << 20;

/// Compiled kernels by the digest of their source and what they were compiled for.
#[derive(Default)]
struct Cache {
    images: HashMap<[u8; 32], Arc<Vec<u8>>>,
    bytes: usize,
}

fn nvrtc() -> Result<&'static Nvrtc> {
    static NVRTC: OnceLock<Option<Nvrtc>> = OnceLock::new();
    let names = ["libnvrtc.so", "libnvrtc.so.13", "libnvrtc.so.12", "libnvrtc.so.11.2"];
    match NVRTC.get_or_init(|| Nvrtc::load(&names)) {
        Some(nvrtc) => Ok(nvrtc),
        None => unsupported(
            "this machine has no NVRTC (libnvrtc), which compiles CUDA C: install CUDA's toolkit, set CUDA_PATH, \
             or give the kernel as PTX",
        ),
    }
}

/// Machine code, or PTX where the compiler is older than the device, for a device of this compute capability.
///
/// # Errors
/// GPU_COMPILE_ERROR with the compiler's text; UNSUPPORTED where there is no compiler.
pub(super) fn image(source: &str, name: &str, capability: u32) -> Result<Arc<Vec<u8>>> {
    static CACHE: OnceLock<Mutex<Cache>> = OnceLock::new();
    let cache = CACHE.get_or_init(Mutex::default);
    let mut digest = Sha256::new();
    digest.update(capability.to_le_bytes());
    digest.update(source.as_bytes());
    let digest: [u8; 32] = digest.finalize().into();
    if let Some(image) = cache.lock().images.get(&digest) {
        return Ok(image.clone());
    }
    let image = Arc::new(compile(nvrtc()?, source, name, capability)?);
    let mut cache = cache.lock();
    if cache.bytes + image.len() > CACHE_BYTES_MAX {
        *cache = Cache::default();
    }
    cache.bytes += image.len();
    cache.images.insert(digest, image.clone());
    Ok(image)
}

fn compile(nvrtc: &Nvrtc, source: &str, name: &str, capability: u32) -> Result<Vec<u8>> {
    check_includes(source)?;
    let Ok(text) = CString::new(source) else {
        return invalid(format!("kernel {name}: the source has a zero byte"));
    };
    let known = known_architectures(nvrtc);
    let exact = known.contains(&capability);
    // Older than the device: its newest assembly, which the driver compiles further.
    let newest = known.iter().copied().filter(|known| *known <= capability).max().unwrap_or(capability);
    let target = if exact {
        format!("--gpu-architecture=sm_{capability}")
    } else {
        format!("--gpu-architecture=compute_{newest}")
    };
    let options: Vec<CString> = [target.as_str(), "--std=c++17"].into_iter().flat_map(CString::new).collect();
    let options: Vec<*const c_char> = options.iter().map(|option| option.as_ptr()).collect();
    let program = Program::create(nvrtc, &text)?;
    // SAFETY: the program is alive, and the options' texts live as long as the call.
    let result = unsafe { (nvrtc.compile)(program.handle, options.len() as c_int, options.as_ptr()) };
    if result != 0 {
        let log = program.read(nvrtc.log_size, nvrtc.log);
        let log = String::from_utf8_lossy(&log);
        let log = log.trim_end_matches(['\0', '\n']);
        return Err(Error::new(
            Code::CompileError,
            format!("kernel {name}: {}: {log}", text_of(nvrtc, result)),
        ));
    }
    Ok(match exact {
        true => program.read(nvrtc.image_size, nvrtc.image),
        false => program.read(nvrtc.assembly_size, nvrtc.assembly),
    })
}

fn known_architectures(nvrtc: &Nvrtc) -> Vec<u32> {
    let mut count = 0;
    // SAFETY: the place is there.
    let result = unsafe { (nvrtc.architecture_count)(&raw mut count) };
    let mut known = vec![0; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for as many as it has just said.
    if result != 0 || known.is_empty() || unsafe { (nvrtc.architectures)(known.as_mut_ptr()) } != 0 {
        return Vec::new();
    }
    known.into_iter().filter_map(|known| u32::try_from(known).ok()).collect()
}

fn text_of(nvrtc: &Nvrtc, result: c_int) -> String {
    // SAFETY: the compiler's texts are constants that end with a zero.
    let text = unsafe { (nvrtc.error_text)(result) };
    if text.is_null() {
        return format!("error {result}");
    }
    // SAFETY: as above.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

type ReadSize = unsafe extern "C" fn(*mut c_void, *mut usize) -> c_int;
type ReadBytes = unsafe extern "C" fn(*mut c_void, *mut c_char) -> c_int;

/// A program of the compiler's, destroyed at the end.
struct Program<'a> {
    nvrtc: &'a Nvrtc,
    handle: *mut c_void,
}

impl<'a> Program<'a> {
    fn create(nvrtc: &'a Nvrtc, text: &CStr) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        let none = std::ptr::null();
        // SAFETY: the text ends with a zero and lives as long as the call; there are no headers.
        let result =
            unsafe { (nvrtc.create)(&raw mut handle, text.as_ptr(), c"kernel.cu".as_ptr(), 0, none, none) };
        if result != 0 {
            return Err(crate::error::internal(format!("NVRTC: {}", text_of(nvrtc, result))));
        }
        Ok(Self { nvrtc, handle })
    }

    /// Nothing when there is nothing.
    fn read(&self, size: ReadSize, read: ReadBytes) -> Vec<u8> {
        let mut count = 0;
        // SAFETY: the program is alive, and the place is there.
        if unsafe { size(self.handle, &raw mut count) } != 0 {
            return Vec::new();
        }
        let mut bytes = vec![0; count];
        // SAFETY: there is room for as many as it has just said.
        let result = unsafe { read(self.handle, bytes.as_mut_ptr().cast()) };
        if result == 0 { bytes } else { Vec::new() }
    }
}

impl Drop for Program<'_> {
    fn drop(&mut self) {
        // SAFETY: it was created, and nothing uses it any more.
        unsafe { (self.nvrtc.destroy)(&raw mut self.handle) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cuda::library;

    /// The compiler needs no device.
    #[test]
    fn without_a_compiler_that_is_said_and_with_one_it_compiles_once() {
        if let Err(error) = nvrtc() {
            assert_eq!(error.code(), Code::Unsupported);
            let found = image("extern \"C\" __global__ void k() {}", "k", 90);
            assert_eq!(found.expect_err("there is no compiler").code(), Code::Unsupported);
            return;
        }
        let garbage = image("this is no kernel", "k", 90).expect_err("it is none");
        assert_eq!(garbage.code(), Code::CompileError);
        assert!(garbage.message().contains("this is no kernel"), "{garbage}");
        let leak = image("#include \"/etc/hostname\"", "k", 90).expect_err("it names a file");
        assert_eq!(leak.code(), Code::InvalidArgument);
        let first = image(library::SOURCE, "of the library", 90).expect("it is right");
        assert!(first.starts_with(b"\x7fELF"), "machine code for a device that the compiler knows");
        let second = image(library::SOURCE, "of the library", 90).expect("it is right");
        assert!(Arc::ptr_eq(&first, &second));
        let assembly = image("extern \"C\" __global__ void k() {}", "k", 9_999).expect("it is right");
        assert!(
            String::from_utf8_lossy(&assembly).contains(".visible .entry k"),
            "PTX for one that it does not"
        );
    }
}
