struct Counter(u64);

#[engine::actor]
impl Counter {
    pub fn add(&mut self, n: u64) -> u64 {
        self.0 += n;
        self.0
    }
}

fn main() {}
