//! Generates the messages and services from `proto/`, without protoc.

use std::path::Path;

const FILES: [&str; 5] = ["common", "handshake", "components", "jobs", "state"];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = FILES.map(|name| root.join("engine/v1").join(name).with_extension("proto"));
    let descriptors = protox::compile(&files, [&root])?;
    tonic_prost_build::configure()
        .bytes(".engine.v1.UploadRequest.chunk")
        .enum_attribute(".engine.v1.View.view", "#[allow(clippy::large_enum_variant)]")
        .enum_attribute(".engine.v1.JobEvent.event", "#[allow(clippy::large_enum_variant)]")
        .compile_fds(descriptors)?;
    Ok(())
}
