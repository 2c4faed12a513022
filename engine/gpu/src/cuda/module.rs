//! Compiled kernels on a device, and their parameters.

use std::ffi::{CString, c_int, c_void};
use std::sync::Arc;

use crate::cuda::driver::{Context, Handle, NOT_FOUND, SUCCESS};
use crate::error::{Code, Error, Result, invalid};

/// Bytes of all parameters of a kernel, more than any driver takes.
const PARAMETER_BYTES_MAX: usize = 32 << 10;
/// Bytes of what the driver says of assembly that it does not take.
const LOG_BYTES: usize = 8 << 10;
// Options and attributes, by the driver's numbers.
const ERROR_LOG: c_int = 5;
const ERROR_LOG_BYTES: c_int = 6;
const FUNCTION_THREADS_MAX: c_int = 0;
const FUNCTION_SHARED_BYTES_MAX: c_int = 8;
/// Bytes of shared memory that need not be asked for.
const SHARED_BYTES_UNASKED: u32 = 48 << 10;

/// Machine code on a device.
pub(super) struct Module {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: as of the context.
unsafe impl Send for Module {}
// SAFETY: as of the context.
unsafe impl Sync for Module {}

/// A kernel of a module.
pub(super) struct Function {
    module: Arc<Module>,
    handle: Handle,
    /// Bytes of each parameter; none where the driver does not say.
    parameters: Option<Vec<usize>>,
    /// Threads that a block may have with the registers that it takes.
    pub(super) block_threads_max: u32,
    shared_asked: u32,
}

// SAFETY: as of the context.
unsafe impl Send for Function {}

impl Module {
    /// From machine code, or from PTX that ends with a zero. The context has been entered.
    ///
    /// # Errors
    /// GPU_COMPILE_ERROR with the driver's text.
    pub(super) fn load(context: &Arc<Context>, image: &[u8], name: &str) -> Result<Arc<Self>> {
        let driver = context.driver;
        let mut log = vec![0_u8; LOG_BYTES];
        let mut options = [ERROR_LOG, ERROR_LOG_BYTES];
        let mut values: [*mut c_void; 2] =
            [log.as_mut_ptr().cast(), std::ptr::without_provenance_mut(LOG_BYTES)];
        let mut handle = std::ptr::null_mut();
        // SAFETY: the image is machine code with its length inside, or text with a zero at its end; the log has
        // the room that is said, and all live as long as the call.
        let result = unsafe {
            (driver.module_load)(
                &raw mut handle,
                image.as_ptr().cast(),
                2,
                options.as_mut_ptr(),
                values.as_mut_ptr(),
            )
        };
        if result == SUCCESS {
            return Ok(Arc::new(Self { context: context.clone(), handle }));
        }
        // What is no fault of the text (memory, a lost device) has its own code.
        let error = driver.check(result, "a kernel's machine code").err();
        if let Some(error) = error.filter(|error| error.code() != Code::Internal) {
            return Err(error);
        }
        let end = log.iter().position(|byte| *byte == 0).unwrap_or(log.len());
        let log = String::from_utf8_lossy(&log[..end]).into_owned();
        Err(Error::new(Code::CompileError, format!("kernel {name}: {}: {log}", driver.text(result))))
    }

    /// A kernel of it. The context has been entered.
    ///
    /// # Errors
    /// INVALID_ARGUMENT when there is none of this name.
    pub(super) fn function(self: &Arc<Self>, name: &str) -> Result<Function> {
        let driver = self.context.driver;
        let Ok(text) = CString::new(name) else { return invalid(format!("{name:?} is no name of a kernel")) };
        let mut handle = std::ptr::null_mut();
        // SAFETY: the module is alive, and the name ends with a zero.
        let result = unsafe { (driver.module_function)(&raw mut handle, self.handle, text.as_ptr()) };
        if result == NOT_FOUND {
            return invalid(format!(
                "the source has no kernel {name}: is it `extern \"C\" __global__`, so that its name stays?"
            ));
        }
        driver.check(result, "a kernel")?;
        let mut threads = 0;
        // SAFETY: the function is alive, and the place is there.
        let result = unsafe { (driver.function_attribute)(&raw mut threads, FUNCTION_THREADS_MAX, handle) };
        driver.check(result, "a kernel's attributes")?;
        Ok(Function {
            module: self.clone(),
            handle,
            parameters: self.parameters(handle),
            block_threads_max: u32::try_from(threads).unwrap_or(0),
            shared_asked: SHARED_BYTES_UNASKED,
        })
    }

