//! What is said between whoever has a worker and the worker. Handles are the worker's numbers; types and
//! operations go by their names.

/// A request, answered by a [`Reply`] with its number.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Request {
    /// No other of this worker has it.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What is asked for.
    #[prost(oneof = "Ask", tags = "2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")]
    pub ask: Option<Ask>,
}

/// What is asked for.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Ask {
    /// A session, which is the worker's only one; the first request.
    #[prost(message, tag = "2")]
    Open(Open),
    /// A buffer of zeros: a handle.
    #[prost(message, tag = "3")]
    Allocate(Allocate),
    /// That a handle goes: nothing.
    #[prost(uint64, tag = "4")]
    Drop(u64),
    /// Bytes into a buffer: nothing.
    #[prost(message, tag = "5")]
    Upload(Upload),
    /// Bytes of a buffer, once everything before on the stream has ended.
    #[prost(message, tag = "6")]
    Download(Download),
    /// A value many times: nothing.
    #[prost(message, tag = "7")]
    Fill(Upload),
    /// From buffer to buffer: nothing.
    #[prost(message, tag = "8")]
    Copy(Copy),
    /// A kernel: a handle.
    #[prost(message, tag = "9")]
    Compile(Compile),
    /// That a kernel runs: nothing.
    #[prost(message, tag = "10")]
    Launch(Launch),
    /// An operation of the library: nothing.
    #[prost(message, tag = "11")]
    Operate(Operate),
    /// A stream more: a handle. The stream 0 is always there.
    #[prost(bool, tag = "12")]
    OpenStream(bool),
    /// An event of this stream: a handle.
    #[prost(uint64, tag = "13")]
    Record(u64),
    /// About an event: nothing, or whether it has come.
    #[prost(message, tag = "14")]
    Event(Event),
    /// What the session uses.
    #[prost(bool, tag = "15")]
    Usage(bool),
}

/// The device, as its description says, and what may be used of it; 0 is the default of a limit.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Open {
    /// `wgpu`, `cuda` or `reference`.
    #[prost(string, tag = "1")]
    pub backend: String,
    /// Which of its devices.
    #[prost(uint32, tag = "2")]
    pub index: u32,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "3")]
    pub device_memory_bytes_max: u64,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "4")]
    pub buffers_max: u64,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "5")]
    pub kernels_max: u64,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "6")]
    pub kernel_source_bytes_max: u64,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "7")]
    pub streams_max: u64,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "8")]
    pub launches_queued_max: u64,
    /// [`crate::SessionLimits`]' field of the same name.
    #[prost(uint64, tag = "9")]
    pub scalars_bytes_max: u64,
}

/// A buffer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Allocate {
    /// As [`crate::DType::name`] says.
    #[prost(string, tag = "1")]
    pub dtype: String,
    /// Elements.
    #[prost(uint64, tag = "2")]
    pub count: u64,
}

/// Bytes for a buffer; of a fill, those of one element.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Upload {
    /// A stream.
    #[prost(uint64, tag = "1")]
    pub stream: u64,
    /// A buffer.
    #[prost(uint64, tag = "2")]
    pub buffer: u64,
    /// In elements.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Of whole elements, little-endian.
    #[prost(bytes = "vec", tag = "4")]
    pub bytes: Vec<u8>,
    /// Of a fill: elements.
    #[prost(uint64, tag = "5")]
    pub count: u64,
}

/// A part of a buffer, to be read.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Download {
    /// A stream.
    #[prost(uint64, tag = "1")]
    pub stream: u64,
    /// A buffer.
    #[prost(uint64, tag = "2")]
    pub buffer: u64,
    /// In elements.
    #[prost(uint64, tag = "3")]
    pub offset: u64,
    /// Elements.
    #[prost(uint64, tag = "4")]
    pub count: u64,
}

/// From buffer to buffer.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Copy {
    /// A stream.
    #[prost(uint64, tag = "1")]
    pub stream: u64,
    /// A buffer.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// In elements.
    #[prost(uint64, tag = "3")]
    pub from_offset: u64,
    /// A buffer.
    #[prost(uint64, tag = "4")]
    pub to: u64,
    /// In elements.
    #[prost(uint64, tag = "5")]
    pub to_offset: u64,
    /// Elements.
    #[prost(uint64, tag = "6")]
    pub count: u64,
}

/// A kernel's source.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Compile {
    /// `WGSL`, `CUDA C` or `PTX`.
    #[prost(string, tag = "1")]
    pub language: String,
    /// The source.
    #[prost(string, tag = "2")]
    pub source: String,
    /// The function that is the kernel.
    #[prost(string, tag = "3")]
    pub entry: String,
}

/// A launch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Launch {
    /// A stream.
    #[prost(uint64, tag = "1")]
    pub stream: u64,
    /// A kernel.
    #[prost(uint64, tag = "2")]
    pub kernel: u64,
    /// Blocks along x, y and z.
    #[prost(uint32, repeated, tag = "3")]
    pub blocks: Vec<u32>,
    /// Threads along x, y and z; none where the source says them.
    #[prost(uint32, repeated, tag = "4")]
    pub threads: Vec<u32>,
    /// Bytes beyond what the source says.
    #[prost(uint32, tag = "5")]
    pub shared_bytes: u32,
    /// Buffers.
    #[prost(message, repeated, tag = "6")]
    pub bindings: Vec<Bound>,
    /// Scalars.
    #[prost(message, repeated, tag = "7")]
    pub scalars: Vec<Number>,
}

