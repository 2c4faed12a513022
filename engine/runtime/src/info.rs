//! What is known of a component once it is loaded.

use engine_core::ComponentId;

/// How a component is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ComponentWorld {
    /// An SDK's: it exports `engine:compute/program`.
    Program,
    /// An SDK's that interleaves calls: it exports `engine:compute/program-async`.
    Concurrent,
    /// Any other: its exports are called as they are.
    Plain,
}

/// A function that a plain component exports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FunctionInfo {
    /// The interface that it is in; none: exported by itself.
    pub interface: Option<String>,
    /// Its name.
    pub name: String,
    /// Its type in WIT: `func(a: u32, b: u32) -> u32`.
    pub signature: String,
}

impl FunctionInfo {
    /// The name as it is called: `add`, or `docs:calc/ops@0.1.0#add`.
    pub fn full_name(&self) -> String {
        match &self.interface {
            Some(interface) => format!("{interface}#{}", self.name),
            None => self.name.clone(),
        }
    }
}

/// A component that can be started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ComponentInfo {
    /// The SHA-256 of its bytes.
    pub id: ComponentId,
    /// How it is called.
    pub world: ComponentWorld,
    /// Names of the interfaces and functions that it imports.
    pub imports: Vec<String>,
    /// Names of the interfaces and functions that it exports.
    pub exports: Vec<String>,
    /// Of a plain one: what can be called.
    pub functions: Vec<FunctionInfo>,
    /// Bytes of memory that it begins with.
    pub initial_memory_bytes: u64,
}
