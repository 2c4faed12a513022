//! What a component of the concurrent world exports: several calls may be inside at once.
use crate::bindings::engine::compute::objects;
use crate::bindings::engine::compute::types::{self as wit, Invocation};
use crate::concurrent_bindings::engine::compute::objects_async;
use crate::concurrent_bindings::exports::engine::compute::program_async::Guest;
use crate::context::serving;
use crate::executor::{self, Waitable};
use crate::instance;
use crate::program::{begin, end, only, run_main, run_task};
use crate::registry::Outcome;
use crate::time::nanoseconds;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::Instant;

/// The component's side of the concurrent interface; `#[engine::main(concurrent)]` and
/// `engine::library!(concurrent)` export it.
#[derive(Debug)]
pub struct ConcurrentProgram;

impl Guest for ConcurrentProgram {
    async fn main(invocation: Invocation, arguments: Vec<String>) -> Result<wit::Value, wit::Failure> {
        serve(&invocation, async { run_main(arguments) }).await.map(only)
    }

    async fn run(
        invocation: Invocation,
        function: String,
        arguments: Vec<wit::Value>,
    ) -> Result<Vec<wit::Value>, wit::Failure> {
        serve(&invocation, async { run_task(function, arguments) }).await
    }

    async fn create(
        invocation: Invocation,
        class: String,
        arguments: Vec<wit::Value>,
    ) -> Result<(), wit::Failure> {
        serve(&invocation, async { instance::create(&class, arguments) }).await.map(|_| ())
    }

    async fn call(
        invocation: Invocation,
        method: String,
        arguments: Vec<wit::Value>,
    ) -> Result<Vec<wit::Value>, wit::Failure> {
        serve(&invocation, instance::call(&method, arguments)).await
    }
}

async fn serve(
    invocation: &Invocation,
    body: impl Future<Output = Outcome>,
) -> Result<Vec<wit::Value>, wit::Failure> {
    begin();
    executor::wait_in_host(|waitable| Box::pin(wait(waitable)));
    let mut body = pin!(body);
    // Calls take turns, and each turn has its own call.
    let outcome = poll_fn(|context| serving(invocation, || body.as_mut().poll(context))).await;
    end(outcome)
}

/// Waits while other calls of the instance go on. Errors are left to whoever reads the object.
async fn wait(waitable: Waitable) {
    match &waitable {
        Waitable::Object(object) => {
            let _ = objects_async::wait(vec![objects::Waitable::Object(object)], 1, None).await;
        }
        Waitable::NextOf(task) => {
            let _ = objects_async::wait(vec![objects::Waitable::NextOf(task)], 1, None).await;
        }
        Waitable::Until(instant) => {
            let duration = instant.saturating_duration_since(Instant::now());
            objects_async::sleep(nanoseconds(duration)).await;
        }
    }
}