    fn parameters(&self, function: Handle) -> Option<Vec<usize>> {
        let get = self.context.driver.parameter?;
        let mut sizes = Vec::new();
        let (mut offset, mut size) = (0, 0);
        // SAFETY: the function is alive, and the places are there; the driver refuses an index beyond the last.
        while unsafe { get(function, sizes.len(), &raw mut offset, &raw mut size) } == SUCCESS {
            sizes.push(size);
        }
        Some(sizes)
    }
}

impl Drop for Module {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: no function of it is used any more; the driver ends what it still runs first.
            unsafe { (self.context.driver.module_unload)(self.handle) };
        }
    }
}

/// The parameters of a launch, as the driver reads them: it is told where each lies, but not how many there
/// are, nor how long. So there are as many places as a kernel can have, and each has room behind it: a source
/// that takes more than it is given reads zeros, and nothing else of this process.
pub(super) struct Parameters {
    bytes: Vec<u8>,
    places: Vec<*mut c_void>,
    sizes: Vec<usize>,
    /// Bytes before the zeros.
    used: usize,
}

// SAFETY: the places point into the bytes, which are this one's alone.
unsafe impl Send for Parameters {}

impl Parameters {
    pub(super) fn new() -> Self {
        let mut bytes = vec![0; 2 * PARAMETER_BYTES_MAX];
        let zeros: *mut u8 = bytes[PARAMETER_BYTES_MAX..].as_mut_ptr();
        let places = vec![zeros.cast(); PARAMETER_BYTES_MAX];
        Self { bytes, places, sizes: Vec::new(), used: 0 }
    }

    pub(super) fn clear(&mut self) {
        let zeros: *mut u8 = self.bytes[PARAMETER_BYTES_MAX..].as_mut_ptr();
        self.places[..self.sizes.len()].fill(zeros.cast());
        self.bytes[..self.used].fill(0);
        self.sizes.clear();
        self.used = 0;
    }

    /// One more. INVALID_ARGUMENT when there are more than any kernel has.
    pub(super) fn push(&mut self, value: &[u8]) -> Result<()> {
        let at = self.used.next_multiple_of(8);
        if at + value.len() > PARAMETER_BYTES_MAX {
            return invalid(format!("a launch with more than {PARAMETER_BYTES_MAX} bytes of parameters"));
        }
        self.bytes[at..at + value.len()].copy_from_slice(value);
        self.places[self.sizes.len()] = self.bytes[at..].as_mut_ptr().cast();
        self.sizes.push(value.len());
        self.used = at + value.len();
        Ok(())
    }
}

impl Function {
    /// Puts it behind what the stream has. The context has been entered.
    pub(super) fn launch(
        &mut self,
        stream: Handle,
        grid: [u32; 3],
        block: [u32; 3],
        shared_bytes: u32,
        parameters: &mut Parameters,
    ) -> Result<()> {
        let driver = self.module.context.driver;
        if let Some(expected) = &self.parameters
            && *expected != parameters.sizes
        {
            return invalid(format!(
                "a launch with parameters of {:?} bytes, and the kernel takes {expected:?}: buffers are 8 each \
                 and come first",
                parameters.sizes
            ));
        }
        if shared_bytes > self.shared_asked {
            let bytes = c_int::try_from(shared_bytes).unwrap_or(c_int::MAX);
            // SAFETY: the function is alive.
            let result =
                unsafe { (driver.function_set_attribute)(self.handle, FUNCTION_SHARED_BYTES_MAX, bytes) };
            if result != SUCCESS {
                return invalid(format!("{shared_bytes} bytes of shared memory: {}", driver.text(result)));
            }
            self.shared_asked = shared_bytes;
        }
        // SAFETY: function and stream are alive and of one context. The driver reads one place for each
        // parameter that the kernel has, of which there are fewer than places, and from each at most
        // `PARAMETER_BYTES_MAX` bytes, which lie behind all of them. What the kernel does with the addresses no
        // check can tell: it can reach what this context has, and nothing else.
        let result = unsafe {
            (driver.launch)(
                self.handle,
                grid[0],
                grid[1],
                grid[2],
                block[0],
                block[1],
                block[2],
                shared_bytes,
                stream,
                parameters.places.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        };
        match result {
            // Grid, block or shared memory that only the driver knows to be too large.
            1 | 701 => invalid(format!("a launch: {}", driver.text(result))),
            result => driver.check(result, "a launch"),
        }
    }
}
