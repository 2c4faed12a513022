//! Products of matrices against cuBLAS called directly, transfers against copies of pinned memory, launches
//! against the driver's own.

use std::ffi::{c_int, c_void};
use std::ptr::null_mut;

use engine_gpu::cuda::{Address, Cublas, Driver, Handle, cublas, load_driver};
use engine_gpu::{
    BackendKind, Binding, DType, Grid, KernelSource, Matmul, Scalar, Session, SessionLimits, devices,
};

const SIDES: [u64; 3] = [4_096, 8_192, 16_384];
/// Multiplications and additions of a run, so that small products are done more often.
const OPERATIONS: f64 = 2e13;
const COPY_BYTES: usize = 1 << 28;
const LAUNCHES: u32 = 10_000;
const SOURCE: &str =
    "extern \"C\" __global__ void touch(unsigned* x, unsigned by) { if (threadIdx.x == 0) x[0] += by; }";

pub(crate) fn measure() {
    let found = devices();
    let device = found.iter().find(|device| device.description().backend == BackendKind::Cuda);
    let (Some(device), Some(driver)) = (device, load_driver()) else {
        println!("| (no device of CUDA: its rows are left out) | | | | |");
        return;
    };
    let limits = SessionLimits { device_memory_bytes_max: 16 << 30, ..SessionLimits::default() };
    let session = device.open(limits).expect("the device opens");
    println!("| (on {}) | | | | |", device.description());
    let direct = Direct::open(driver);
    launches(&session, &direct);
    copies(&session, &direct);
    match cublas() {
        Ok(cublas) => products(&session, &direct, cublas),
        Err(error) => println!("| ({error}) | | | | |"),
    }
}

/// The driver with a context of its own.
struct Direct {
    driver: &'static Driver,
    context: Handle,
    stream: Handle,
}

impl Direct {
    fn open(driver: &'static Driver) -> Self {
        let (mut context, mut stream) = (null_mut(), null_mut());
        // SAFETY: the places are there; the first device is, as a session is open on one.
        unsafe {
            succeeds((driver.context_create)(&raw mut context, 0, 0));
            succeeds((driver.stream_create)(&raw mut stream, 1));
        }
        Self { driver, context, stream }
    }

    /// This thread's next calls are for this context.
    fn enter(&self) {
        // SAFETY: the context lives as long as the process.
        succeeds(unsafe { (self.driver.context_set)(self.context) });
    }

    fn allocate(&self, bytes: usize) -> Address {
        self.enter();
        let mut address = 0;
        // SAFETY: the place is there, and the context is entered.
        succeeds(unsafe { (self.driver.allocate)(&raw mut address, bytes) });
        address
    }

    fn free(&self, address: Address) {
        self.enter();
        self.wait();
        // SAFETY: it was allocated here, and nothing uses it any more.
        succeeds(unsafe { (self.driver.free)(address) });
    }

    fn wait(&self) {
        // SAFETY: the stream lives as long as the process.
        succeeds(unsafe { (self.driver.stream_synchronize)(self.stream) });
    }
}

fn succeeds(result: c_int) {
    assert_eq!(result, 0, "the driver refuses");
}

fn launches(session: &Session, direct: &Direct) {
    let driver = direct.driver;
    let kernel = session.compile(KernelSource::CudaC(SOURCE), "touch").expect("it is right");
    let buffer = session.allocate(DType::U32, 1).expect("there is room");
    let stream = session.stream();
    let ours = || {
        for _ in 0..LAUNCHES {
            let bindings = [Binding::read_write(&buffer)];
            stream
                .launch(&kernel, Grid::blocks_of(1, 32), &bindings, &[Scalar::U32(1)])
                .expect("it is right");
        }
        stream.synchronize().expect("the device is well");
    };
    let address = direct.allocate(256);
    // The same in assembly, so that the driver needs no other library.
    let source = c".version 7.0\n.target sm_70\n.address_size 64\n.visible .entry touch(.param .u64 a, .param .u32 b) {\n.reg .u64 %p;\n.reg .u32 %x, %y;\n.reg .u32 %t;\n.reg .pred %q;\nmov.u32 %t, %tid.x;\nsetp.ne.u32 %q, %t, 0;\n@%q bra DONE;\nld.param.u64 %p, [a];\ncvta.to.global.u64 %p, %p;\nld.param.u32 %y, [b];\nld.global.u32 %x, [%p];\nadd.u32 %x, %x, %y;\nst.global.u32 [%p], %x;\nDONE:\nret;\n}\n";
    let (mut module, mut function) = (null_mut(), null_mut());
    // SAFETY: the text ends with a zero; the places are there, and the context is entered.
    unsafe {
        succeeds((driver.module_load)(&raw mut module, source.as_ptr().cast(), 0, null_mut(), null_mut()));
        succeeds((driver.module_function)(&raw mut function, module, c"touch".as_ptr()));
    }
    let by = 1_u32;
    let mut parameters: [*mut c_void; 2] =
        [(&raw const address).cast_mut().cast(), (&raw const by).cast_mut().cast()];
    let directly = || {
        direct.enter();
        for _ in 0..LAUNCHES {
            let places = parameters.as_mut_ptr();
            // SAFETY: the kernel takes these two parameters, and writes four bytes of the memory.
            let result =
                unsafe { (driver.launch)(function, 1, 1, 1, 32, 1, 1, 0, direct.stream, places, null_mut()) };
            succeeds(result);
        }
        direct.wait();
    };
    crate::compare("a launch of 32 threads", "below 3 µs", LAUNCHES, ours, directly);
    direct.free(address);
}

