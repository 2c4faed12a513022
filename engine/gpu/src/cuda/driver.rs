//! The driver's API, as far as it is used here (cuda.h).

use std::ffi::{CStr, c_char, c_int, c_uint, c_void};
use std::sync::{Arc, OnceLock};

use crate::cuda::loader::functions;
use crate::error::{Code, Error, Result, internal, lost};

/// A context, a module, a function, a stream or an event: the driver's own pointers.
pub type Handle = *mut c_void;
/// An address on the device.
pub type Address = u64;

functions! {
    /// Functions of libcuda.
    Driver {
        init = "cuInit"(c_uint) -> c_int;
        version = "cuDriverGetVersion"(*mut c_int) -> c_int;
        device_count = "cuDeviceGetCount"(*mut c_int) -> c_int;
        device = "cuDeviceGet"(*mut c_int, c_int) -> c_int;
        device_name = "cuDeviceGetName"(*mut c_char, c_int, c_int) -> c_int;
        device_memory = "cuDeviceTotalMem_v2"(*mut usize, c_int) -> c_int;
        device_attribute = "cuDeviceGetAttribute"(*mut c_int, c_int, c_int) -> c_int;
        context_create = "cuCtxCreate_v2"(*mut Handle, c_uint, c_int) -> c_int;
        context_destroy = "cuCtxDestroy_v2"(Handle) -> c_int;
        context_set = "cuCtxSetCurrent"(Handle) -> c_int;
        context_synchronize = "cuCtxSynchronize"() -> c_int;
        allocate = "cuMemAlloc_v2"(*mut Address, usize) -> c_int;
        free = "cuMemFree_v2"(Address) -> c_int;
        host_allocate = "cuMemHostAlloc"(*mut *mut c_void, usize, c_uint) -> c_int;
        host_free = "cuMemFreeHost"(*mut c_void) -> c_int;
        set_bytes = "cuMemsetD8Async"(Address, u8, usize, Handle) -> c_int;
        set_halves = "cuMemsetD16Async"(Address, u16, usize, Handle) -> c_int;
        set_words = "cuMemsetD32Async"(Address, c_uint, usize, Handle) -> c_int;
        set_columns = "cuMemsetD2D32Async"(Address, usize, c_uint, usize, usize, Handle) -> c_int;
        upload = "cuMemcpyHtoDAsync_v2"(Address, *const c_void, usize, Handle) -> c_int;
        download = "cuMemcpyDtoHAsync_v2"(*mut c_void, Address, usize, Handle) -> c_int;
        copy = "cuMemcpyDtoDAsync_v2"(Address, Address, usize, Handle) -> c_int;
        stream_create = "cuStreamCreate"(*mut Handle, c_uint) -> c_int;
        stream_destroy = "cuStreamDestroy_v2"(Handle) -> c_int;
        stream_synchronize = "cuStreamSynchronize"(Handle) -> c_int;
        stream_wait = "cuStreamWaitEvent"(Handle, Handle, c_uint) -> c_int;
        event_create = "cuEventCreate"(*mut Handle, c_uint) -> c_int;
        event_destroy = "cuEventDestroy_v2"(Handle) -> c_int;
        event_record = "cuEventRecord"(Handle, Handle) -> c_int;
        event_query = "cuEventQuery"(Handle) -> c_int;
        event_synchronize = "cuEventSynchronize"(Handle) -> c_int;
        event_elapsed = "cuEventElapsedTime"(*mut f32, Handle, Handle) -> c_int;
        module_load = "cuModuleLoadDataEx"(*mut Handle, *const c_void, c_uint, *mut c_int, *mut *mut c_void) -> c_int;
        module_unload = "cuModuleUnload"(Handle) -> c_int;
        module_function = "cuModuleGetFunction"(*mut Handle, Handle, *const c_char) -> c_int;
        function_attribute = "cuFuncGetAttribute"(*mut c_int, c_int, Handle) -> c_int;
        function_set_attribute = "cuFuncSetAttribute"(Handle, c_int, c_int) -> c_int;
        launch = "cuLaunchKernel"(Handle, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, c_uint, Handle, *mut *mut c_void, *mut *mut c_void) -> c_int;
        error_name = "cuGetErrorName"(c_int, *mut *const c_char) -> c_int;
        error_text = "cuGetErrorString"(c_int, *mut *const c_char) -> c_int;
    }
    optional {
        // Of 12.4 and later.
        parameter = "cuFuncGetParamInfo"(Handle, usize, *mut usize, *mut usize) -> c_int;
    }
}

