//! Tasks that misbehave.
use engine::prelude::*;
use std::fmt;
use std::hint::black_box;

/// Panics with this message.
#[engine::task]
pub fn panics(message: String) {
    inner_panic(&message);
}

/// A frame with a name, for the backtrace.
#[inline(never)]
fn inner_panic(message: &str) {
    panic!("{message}");
}

/// Executes an instruction that traps.
#[engine::task]
pub fn unreachable() {
    // `abort` is `unreachable` in WebAssembly.
    std::process::abort();
}

/// Ends the guest from inside, as a command would.
#[engine::task]
pub fn exit(code: i32) {
    std::process::exit(code);
}

/// Overflows the stack.
#[engine::task]
pub fn overflow_stack() -> u64 {
    descend(0)
}

#[inline(never)]
#[expect(unconditional_recursion, reason = "that is what it is for")]
fn descend(depth: u64) -> u64 {
    let page = black_box([depth; 64]);
    black_box(descend(depth + 1)) + page[0]
}

/// Never ends, and never calls the host.
#[engine::task]
pub fn spin_forever() {
    let mut turns: u64 = 0;
    loop {
        turns = black_box(turns.wrapping_add(1));
    }
}

/// Never ends, and calls the host all the time.
#[engine::task]
pub fn call_forever() {
    loop {
        black_box(engine::context().attempt());
    }
}

/// Sleeps for ever.
#[engine::task]
pub fn sleep_forever() {
    std::thread::sleep(std::time::Duration::MAX);
}

/// Takes memory until there is none.
#[engine::task]
pub fn allocate_forever() -> u64 {
    const STEP_BYTES: usize = 1 << 20;
    let mut kept = Vec::new();
    loop {
        kept.push(black_box(vec![1u8; STEP_BYTES]));
        black_box(&kept);
    }
}

/// Takes and touches so many bytes, and gives their number.
#[engine::task]
pub fn allocate(bytes: u64) -> u64 {
    let kept = black_box(vec![1u8; bytes as usize]);
    kept.len() as u64
}

/// Writes so many lines of so many bytes to standard output.
#[engine::task]
pub fn spam_log(lines: u64, bytes: u64) -> u64 {
    let line = "x".repeat((bytes as usize).saturating_sub(1));
    for _ in 0..lines {
        println!("{line}");
    }
    lines
}

/// Logs so many records.
#[engine::task]
pub fn spam_records(records: u64) -> u64 {
    for n in 0..records {
        engine::log::info!("record {n}");
    }
    records
}

/// Spawns so many tasks and forgets them all.
#[engine::task]
pub fn spawn_many(count: u64) -> Result<u64> {
    for _ in 0..count {
        crate::good::noop::spawn()?;
    }
    Ok(count)
}

/// Spawns itself twice, without end.
#[engine::task]
pub fn fork_bomb() -> Result<()> {
    fork_bomb::spawn()?;
    fork_bomb::spawn()?;
    Ok(())
}

/// Puts so many objects of so many bytes and keeps them all.
#[engine::task]
pub fn hoard(count: u64, bytes: u64) -> Result<u64> {
    let refs =
        (0..count).map(|n| engine::put_bytes(vec![n as u8; bytes as usize])).collect::<Result<Vec<_>>>()?;
    Ok(refs.len() as u64)
}

/// Fails with a failure of this kind and message.
#[engine::task]
pub fn fail_with_kind(kind: String, message: String) -> Result<u64, Failure> {
    Err(Failure::new(kind, message))
}

/// The program's own error, with a kind of its own for each case.
#[derive(Debug)]
pub enum Weather {
    Rain,
    Snow(u32),
}

impl engine::Kind for Weather {
    fn kind(&self) -> &str {
        match self {
            Weather::Rain => "Rain",
            Weather::Snow(_) => "Snow",
        }
    }
}

impl fmt::Display for Weather {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Weather::Rain => f.write_str("it rains"),
            Weather::Snow(centimetres) => write!(f, "{centimetres} cm of snow"),
        }
    }
}

#[engine::task]
pub fn weather(centimetres: u32) -> Result<u64, Weather> {
    Err(if centimetres == 0 { Weather::Rain } else { Weather::Snow(centimetres) })
}

/// Fails as `Flaky` in the first attempts, and then gives the number of the attempt.
#[engine::task(max_retries = 5, retry_on("Flaky"))]
pub fn flaky(failures: u32) -> Result<u32, Failure> {
    let attempt = engine::context().attempt();
    if attempt < failures {
        return Err(Failure::new("Flaky", format!("attempt {attempt} fails")));
    }
    Ok(attempt)
}

/// Reads what fails, so that the error passes through here.
#[engine::task]
pub fn pass_error_on(kind: String) -> Result<u64> {
    fail_with_kind::spawn(kind, "from below")?.get()
}

/// The same through an argument.
#[engine::task]
pub fn use_value(value: u64) -> u64 {
    value
}

/// Fails with a payload of two numbers.
#[engine::task]
pub fn fail_with_payload() -> Result<u64> {
    Err(Failure::new("Detailed", "see the payload").with_payload(&(7u64, 11u64))?)?
}

/// Writes a file, which works only where it was granted.
#[engine::task]
pub fn write_file(path: String, text: String) -> Result<u64> {
    std::fs::write(&path, &text).map_err(|error| denied(&path, &error))?;
    Ok(text.len() as u64)
}

/// Reads a file, which works only where it was granted.
#[engine::task]
pub fn read_file(path: String) -> Result<String> {
    Ok(std::fs::read_to_string(&path).map_err(|error| denied(&path, &error))?)
}

fn denied(path: &str, error: &std::io::Error) -> Failure {
    Failure::new("io::Error", format!("{path}: {error}"))
}

/// Returns the wrong number of objects: one fewer than it says.
#[engine::task(num_returns = 3)]
pub fn too_few() -> Vec<u64> {
    vec![1, 2]
}
