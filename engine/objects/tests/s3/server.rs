//! A real process that speaks S3: `moto_server`, which keeps everything in memory.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use engine_core::Error;
use engine_objects::{S3Options, S3Target};
use rustix::process::{Pid, Signal, kill_process};

/// The variable that names the program.
pub(crate) const VARIABLE: &str = "ENGINE_S3_SERVER";
/// Another port is taken so often when the server does not start on one.
const PORTS_MAX: usize = 5;

pub(crate) struct Server {
    process: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

impl Server {
    /// A server with the empty bucket `bucket`.
    pub(crate) fn start() -> Self {
        let started = (0..PORTS_MAX).find_map(|_| {
            let port =
                TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address").port();
            Self::at(format!("127.0.0.1:{port}"))
        });
        started.expect("the server ends as soon as it is started")
    }

    /// None when the server ended at once, as it does where the address is in use.
    fn at(address: String) -> Option<Self> {
        let program = std::env::var_os(VARIABLE).expect("a server");
        let (_, port) = address.split_once(':').expect("a port");
        let process = Command::new(&program)
            .args(["-H", "127.0.0.1", "-p", port])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{} cannot be run: {error}", program.display()));
        let mut server = Self { process, address };
        while TcpStream::connect(&server.address).is_err() {
            if server.process.try_wait().expect("asked").is_some() {
                return None;
            }
            pause();
        }
        assert!(server.ask("PUT", "/bucket", &[]).starts_with("HTTP/1.1 200"));
        Some(server)
    }

    /// The process is killed, and what it held is gone.
    pub(crate) fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// One that was killed starts again where it was.
    pub(crate) fn revive(&mut self) {
        *self = Self::at(self.address.clone()).expect("the server starts again");
    }

    /// The process takes connections and answers nothing, until it goes on.
    pub(crate) fn hang(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(self.process.id().cast_signed()).expect("a process");
        kill_process(pid, signal).expect("it runs");
    }

    /// Head and body of the answer, as far as they are text.
    pub(crate) fn ask(&self, method: &str, path: &str, body: &[u8]) -> String {
        String::from_utf8_lossy(&self.ask_raw(method, path, "", body)).into_owned()
    }

    fn ask_raw(&self, method: &str, path: &str, headers: &str, body: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(&self.address).expect("a connection");
        let (host, length) = (&self.address, body.len());
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\n{headers}Connection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("answered");
        answer
    }

    /// The keys in the bucket.
    pub(crate) fn keys(&self) -> Vec<String> {
        let list = self.ask("GET", "/bucket?list-type=2", &[]);
        let keys = list.split("<Key>").skip(1).filter_map(|rest| rest.split("</Key>").next());
        keys.map(str::to_owned).collect()
    }

    /// Uploads in the bucket that are neither completed nor given up.
    pub(crate) fn uploads(&self) -> usize {
        self.ask("GET", "/bucket?uploads", &[]).matches("<UploadId>").count()
    }

    /// Flips a bit of this byte of a file.
    pub(crate) fn flip(&self, key: &str, at: usize) {
        let (path, headers) = (format!("/bucket/{key}"), authorization("s3"));
        let answer = self.ask_raw("GET", &path, &headers, &[]);
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head") + 4;
        let mut body = answer[end..].to_vec();
        body[at] ^= 16;
        assert!(self.ask_raw("PUT", &path, &headers, &body).starts_with(b"HTTP/1.1 200"));
    }

    /// From now on only who has a key may do anything. Answers the key's name and its secret.
    pub(crate) fn lock(&self) -> (String, String) {
        let form_type = "Content-Type: application/x-www-form-urlencoded\r\n";
        let headers = format!("{form_type}{}", authorization("iam"));
        let ask = |form: &str| {
            let form = format!("{form}&Version=2010-05-08&UserName=us");
            let answer = self.ask_raw("POST", "/", &headers, form.as_bytes());
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            answer
        };
        ask("Action=CreateUser");
        ask(concat!(
            "Action=PutUserPolicy&PolicyName=all&PolicyDocument=",
            "%7B%22Version%22%3A%222012-10-17%22%2C%22Statement%22%3A%5B%7B%22Effect%22%3A%22Allow%22%2C",
            "%22Action%22%3A%22s3%3A%2A%22%2C%22Resource%22%3A%22%2A%22%7D%5D%7D"
        ));
        let answer = ask("Action=CreateAccessKey");
        let field = |name: &str| {
            let (_, rest) = answer.split_once(&format!("<{name}>")).expect("the field");
            rest.split('<').next().expect("its text").to_owned()
        };
        assert!(self.ask("POST", "/moto-api/reset-auth", b"0").starts_with("HTTP/1.1 200"));
        (field("AccessKeyId"), field("SecretAccessKey"))
    }

    pub(crate) fn target(&self, url: &str) -> Result<S3Target, Error> {
        self.target_with_keys(url, "key", "secret")
    }

    pub(crate) fn target_with_keys(&self, url: &str, key: &str, secret: &str) -> Result<S3Target, Error> {
        self.open(url, &[("AWS_ACCESS_KEY_ID", key), ("AWS_SECRET_ACCESS_KEY", secret)])
    }

    /// One that gives a request up soon, for a server that will not answer.
    pub(crate) fn impatient_target(&self, url: &str) -> Result<S3Target, Error> {
        let keys = [("AWS_ACCESS_KEY_ID", "key"), ("AWS_SECRET_ACCESS_KEY", "secret")];
        self.open(url, &[keys[0], keys[1], ("AWS_TIMEOUT", "3 seconds")])
    }

    fn open(&self, url: &str, settings: &[(&str, &str)]) -> Result<S3Target, Error> {
        let endpoint = format!("http://{}", self.address);
        let general = [("AWS_ENDPOINT", &*endpoint), ("AWS_REGION", "us-east-1"), ("AWS_ALLOW_HTTP", "true")];
        let all = general.iter().chain(settings);
        let settings = all.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        S3Target::new(url, &S3Options { settings, retry_time_max: Duration::from_millis(500) })
    }
}

/// As of somebody who has a key; the server looks at the signature only after [`Server::lock`].
fn authorization(service: &str) -> String {
    format!(
        "Authorization: AWS4-HMAC-SHA256 Credential=key/20200101/us-east-1/{service}/aws4_request, \
         SignedHeaders=host, Signature=none\r\n"
    )
}

/// Between two looks at what another process is about to do.
pub(crate) fn pause() {
    std::thread::sleep(Duration::from_millis(10));
}
