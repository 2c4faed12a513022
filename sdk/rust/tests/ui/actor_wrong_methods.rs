struct Counter(u64);

#[engine::actor]
impl Counter {
    pub fn new(start: &u64) -> u64 {
        *start
    }

    pub fn into_inner(self) -> u64 {
        self.0
    }

    pub async fn stream(&self) -> impl Iterator<Item = u64> {
        0..self.0
    }

    pub fn spawn(&self) {}

    pub fn kill(&self) {}

    pub fn generic<T>(&self, _: Vec<T>) {}

    #[engine::method(num_returns = 2)]
    fn private(&self) -> (u8, u8) {
        (1, 2)
    }
}

fn main() {}
