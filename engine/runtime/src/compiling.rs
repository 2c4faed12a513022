//! Compiling so that one component does not keep others waiting.
//!
//! wasmtime compiles the functions of a component side by side on the threads of a pool, and a pool serves
//! first what its threads have at hand: in one pool for all, a small component that somebody brings waits until
//! a large one is done. Each therefore has threads of its own, between which the operating system divides the
//! processors evenly.

use std::collections::HashMap;
use std::sync::Arc;

use engine_core::ComponentId;
use parking_lot::{Condvar, Mutex};
use rayon::ThreadPoolBuilder;
use wasmtime::Engine;
use wasmtime::component::Component;

/// Components that are being compiled.
#[derive(Default)]
pub(crate) struct Compiling(Mutex<HashMap<ComponentId, Arc<Mutex<()>>>>);

impl Compiling {
    /// Does what makes a component, unless another thread is about to: then that is waited for first.
    pub(crate) fn one_at_a_time<T>(&self, id: ComponentId, make: impl FnOnce() -> T) -> T {
        let one = self.0.lock().entry(id).or_default().clone();
        let made = {
            let _one = one.lock();
            make()
        };
        let mut all = self.0.lock();
        // The table's and this one: nobody else waits.
        if Arc::strong_count(&one) <= 2 {
            all.remove(&id);
        }
        made
    }
}

/// Components that are compiled at once; further ones wait. Each takes memory, and as many threads as there are
/// processors.
const COMPILATIONS_MAX: usize = 16;

/// Compiles so many components at once at most.
pub(crate) struct Compiler {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A place among those that compile, until it is dropped.
struct Place<'a>(&'a Compiler);

impl Default for Compiler {
    fn default() -> Self {
        Self::of(COMPILATIONS_MAX)
    }
}

impl Compiler {
    fn of(compilations_max: usize) -> Self {
        Self { free: Mutex::new(compilations_max), freed: Condvar::new() }
    }

    /// Compiles a component on threads of its own.
    pub(crate) fn compile(&self, engine: &Engine, bytes: &[u8]) -> wasmtime::Result<Component> {
        let _place = self.place();
        let pool = ThreadPoolBuilder::new().thread_name(|number| format!("compile-{number}")).build()?;
        pool.install(|| Component::new(engine, bytes))
    }

    fn place(&self) -> Place<'_> {
        let mut free = self.free.lock();
        self.freed.wait_while(&mut free, |free| *free == 0);
        *free -= 1;
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        *self.0.free.lock() += 1;
        self.0.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn what_others_are_about_to_make_is_waited_for_and_then_forgotten() {
        let compiling = Compiling::default();
        let (inside, made) = (AtomicUsize::new(0), AtomicUsize::new(0));
        let id = ComponentId([7; 32]);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    compiling.one_at_a_time(id, || {
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "one at a time");
                        // Another component does not wait for it.
                        compiling.one_at_a_time(ComponentId([8; 32]), || ());
                        std::thread::yield_now();
                        inside.fetch_sub(1, Ordering::SeqCst);
                        made.fetch_add(1, Ordering::SeqCst);
                    });
                });
            }
        });
        assert_eq!(made.into_inner(), 8);
        assert!(compiling.0.lock().is_empty());
    }

    #[test]
    fn so_many_are_compiled_at_once_at_most() {
        let compiler = Compiler::of(2);
        let (inside, done) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    let _place = compiler.place();
                    assert!(inside.fetch_add(1, Ordering::SeqCst) < 2);
                    std::thread::yield_now();
                    inside.fetch_sub(1, Ordering::SeqCst);
                    done.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        assert_eq!((done.into_inner(), *compiler.free.lock()), (8, 2));
    }

    #[test]
    fn each_component_is_compiled_on_threads_of_its_own() {
        let engine = Engine::default();
        let small = wat::parse_str("(component (core module (func (export \"f\"))))").expect("a component");
        // All threads of the pool for all are taken.
        let (sender, receiver) = std::sync::mpsc::channel::<()>();
        let receiver = Mutex::new(receiver);
        std::thread::scope(|scope| {
            let busy = scope.spawn(|| rayon::broadcast(|_| receiver.lock().recv().is_err()));
            Compiler::default().compile(&engine, &small).expect("it does not wait for them");
            drop(sender);
            busy.join().expect("they were let go");
        });
    }
}
