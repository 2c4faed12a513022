//! What a job grants to its guests.

use std::collections::BTreeMap;
use std::path::PathBuf;

use engine_core::tenant::Isolation;
use engine_core::{ComponentId, JobId, NodeId, TenantName};

/// The job of an instance: fixed for the instance's life.
#[derive(Debug, Clone)]
pub struct JobContext {
    /// The job.
    pub job: JobId,
    /// The node that this is.
    pub node: NodeId,
    /// The tenant that the job belongs to.
    pub tenant: TenantName,
    /// Where its actors' names are found.
    pub namespace: String,
    /// The components that it brought, by name; the main one under its own name too.
    pub components: BTreeMap<String, JobComponent>,
    /// Environment of every guest.
    pub env: Vec<(String, String)>,
    /// Directories that every guest may open.
    pub directories: Vec<DirectoryGrant>,
    /// Where its guests run.
    pub isolation: Isolation,
}

/// A component that a job brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JobComponent {
    /// Which it is.
    pub id: ComponentId,
    /// Whether it is loaded only when something of it is to start.
    pub on_demand: bool,
}

/// A directory that a job's guests may open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryGrant {
    /// On the host.
    pub host: PathBuf,
    /// As the guest sees it.
    pub guest: String,
    /// Whether guests may only read.
    pub read_only: bool,
}
