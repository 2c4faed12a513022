//! Values on their way into a guest and out of it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use engine_core::ids::IdGenerator;
use engine_core::value::no_handles;
use engine_core::work::Life;
use engine_core::{Codec, Handle, Value};
use engine_objects::Store;
use engine_runtime::{Options, Runtime};

use crate::guests;
use crate::node::{Node, node_with};

const IMPORTS: &str = r#"
  (import "engine:compute/types@0.1.0" "[method]object.get" (func $get (param i32 i32 i64 i32)))
  (import "engine:compute/types@0.1.0" "[method]object.is-ready" (func $is_ready (param i32) (result i32)))
  (import "engine:compute/types@0.1.0" "[resource-drop]object" (func $drop_object (param i32)))
  (import "engine:compute/objects@0.1.0" "put" (func $put (param i32 i32 i32 i32 i32 i32)))
"#;

/// Does `what` as often as the bytes of the argument say, from the same state of its allocator.
fn repeated(what: &str) -> Vec<u8> {
    let body = format!(
        "(local $left i64) (local $object i32) (local $begin i32) (local $at i32) (local $end i32)
        (local.set $left (i64.load (i32.load offset=4 (local.get $arguments))))
        (local.set $object (i32.load offset=4 (i32.load offset=12 (local.get $arguments))))
        (local.set $begin (global.get $heap))
        (loop $again
          (global.set $heap (local.get $begin))
          {what}
          (local.set $left (i64.sub (local.get $left) (i64.const 1)))
          (br_if $again (i64.ne (local.get $left) (i64.const 0))))
        call $none"
    );
    guests::program(IMPORTS, "", &body)
}

const GET: &str = "(call $get (local.get $object) (i32.const 0) (i64.const 0) (i32.const 4096))";
const PUT: &str =
    "(call $put (i32.const 0) (i32.const 16) (i32.const 16) (i32.const 0) (i32.const 0) (i32.const 4096))
    (call $drop_object (i32.load (i32.const 4100)))";

/// Touches every page of what was got.
const READ: &str = "(local.set $at (i32.load (i32.const 4104)))
    (local.set $end (i32.add (local.get $at) (i32.load (i32.const 4108))))
    (loop $next
      (drop (i32.load8_u (local.get $at)))
      (local.set $at (i32.add (local.get $at) (i32.const 4096)))
      (br_if $next (i32.lt_u (local.get $at) (local.get $end))))";

fn run(component: Vec<u8>, count: u64, maps: bool, store: &Store, object: &Value) -> (Arc<Node>, Duration) {
    let options = Options {
        guest_threads: 1,
        instances_max: 4,
        mapped_object_bytes_min: 1,
        mapped_objects_max: if maps { 64 } else { 0 },
        ..Options::default()
    };
    let runtime = Runtime::new(options).unwrap();
    let mut argument = value(store, count.to_le_bytes().to_vec());
    argument.handles = Arc::from([Handle::Object(IdGenerator::new([2; 16]).task().output(0))]);
    let guest = (component, "f".to_owned(), 0);
    let node = node_with(&runtime, &guest, Life::Task, vec![argument], store.clone());
    *node.object.lock() = Some(object.clone());
    node.running.store(1, Ordering::Relaxed);
    let began = Instant::now();
    node.start_one();
    node.wait();
    let took = began.elapsed();
    runtime.shutdown();
    node.object.lock().take();
    (node, took)
}

fn value(store: &Store, bytes: Vec<u8>) -> Value {
    let size = bytes.len() as u64;
    Value { codec: Codec::Raw, size, handles: no_handles(), place: store.place(bytes).unwrap() }
}

/// A get of one object into a fresh sandbox, from the host's answer to the guest's next call; the best
/// of some.
fn get_once(store: &Store, object: &Value, maps: bool, reads: &str) -> Duration {
    let what = format!("{GET} {reads} (drop (call $is_ready (local.get $object)))");
    let once = |_| {
        let (node, _) = run(repeated(&what), 1, maps, store, object);
        let (got, asked) = (node.got.lock().unwrap(), node.asked.lock().unwrap());
        asked - got
    };
    (0..5).map(once).min().unwrap_or_default()
}

pub(crate) fn all() {
    let options = engine_objects::Options { arena_bytes_max: (1 << 30) + (1 << 20), ..Default::default() };
    let store = Store::new(&options).unwrap();
    println!("get into fresh memory:  mapped, and read; copied, and read");
    for kib in [128, 256, 512, 1024, 2048, 4096, 64 << 10, 1 << 20] {
        let object = value(&store, vec![7; kib << 10]);
        let [mapped, and_read, copied, and_read_too] = [(true, ""), (true, READ), (false, ""), (false, READ)]
            .map(|(maps, reads)| get_once(&store, &object, maps, reads));
        println!("{kib:>8} KiB {mapped:>10.2?} {and_read:>10.2?} {copied:>10.2?} {and_read_too:>10.2?}");
    }
    let object = value(&store, vec![7; 16]);
    for (name, what) in [("get", GET), ("put", PUT)] {
        let count = 1_000_000;
        let (_, took) = run(repeated(what), count, true, &store, &object);
        println!("small {name}s {:>12.0} per second", count as f64 / took.as_secs_f64());
    }
}