/// A buffer of a launch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Bound {
    /// A buffer.
    #[prost(uint64, tag = "1")]
    pub buffer: u64,
    /// In elements.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// Elements; all that follow where it is left out.
    #[prost(uint64, optional, tag = "3")]
    pub count: Option<u64>,
    /// Whether it is written to.
    #[prost(bool, tag = "4")]
    pub writes: bool,
}

/// A scalar of a launch.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Number {
    /// The number.
    #[prost(oneof = "Value", tags = "1, 2, 3, 4, 5")]
    pub value: Option<Value>,
}

/// A scalar's number.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Value {
    /// 32 bits.
    #[prost(sint32, tag = "1")]
    I32(i32),
    /// 32 bits.
    #[prost(uint32, tag = "2")]
    U32(u32),
    /// 64 bits.
    #[prost(sint64, tag = "3")]
    I64(i64),
    /// 32 bits.
    #[prost(float, tag = "4")]
    F32(f32),
    /// 64 bits.
    #[prost(double, tag = "5")]
    F64(f64),
}

/// An operation of the library; what it does not take is left out.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Operate {
    /// A stream.
    #[prost(uint64, tag = "1")]
    pub stream: u64,
    /// `unary`, `binary`, `cast`, `reduce`, `softmax`, `layer_norm`, `random` or `matmul`.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// Which, of unary, binary, reduce and random (`Bits`, `Uniform`, `Normal`).
    #[prost(string, tag = "3")]
    pub op: String,
    /// Buffers that are read, in order; 0 for one that is left out.
    #[prost(uint64, repeated, tag = "4")]
    pub inputs: Vec<u64>,
    /// A buffer.
    #[prost(uint64, tag = "5")]
    pub output: u64,
    /// Counts, shapes, rows and columns; of a matmul batch, m, n and k.
    #[prost(uint64, repeated, tag = "6")]
    pub shape: Vec<u64>,
    /// Of a reduction.
    #[prost(uint64, optional, tag = "7")]
    pub axis: Option<u64>,
    /// The number in place of a buffer; epsilon; low and high, mean and deviation; alpha and beta.
    #[prost(double, repeated, tag = "8")]
    pub numbers: Vec<f64>,
    /// Of random numbers.
    #[prost(uint64, tag = "9")]
    pub seed: u64,
    /// Of a matmul: the left, the right.
    #[prost(bool, repeated, tag = "10")]
    pub transposed: Vec<bool>,
}

/// About an event.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Event {
    /// An event.
    #[prost(uint64, tag = "1")]
    pub event: u64,
    /// A stream that goes on after it; without one the answer comes when the event has, or says at once
    /// whether it has.
    #[prost(uint64, optional, tag = "2")]
    pub stream: Option<u64>,
    /// Whether to say at once.
    #[prost(bool, tag = "3")]
    pub polls: bool,
}

/// The answer to a request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Reply {
    /// The request's.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// What came of it.
    #[prost(oneof = "Answer", tags = "2, 3, 4, 5, 6, 7")]
    pub answer: Option<Answer>,
}

/// What came of a request.
#[derive(Clone, PartialEq, prost::Oneof)]
pub enum Answer {
    /// It was refused, or it failed.
    #[prost(message, tag = "2")]
    Failed(Failed),
    /// It is done, or it is queued.
    #[prost(bool, tag = "3")]
    Done(bool),
    /// A new handle.
    #[prost(uint64, tag = "4")]
    Handle(u64),
    /// What was read.
    #[prost(bytes = "vec", tag = "5")]
    Bytes(Vec<u8>),
    /// Whether it is so.
    #[prost(bool, tag = "6")]
    Is(bool),
    /// What the session uses.
    #[prost(message, tag = "7")]
    Used(Used),
}

/// An error.
#[derive(Clone, PartialEq, prost::Message)]
pub struct Failed {
    /// As [`crate::Code::as_str`] says.
    #[prost(string, tag = "1")]
    pub code: String,
    /// For people.
    #[prost(string, tag = "2")]
    pub message: String,
}

/// [`crate::Usage`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct Used {
    /// Bytes.
    #[prost(uint64, tag = "1")]
    pub device_memory_bytes: u64,
    /// Buffers.
    #[prost(uint64, tag = "2")]
    pub buffers: u64,
    /// Kernels.
    #[prost(uint64, tag = "3")]
    pub kernels: u64,
    /// Streams.
    #[prost(uint64, tag = "4")]
    pub streams: u64,
    /// Nanoseconds.
    #[prost(uint64, tag = "5")]
    pub device_nanoseconds: u64,
    /// Launches, library calls and transfers.
    #[prost(uint64, tag = "6")]
    pub launches: u64,
    /// Submissions.
    #[prost(uint64, tag = "7")]
    pub submissions: u64,
}
