//! Tasks that look around.
use engine::prelude::*;
use serde::{Deserialize, Serialize};

/// What a task sees of its surroundings.
#[derive(Debug, Serialize, Deserialize)]
pub struct Surroundings {
    pub job_id: String,
    pub node_id: String,
    pub tenant: String,
    pub namespace: String,
    pub task_id: String,
    pub attempt: u32,
    pub cpus: f64,
    pub nodes: u64,
    pub env: Vec<(String, String)>,
}

#[engine::task]
pub fn look_around() -> Result<Surroundings> {
    let context = engine::context();
    let mut env: Vec<_> = std::env::vars().collect();
    env.sort();
    Ok(Surroundings {
        job_id: context.job_id(),
        node_id: context.node_id(),
        tenant: context.tenant(),
        namespace: context.namespace(),
        task_id: context.task_id(),
        attempt: context.attempt(),
        cpus: context.resources().cpus,
        nodes: context.nodes()?.len() as u64,
        env,
    })
}

/// One record of each level, and a line on each of the two outputs.
#[engine::task]
pub fn log_each_level() {
    engine::log::trace!("a trace");
    engine::log::debug!("a debug record");
    engine::log::info!("an info record");
    engine::log::warn!("a warning");
    engine::log::error!("an error");
    println!("a line of output");
    eprintln!("a line of error output");
    print!("a line that nothing ends");
}