/// Results that the rest of the crate looks at.
pub(super) const SUCCESS: c_int = 0;
const OUT_OF_MEMORY: c_int = 2;
/// A module has no such function.
pub(super) const NOT_FOUND: c_int = 500;
/// An event has not come yet.
pub(super) const NOT_READY: c_int = 600;
/// From here on a kernel broke the context; it is of no use any more.
const STICKY: [c_int; 13] = [4, 46, 101, 214, 220, 700, 702, 710, 714, 715, 716, 717, 718];
const LAUNCH_FAILED: c_int = 719;
const UNKNOWN: c_int = 999;

/// Streams that do not wait for the context's first one.
const STREAM_NON_BLOCKING: c_uint = 1;
/// Waiting for an event sleeps, and does not spin.
const EVENT_BLOCKING_SYNC: c_uint = 1;

/// The driver of this machine; none where there is no libcuda, no device, or the driver does not start.
pub fn driver() -> Option<&'static Driver> {
    static DRIVER: OnceLock<Option<Driver>> = OnceLock::new();
    let load = || {
        let driver = Driver::load(&["libcuda.so.1", "libcuda.so"])?;
        // SAFETY: it is the first call of the driver, as it has to be.
        (unsafe { (driver.init)(0) } == SUCCESS).then_some(driver)
    };
    DRIVER.get_or_init(load).as_ref()
}

impl Driver {
    /// What a result means; nothing for success.
    ///
    /// # Errors
    /// GPU_OUT_OF_MEMORY, GPU_DEVICE_LOST when the context is broken, INTERNAL for everything that had been
    /// checked before.
    pub fn check(&self, result: c_int, what: &str) -> Result<()> {
        if result == SUCCESS {
            return Ok(());
        }
        let text = self.text(result);
        if result == OUT_OF_MEMORY {
            let message = format!("{what}: the device has no memory left: drop buffers, or do less at once");
            return Err(Error::new(Code::OutOfMemory, message));
        }
        if STICKY.contains(&result) || result == LAUNCH_FAILED || result == UNKNOWN {
            return Err(lost(format!("{what}: {text}, from this or an earlier kernel")));
        }
        Err(internal(format!("{what}: {text}")))
    }

    /// The driver's name and description of a result.
    pub(super) fn text(&self, result: c_int) -> String {
        let read = |get: unsafe extern "C" fn(c_int, *mut *const c_char) -> c_int| {
            let mut text = std::ptr::null();
            // SAFETY: the place is there; the driver's texts are constants that end with a zero.
            match unsafe { get(result, &raw mut text) } == SUCCESS && !text.is_null() {
                // SAFETY: as above.
                true => unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned(),
                false => format!("error {result}"),
            }
        };
        format!("{} ({})", read(self.error_name), read(self.error_text))
    }

    /// An attribute of a device; 0 for one that the driver does not know.
    pub(super) fn attribute(&self, attribute: c_int, device: c_int) -> u32 {
        let mut value = 0;
        // SAFETY: the place is there, and lives as long as the call.
        let result = unsafe { (self.device_attribute)(&raw mut value, attribute, device) };
        if result == SUCCESS { u32::try_from(value).unwrap_or(0) } else { 0 }
    }
}

/// A context on a device: everything of one session. Destroyed with the last that refers to it.
pub(super) struct Context {
    pub(super) driver: &'static Driver,
    handle: Handle,
}

// SAFETY: the driver's functions may be called from any thread; the handle is only a name to it.
unsafe impl Send for Context {}
// SAFETY: as above.
unsafe impl Sync for Context {}

impl Context {
    pub(super) fn create(driver: &'static Driver, device: c_int) -> Result<Arc<Self>> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the device is one that the driver has counted.
        let result = unsafe { (driver.context_create)(&raw mut handle, 0, device) };
        driver.check(result, "a context on the device")?;
        Ok(Arc::new(Self { driver, handle }))
    }

