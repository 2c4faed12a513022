//! Between the messages and the types of the core.

pub mod client;
mod cluster;
mod component;
mod error;
mod event;
pub mod meta;
pub mod peer;
mod resources;
mod tenant;
mod time;
mod usage;
mod value;
pub mod worker;

pub use cluster::node_info;
pub use component::{component_id, digest, kept};
pub use event::{event_view, newest_first};
pub use tenant::{
    isolation, isolation_from, ledger_report, ledger_report_from, tenant, tenant_news, tenant_news_from,
    tenant_spec, tenant_spec_from, tenant_view,
};
pub use time::{duration, std_duration, system_time, timestamp};
pub use usage::{usage_amounts, usage_amounts_from};
