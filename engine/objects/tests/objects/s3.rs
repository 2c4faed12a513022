//! Against a real process that speaks S3: `moto_server`, where it is installed.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use engine_core::Place;
use engine_objects::{S3Target, SpillTarget, Store, slice};

use crate::faulty::failure;
use crate::{options, pattern, place, wait_until};

struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// A server with an empty bucket; none where it is not installed.
    fn start() -> Option<Self> {
        let port = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
        let started = Command::new("moto_server")
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        let Ok(process) = started else {
            eprintln!("not tested: moto_server is not installed (pip install 'moto[server]')");
            return None;
        };
        let mut server = Self { process, address: format!("127.0.0.1:{port}") };
        while TcpStream::connect(&server.address).is_err() {
            assert!(server.process.try_wait().expect("asked").is_none(), "moto_server ended");
            std::thread::yield_now();
        }
        assert!(server.ask("PUT", "/bucket").contains(" 200 "));
        Some(server)
    }

    fn stop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    fn ask(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nHost: {}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            self.address
        )
        .expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer
    }

    /// Keys in the bucket.
    fn files(&self) -> usize {
        self.ask("GET", "/bucket?list-type=2").matches("<Key>").count()
    }

    fn target(&self, url: &str) -> Result<S3Target, engine_core::Error> {
        let endpoint = format!("http://{}", self.address);
        S3Target::new(
            url,
            &[
                ("AWS_ENDPOINT", &endpoint),
                ("AWS_REGION", "us-east-1"),
                ("AWS_ACCESS_KEY_ID", "key"),
                ("AWS_SECRET_ACCESS_KEY", "secret"),
                ("AWS_ALLOW_HTTP", "true"),
            ],
        )
    }
}

#[test]
fn objects_are_spilled_to_s3_read_by_ranges_restored_and_deleted() {
    let Some(mut server) = Server::start() else { return };
    let target: Arc<dyn SpillTarget> = Arc::new(server.target("s3://bucket/a/prefix").expect("a target"));
    assert_eq!(server.files(), 0, "the check leaves nothing");
    let store = Store::with_target(&options(128 << 20, None), target).expect("a store");
    let sizes = [100, 5000, 3 << 20, (21 << 20) + 77];
    for group in [&sizes[..2], &sizes[..]] {
        let values: Vec<Place> = group.iter().map(|size| place(&store, *size as u64, *size)).collect();
        let spilled: Vec<Place> =
            store.spill(values).into_iter().map(|spilled| spilled.expect("spilled")).collect();
        assert_eq!((server.files(), store.usage().spill.free_bytes), (1, None));
        for (size, place) in group.iter().zip(&spilled) {
            let expected = pattern(*size as u64, *size);
            assert!(slice(&store.restore(place).expect("restored")) == Some(&expected[..]), "{size}");
            assert!(store.read(place, 50, *size as u64 - 60).expect("read") == expected[50..size - 10]);
        }
        drop(spilled);
        wait_until(|| store.usage().spill.files == 0);
        assert_eq!(server.files(), 0);
    }
    let through = store.write_through(&[&pattern(1, 10 << 20), b"end"]).expect("written");
    assert_eq!(store.read(&through, 10 << 20, 3).expect("read"), b"end");
    let mut draft = store.allocate_through().expect("a file");
    for _ in 0..10 {
        draft.append(&pattern(2, 1 << 20)).expect("written");
    }
    drop(draft);
    wait_until(|| store.usage().spill.files == 1);
    assert_eq!(server.files(), 1);
    assert!(!server.ask("GET", "/bucket?uploads").contains("<UploadId>"), "an upload was left");
    // The target's own threads do the work, so a thread of another runtime may wait for them.
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { assert_eq!(store.read(&through, 0, 9).expect("read"), pattern(1, 9)) });

    server.stop();
    let (code, message) = failure(store.read(&through, 0, 10));
    assert_eq!(code, "OBJECT_LOST");
    assert!(message.contains("s3://bucket/a/prefix/engine-spill-"), "{message}");
    let value = place(&store, 5, 5000);
    assert_eq!(failure(store.spill(vec![value.clone()]).remove(0)).0, "STORE_FULL");
    assert!(slice(&value) == Some(&pattern(5, 5000)[..]));
}

#[test]
fn a_bucket_that_does_not_exist_is_named_at_the_start() {
    let Some(server) = Server::start() else { return };
    let (code, message) = failure(server.target("s3://of-nobody/x"));
    assert_eq!(code, "INVALID_ARGUMENT");
    assert!(message.contains("s3://of-nobody/x"), "{message}");
}
