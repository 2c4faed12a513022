//! An actor that counts who is inside.
use engine::prelude::*;
use std::cell::Cell;
use std::time::Duration;

#[derive(Default)]
pub struct Room {
    inside: Cell<u32>,
    most_inside: Cell<u32>,
    key: Cell<Option<u64>>,
    count: u64,
}

#[engine::actor]
impl Room {
    pub fn new() -> Self {
        Room::default()
    }

    /// Stays so long, and gives how many were inside on entering.
    pub async fn stay(&self, milliseconds: u64) -> u32 {
        let inside = self.inside.get() + 1;
        self.inside.set(inside);
        self.most_inside.set(self.most_inside.get().max(inside));
        engine::sleep(Duration::from_millis(milliseconds)).await;
        self.inside.set(self.inside.get() - 1);
        inside
    }

    pub fn most_inside(&self) -> u32 {
        self.most_inside.get()
    }

    /// Waits until the key is handed over in another call.
    pub async fn wait_for_key(&self) -> u64 {
        loop {
            if let Some(key) = self.key.get() {
                return key;
            }
            engine::sleep(Duration::from_millis(1)).await;
        }
    }

    #[engine::method(concurrency_group = "io")]
    pub async fn wait_in_group(&self) -> u64 {
        self.wait_for_key().await
    }

    pub fn hand_over(&self, key: u64) -> u64 {
        self.key.set(Some(key));
        key
    }

    /// Awaits references, one after another.
    pub async fn add_up(&self, references: Vec<ObjectRef<u64>>) -> Result<u64> {
        let mut sum = 0;
        for reference in references {
            sum += reference.await?;
        }
        Ok(sum)
    }

    /// Reads, waits, writes: nobody comes in between.
    pub async fn count_slowly(&mut self, milliseconds: u64) -> u64 {
        let count = self.count;
        engine::sleep(Duration::from_millis(milliseconds)).await;
        self.count = count + 1;
        self.count
    }

    pub fn panics(&self) {
        panic!("a panic on purpose");
    }
}
