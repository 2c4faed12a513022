//! cuBLAS (cublas_v2.h): products of matrices.

use std::ffi::{c_int, c_longlong, c_void};
use std::sync::OnceLock;

use crate::cuda::driver::{Address, Handle};
use crate::cuda::loader::functions;
use crate::dtype::DType;
use crate::error::{Code, Error, Result, internal, unsupported};
use crate::ops::Matmul;

functions! {
    /// Functions of libcublas.
    Cublas {
        create = "cublasCreate_v2"(*mut Handle) -> c_int;
        destroy = "cublasDestroy_v2"(Handle) -> c_int;
        set_stream = "cublasSetStream_v2"(Handle, Handle) -> c_int;
        product = "cublasGemmEx"(Handle, c_int, c_int, c_int, c_int, c_int, *const c_void, Address, c_int, c_int, Address, c_int, c_int, *const c_void, Address, c_int, c_int, c_int, c_int) -> c_int;
        products = "cublasGemmStridedBatchedEx"(Handle, c_int, c_int, c_int, c_int, c_int, *const c_void, Address, c_int, c_int, c_longlong, Address, c_int, c_int, c_longlong, *const c_void, Address, c_int, c_int, c_longlong, c_int, c_int, c_int) -> c_int;
    }
    optional {}
}

const ALLOCATION_FAILED: c_int = 3;
const COMPUTE_F32: c_int = 68;
const COMPUTE_F64: c_int = 70;
/// The library chooses.
const DEFAULT_ALGORITHM: c_int = -1;

/// The library of this machine.
///
/// # Errors
/// UNSUPPORTED where there is none.
pub fn cublas() -> Result<&'static Cublas> {
    static CUBLAS: OnceLock<Option<Cublas>> = OnceLock::new();
    let names = ["libcublas.so", "libcublas.so.13", "libcublas.so.12", "libcublas.so.11"];
    match CUBLAS.get_or_init(|| Cublas::load(&names)) {
        Some(cublas) => Ok(cublas),
        None => unsupported(
            "this machine has no cuBLAS (libcublas), which multiplies matrices: install it, or set CUDA_PATH",
        ),
    }
}

/// The library as one context uses it.
pub(super) struct Multiplier {
    cublas: &'static Cublas,
    handle: Handle,
}

// SAFETY: a handle may be used by one thread after the other.
unsafe impl Send for Multiplier {}

impl Multiplier {
    /// The context has been entered.
    pub(super) fn create() -> Result<Self> {
        let cublas = cublas()?;
        let mut handle = std::ptr::null_mut();
        // SAFETY: the place is there, and a context is entered.
        check(unsafe { (cublas.create)(&raw mut handle) }, "cuBLAS")?;
        Ok(Self { cublas, handle })
    }

    /// The context has been entered. Row-major matrices are the transposed ones of the library, which counts by
    /// columns: so left and right change sides.
    pub(super) fn run(
        &self,
        stream: Handle,
        dtype: DType,
        shape: &Matmul,
        left: Address,
        right: Address,
        output: Address,
    ) -> Result<()> {
        let int =
            |extent: u64| c_int::try_from(extent).map_err(|_| internal("a matmul too large for cuBLAS"));
        let (m, n, k, batch) = (int(shape.m)?, int(shape.n)?, int(shape.k)?, int(shape.batch)?);
        let (kind, compute) = match dtype {
            DType::F32 => (0, COMPUTE_F32),
            DType::F64 => (1, COMPUTE_F64),
            DType::F16 => (2, COMPUTE_F32),
            DType::Bf16 => (14, COMPUTE_F32),
            other => return Err(internal(format!("a matmul of {other}"))),
        };
        let narrow = [shape.alpha, shape.beta];
        let wide = narrow.map(f64::from);
        let factor = |at: usize| match dtype {
            DType::F64 => (&raw const wide[at]).cast::<c_void>(),
            _ => (&raw const narrow[at]).cast::<c_void>(),
        };
        let (right_turned, right_row) = if shape.transpose_right { (1, k) } else { (0, n) };
        let (left_turned, left_row) = if shape.transpose_left { (1, m) } else { (0, k) };
        // SAFETY: handle and stream are of the context that is entered.
        check(unsafe { (self.cublas.set_stream)(self.handle, stream) }, "cuBLAS's stream")?;
        let result = if batch == 1 {
            // SAFETY: the session has checked that the matrices lie in their buffers; the factors live as long
            // as the call.
            unsafe {
                (self.cublas.product)(
                    self.handle,
                    right_turned,
                    left_turned,
                    n,
                    m,
                    k,
                    factor(0),
                    right,
                    kind,
                    right_row,
                    left,
                    kind,
                    left_row,
                    factor(1),
                    output,
                    kind,
                    n,
                    compute,
                    DEFAULT_ALGORITHM,
                )
            }
        } else {
            let step = |extents: [u64; 2]| (extents[0] * extents[1]).cast_signed();
            // SAFETY: as above, for as many as there are.
            unsafe {
                (self.cublas.products)(
                    self.handle,
                    right_turned,
                    left_turned,
                    n,
                    m,
                    k,
                    factor(0),
                    right,
                    kind,
                    right_row,
                    step([shape.k, shape.n]),
                    left,
                    kind,
                    left_row,
                    step([shape.m, shape.k]),
                    factor(1),
                    output,
                    kind,
                    n,
                    step([shape.m, shape.n]),
                    batch,
                    compute,
                    DEFAULT_ALGORITHM,
                )
            }
        };
        check(result, "a matmul of cuBLAS")
    }
}

impl Drop for Multiplier {
    fn drop(&mut self) {
        // SAFETY: nothing uses it any more; whoever has it enters its context before.
        unsafe { (self.cublas.destroy)(self.handle) };
    }
}

fn check(status: c_int, what: &str) -> Result<()> {
    match status {
        0 => Ok(()),
        ALLOCATION_FAILED => Err(Error::new(
            Code::OutOfMemory,
            format!("{what}: the device has no memory left for it: drop buffers"),
        )),
        // The context is broken, as the next call of the driver will say; or the device cannot.
        other => Err(Error::new(Code::Unsupported, format!("{what}: status {other}"))),
    }
}