fn copies(session: &Session, direct: &Direct) {
    let driver = direct.driver;
    let [one, other] =
        [(); 2].map(|()| session.allocate(DType::U8, COPY_BYTES as u64).expect("there is room"));
    let [there, back] = [(); 2].map(|()| direct.allocate(COPY_BYTES));
    let mut pinned = null_mut();
    // SAFETY: the place is there, and the context is entered.
    succeeds(unsafe { (driver.host_allocate)(&raw mut pinned, COPY_BYTES, 0) });
    let stream = session.stream();
    let mut bytes = vec![1_u8; COPY_BYTES];
    let what = format!("{} MiB on the device", COPY_BYTES >> 20);
    crate::compare(
        &what,
        "below 1.05",
        1,
        || {
            stream.copy(&one, 0, &other, 0, COPY_BYTES as u64).expect("it is right");
            stream.synchronize().expect("the device is well");
        },
        || {
            direct.enter();
            // SAFETY: both have as many bytes.
            succeeds(unsafe { (driver.copy)(back, there, COPY_BYTES, direct.stream) });
            direct.wait();
        },
    );
    let what = format!("{} MiB to the device, against pinned memory", COPY_BYTES >> 20);
    crate::compare(
        &what,
        "below 1.11",
        1,
        || {
            stream.upload(&one, 0, &bytes).expect("it fits");
            stream.synchronize().expect("the device is well");
        },
        || {
            direct.enter();
            // SAFETY: both have as many bytes.
            succeeds(unsafe { (driver.upload)(there, pinned, COPY_BYTES, direct.stream) });
            direct.wait();
        },
    );
    let what = format!("{} MiB from the device, against pinned memory", COPY_BYTES >> 20);
    crate::compare(
        &what,
        "below 1.11",
        1,
        || stream.download(&one, 0, &mut bytes).expect("it is there"),
        || {
            direct.enter();
            // SAFETY: both have as many bytes.
            succeeds(unsafe { (driver.download)(pinned, there, COPY_BYTES, direct.stream) });
            direct.wait();
        },
    );
    direct.free(there);
    direct.free(back);
    // SAFETY: it was allocated here, and nothing uses it any more.
    succeeds(unsafe { (driver.host_free)(pinned) });
}

fn products(session: &Session, direct: &Direct, cublas: &Cublas) {
    let mut handle = null_mut();
    direct.enter();
    // SAFETY: the place is there, and the context is entered; the stream is of it.
    unsafe {
        succeeds((cublas.create)(&raw mut handle));
        succeeds((cublas.set_stream)(handle, direct.stream));
    }
    for (dtype, kind) in [(DType::F32, 0), (DType::Bf16, 14)] {
        for side in SIDES {
            let count = (OPERATIONS / (2.0 * (side as f64).powi(3))).clamp(1.0, 100.0) as u32;
            let [a, b, c] = [(); 3].map(|()| session.allocate(dtype, side * side).expect("there is room"));
            let stream = session.stream();
            let ours = || {
                for _ in 0..count {
                    stream.matmul(Matmul::new(side, side, side), &a, &b, &c).expect("it is right");
                }
                stream.synchronize().expect("the device is well");
            };
            let bytes = (side * side * dtype.bytes()) as usize;
            let [x, y, z] = [(); 3].map(|()| {
                let address = direct.allocate(bytes);
                // SAFETY: it has as many bytes.
                succeeds(unsafe { (direct.driver.set_bytes)(address, 0, bytes, direct.stream) });
                address
            });
            let (one, zero, n) = (1.0_f32, 0.0_f32, side as c_int);
            let (one, zero) = ((&raw const one).cast::<c_void>(), (&raw const zero).cast::<c_void>());
            let directly = || {
                direct.enter();
                for _ in 0..count {
                    // SAFETY: the matrices have as many elements; f32 is computed in (68), the library chooses
                    // how (−1).
                    succeeds(unsafe {
                        (cublas.product)(
                            handle, 0, 0, n, n, n, one, y, kind, n, x, kind, n, zero, z, kind, n, 68, -1,
                        )
                    });
                }
                direct.wait();
            };
            let what = format!("a product of {side} by {side}, {dtype}, against cuBLAS");
            crate::compare(&what, "below 1.05", count, ours, directly);
            [x, y, z].into_iter().for_each(|address| direct.free(address));
        }
    }
}
