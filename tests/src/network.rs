//! A network whose packets can be dropped, each direction for itself.

use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::Invocation;

static NETWORKS: AtomicUsize = AtomicUsize::new(0);

/// Members that are network namespaces of their own, each at one end of a cable to a router. What is to be
/// dropped the router drops: nobody hears that it was.
#[derive(Debug)]
pub struct Network {
    name: String,
    members: usize,
}

impl Network {
    /// Connects so many members, counted from 0. None where this user may not: only root may.
    ///
    /// # Panics
    /// When root may not either: such a test is not to be left out unseen.
    pub fn new(members: usize) -> Option<Self> {
        if !rustix::process::geteuid().is_root() {
            eprintln!("not tested: only root may have networks of its own");
            return None;
        }
        let number = NETWORKS.fetch_add(1, Ordering::Relaxed);
        // So that what a failure leaves behind is undone.
        let network = Self { name: format!("engine-{}-{number}", std::process::id()), members };
        let router = network.router();
        ip(&["netns", "add", &router]);
        let forward = ["netns", "exec", &router, "sh", "-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"];
        ip(&forward);
        for member in 0..members {
            let (name, port) = (network.member(member), format!("port{member}"));
            let gateway = format!("10.99.{member}.1");
            ip(&["netns", "add", &name]);
            let cable = ["link", "add", "eth0", "netns", &name, "type", "veth"];
            ip(&[&cable[..], &["peer", "name", &port, "netns", &router]].concat());
            ip(&["-n", &name, "link", "set", "lo", "up"]);
            ip(&["-n", &name, "addr", "add", &format!("{}/24", network.address(member)), "dev", "eth0"]);
            ip(&["-n", &name, "link", "set", "eth0", "up"]);
            ip(&["-n", &router, "addr", "add", &format!("{gateway}/24"), "dev", &port]);
            ip(&["-n", &router, "link", "set", &port, "up"]);
            ip(&["-n", &name, "route", "add", "default", "via", &gateway]);
        }
        Some(network)
    }

    fn router(&self) -> String {
        format!("{}-router", self.name)
    }

    fn member(&self, member: usize) -> String {
        format!("{}-{member}", self.name)
    }

    /// Where a member is reached.
    pub fn address(&self, member: usize) -> String {
        format!("10.99.{member}.2")
    }

    /// The same command, as a member.
    pub fn inside(&self, member: usize, command: Invocation) -> Invocation {
        command.run_by("ip", &["netns", "exec", &self.member(member)])
    }

    /// From now on all packets that go from one member to another are dropped.
    pub fn cut(&self, from: usize, to: usize) {
        self.rule("add", from, to);
    }

    /// Ends that.
    pub fn heal(&self, from: usize, to: usize) {
        self.rule("del", from, to);
    }

    fn rule(&self, verb: &str, from: usize, to: usize) {
        let (from, to) = (self.address(from), self.address(to));
        ip(&["-n", &self.router(), "rule", verb, "from", &from, "to", &to, "blackhole"]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for name in (0..self.members).map(|member| self.member(member)).chain([self.router()]) {
            // It may be that it was not made.
            drop(Command::new("ip").args(["netns", "del", &name]).output());
        }
    }
}

#[track_caller]
fn ip(words: &[&str]) {
    let shown = words.join(" ");
    let output = Command::new("ip").args(words).output();
    let output = output.unwrap_or_else(|error| {
        panic!(
            "cannot run `ip {shown}`: {error}; `cargo xtask test` installs it (Debian: the package iproute2)"
        )
    });
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {shown}: {} {said}", output.status);
}
