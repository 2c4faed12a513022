//! What `wit/compute.wit` says, as Rust: generated, and wrapped by every other module of the crate.
#![allow(unsafe_code, missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

wit_bindgen::generate!({
    path: "../../wit",
    world: "component",
    pub_export_macro: true,
    default_bindings_module: "::engine::__private::bindings",
    runtime_path: "::wit_bindgen::rt",
});