    /// The driver, with this context for what this thread calls next.
    pub(super) fn enter(&self) -> Result<&'static Driver> {
        // SAFETY: the context lives as long as this.
        let result = unsafe { (self.driver.context_set)(self.handle) };
        self.driver.check(result, "the session's context")?;
        Ok(self.driver)
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: nothing refers to it any more. What it still runs the driver ends first.
        unsafe { (self.driver.context_destroy)(self.handle) };
    }
}

/// An event of a context.
pub(super) struct CudaEvent {
    context: Arc<Context>,
    handle: Handle,
}

// SAFETY: as of the context.
unsafe impl Send for CudaEvent {}
// SAFETY: as of the context.
unsafe impl Sync for CudaEvent {}

impl CudaEvent {
    /// The moment in a stream that is now its end. The context has been entered.
    pub(super) fn record(context: &Arc<Context>, stream: &CudaStream) -> Result<Self> {
        let driver = context.driver;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the place is there, and the context is entered.
        let result = unsafe { (driver.event_create)(&raw mut handle, EVENT_BLOCKING_SYNC) };
        driver.check(result, "an event")?;
        let event = Self { context: context.clone(), handle };
        // SAFETY: both are of this context, and alive.
        driver.check(unsafe { (driver.event_record)(handle, stream.handle) }, "recording an event")?;
        Ok(event)
    }

    /// Whether it has come. The context has been entered.
    pub(super) fn is_done(&self) -> Result<bool> {
        // SAFETY: it is alive.
        match unsafe { (self.context.driver.event_query)(self.handle) } {
            NOT_READY => Ok(false),
            result => self.context.driver.check(result, "what was queued").map(|()| true),
        }
    }

    /// Waits until it has come, in any thread.
    pub(super) fn wait(&self) -> Result<()> {
        let driver = self.context.enter()?;
        // SAFETY: it is alive.
        driver.check(unsafe { (driver.event_synchronize)(self.handle) }, "what was queued")
    }

    /// Milliseconds since an earlier one; both have come.
    pub(super) fn milliseconds_since(&self, earlier: &Self) -> Option<f32> {
        let mut milliseconds = 0.0;
        // SAFETY: both are alive, and the place is there.
        let result = unsafe {
            (self.context.driver.event_elapsed)(&raw mut milliseconds, earlier.handle, self.handle)
        };
        (result == SUCCESS && milliseconds.is_finite()).then_some(milliseconds)
    }
}

impl Drop for CudaEvent {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: nothing refers to it any more.
            unsafe { (self.context.driver.event_destroy)(self.handle) };
        }
    }
}

/// A stream of a context.
pub(super) struct CudaStream {
    context: Arc<Context>,
    pub(super) handle: Handle,
}

// SAFETY: as of the context.
unsafe impl Send for CudaStream {}

impl CudaStream {
    /// The context has been entered.
    pub(super) fn create(context: &Arc<Context>) -> Result<Self> {
        let mut handle = std::ptr::null_mut();
        // SAFETY: the place is there, and the context is entered.
        let result = unsafe { (context.driver.stream_create)(&raw mut handle, STREAM_NON_BLOCKING) };
        context.driver.check(result, "a stream")?;
        Ok(Self { context: context.clone(), handle })
    }

    /// What it is given from now on begins after the event.
    pub(super) fn wait_for(&self, event: &CudaEvent) -> Result<()> {
        let driver = self.context.driver;
        // SAFETY: both are alive and of this context.
        driver.check(unsafe { (driver.stream_wait)(self.handle, event.handle, 0) }, "waiting for an event")
    }

    /// Waits for all of it.
    pub(super) fn synchronize(&self) -> Result<()> {
        let driver = self.context.driver;
        // SAFETY: it is alive.
        driver.check(unsafe { (driver.stream_synchronize)(self.handle) }, "what was queued")
    }
}

impl Drop for CudaStream {
    fn drop(&mut self) {
        if self.context.enter().is_ok() {
            // SAFETY: nothing refers to it any more; the driver ends what it still runs first.
            unsafe { (self.context.driver.stream_destroy)(self.handle) };
        }
    }
}
