//! The attribute macros of the Rust guest SDK; use them through the `engine` crate, whose documents
//! show them at work.

mod actor;
mod expand;
mod main_function;
mod options;
mod signature;
mod task;

use proc_macro::TokenStream;

/// Makes a function a task: `square::spawn(3)` runs it in a sandbox somewhere and gives an
/// `ObjectRef`, `square(3)` still calls it.
///
/// The attribute takes the options of a task, which `square::options()` can change for a call:
///
/// | option | |
/// |---|---|
/// | `cpus = 0.5`, `gpus = 1`, `memory = 64 << 20`, `resources(disk = 2)` | what it needs |
/// | `max_retries = 5`, `retry_on("Flaky", "Busy")`, `retry_on(any)` | when it is run again |
/// | `num_returns = 2` | the parts of the tuple, array or `Vec` become objects of their own |
/// | `unread_objects_max = 8` | of a stream: how far it may be ahead of its reader |
/// | `deadline = Duration::from_secs(5)`, `cpu_time = …` | when it is stopped |
/// | `strategy = Strategy::Spread`, `labels(Label::exists("ssd"))`, `priority = 1` | where and when |
/// | `reuse = job`, `cache = true` | whether instances serve many tasks; whether results are kept |
/// | `name = "…"`, `env(KEY = "value")` | for people; the task's environment |
#[proc_macro_attribute]
pub fn task(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(attribute, item, task::expand)
}

/// Makes the methods of an `impl` block those of an actor: `Counter::spawn(…)` makes one in a sandbox
/// of its own and gives a `CounterHandle`.
///
/// The block has `pub fn new(…) -> Self` (or `-> Result<Self, E>`), which makes the actor, and public
/// methods with `&self` or `&mut self`, which can be called. The attribute takes the options of an
/// actor, which `Counter::options()` can change for one:
///
/// | option | |
/// |---|---|
/// | `cpus`, `gpus`, `memory`, `resources(…)`, `strategy`, `labels(…)`, `priority` | as of tasks, held for life |
/// | `name = "hits"`, `namespace = "web"`, `get_if_exists = true`, `lifetime = detached` | how it is found |
/// | `max_restarts = 3`, `max_task_retries = 3` | after the actor or its node died |
/// | `max_pending_calls = 100` | per handle |
/// | `max_concurrency = 8`, `concurrency_groups(io = 4)` | calls at once |
/// | `env(KEY = "value")` | the actor's environment |
#[proc_macro_attribute]
pub fn actor(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(attribute, item, actor::expand)
}

/// The options of one method of an actor: `num_returns = 2`, `unread_objects_max = 8`,
/// `max_task_retries = 3`, `retry_on("Flaky")`, `deadline = …`, `concurrency_group = "io"`.
#[proc_macro_attribute]
pub fn method(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(attribute, item, actor::stray_method)
}

/// Makes a function the job's main: it gets the arguments of the command line, and what it returns is
/// the job's result. It also exports the component, once per program.
///
/// `#[engine::main(concurrent)]` makes the component one of the concurrent world, in which the calls of
/// an actor with `async` methods and a `max_concurrency` above 1 take turns.
#[proc_macro_attribute]
pub fn main(attribute: TokenStream, item: TokenStream) -> TokenStream {
    expand::attribute(attribute, item, main_function::expand)
}
