//! Generates the messages and services from `proto/`, without protoc.

use std::path::Path;

const FILES: [&str; 17] = [
    "audit",
    "clients",
    "cluster",
    "common",
    "enrollment",
    "events",
    "handshake",
    "components",
    "jobs",
    "meta",
    "nodes",
    "state",
    "tokens",
    "peer",
    "secrets",
    "tenants",
    "worker",
];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let root = Path::new(&std::env::var("CARGO_MANIFEST_DIR")?).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let files = FILES.map(|name| root.join("engine/v1").join(name).with_extension("proto"));
    let descriptors = protox::compile(&files, [&root])?;
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("methods.rs"), methods(&descriptors))?;
    tonic_prost_build::configure()
        .bytes(".engine.v1.UploadRequest.chunk")
        .bytes(".engine.v1.ComponentChunk.chunk")
        .bytes(".engine.v1.Parcel.inline")
        .bytes(".engine.v1.Piece.bytes")
        .bytes(".engine.v1.ClientValue.inline")
        .bytes(".engine.v1.WorkerValue.inline")
        .bytes(".engine.v1.FromWorker.need")
        .bytes(".engine.v1.ToWorker.Start.component")
        .bytes(".engine.v1.Function.component")
        .bytes(".engine.v1.RemoteCall.component")
        .boxed(".engine.v1.PeerMessage.message.run")
        .boxed(".engine.v1.PeerMessage.message.call")
        .boxed(".engine.v1.PeerMessage.message.missing")
        .boxed(".engine.v1.PeerMessage.message.incarnation_ended")
        .boxed(".engine.v1.PeerMessage.Ended.result.failure")
        .boxed(".engine.v1.PeerMessage.Outcome.result.failure")
        .boxed(".engine.v1.MetaRecord.record.job")
        .enum_attribute(".engine.v1.ToWorker.message", "#[allow(clippy::large_enum_variant)]")
        .enum_attribute(".engine.v1.FromWorker.message", "#[allow(clippy::large_enum_variant)]")
        .enum_attribute(".engine.v1.View.view", "#[allow(clippy::large_enum_variant)]")
        .enum_attribute(".engine.v1.JobEvent.event", "#[allow(clippy::large_enum_variant)]")
        .compile_fds(descriptors)?;
    Ok(())
}

/// All methods, as a table in Rust.
fn methods(descriptors: &prost_types::FileDescriptorSet) -> String {
    let services = descriptors
        .file
        .iter()
        .flat_map(|file| file.service.iter().map(move |service| (file.package(), service)));
    let methods = services.flat_map(|(package, service)| {
        service.method.iter().map(move |method| {
            let (service, name, is_streamed) = (service.name(), method.name(), method.server_streaming());
            let path = format!("/{package}.{service}/{name}");
            format!(
                "Method {{ name: \"{service}.{name}\", path: \"{path}\", is_streamed: {is_streamed} }},\n"
            )
        })
    });
    format!("&[\n{}]", methods.collect::<String>())
}
