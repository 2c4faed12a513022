//! Logistic regression by gradient descent: an actor holds the parameters, others compute gradients.
//!
//! `engine submit parameter_server.wasm -- [ROUNDS] [WORKERS]`
//!
//! The data is `data/iris.csv` (see `data/README.md`). In each round every worker gets the parameters
//! as a reference and computes the gradient on its own rows; the server adds the gradients up and takes
//! a step. Sums are taken in a fixed order, so the result is the same every time.

mod iris;
mod model;

use engine::prelude::*;
use iris::Flower;
use model::{Gradient, Parameters};
use serde_json::json;

/// Holds the parameters.
struct Server {
    parameters: Parameters,
    rate: f64,
}

#[engine::actor]
impl Server {
    pub fn new(rate: f64) -> Self {
        Server { parameters: Parameters::default(), rate }
    }

    pub fn parameters(&self) -> Parameters {
        self.parameters.clone()
    }

    /// Takes a step against the mean of the gradients; gives the mean loss before it.
    pub fn step(&mut self, gradients: Vec<ObjectRef<Gradient>>) -> Result<f64> {
        let mut sum = Gradient::default();
        for gradient in engine::get_all(&gradients)? {
            sum += &gradient;
        }
        engine::ensure!(sum.rows > 0, "no worker has a row");
        self.parameters.step(&sum, self.rate);
        Ok(sum.loss / sum.rows as f64)
    }
}

/// Has some of the rows.
struct Worker {
    flowers: Vec<Flower>,
}

#[engine::actor]
impl Worker {
    pub fn new(flowers: Vec<Flower>) -> Self {
        Worker { flowers }
    }

    pub fn gradient(&self, parameters: Parameters) -> Gradient {
        parameters.gradient(&self.flowers)
    }
}

#[engine::main]
fn main(args: Vec<String>) -> Result<()> {
    let rounds: u32 = args.first().map_or(Ok(200), |text| text.parse()).context("ROUNDS")?;
    let count: usize = args.get(1).map_or(Ok(4), |text| text.parse()).context("WORKERS")?;
    engine::ensure!((1..=64).contains(&count), "WORKERS must be 1 to 64");

    let (training, test) = iris::split(iris::flowers()?);
    let server = Server::spawn(0.5)?;
    let workers = (0..count).map(|worker| {
        let own: Vec<Flower> = training.iter().skip(worker).step_by(count).cloned().collect();
        Worker::spawn(own)
    });
    let workers = workers.collect::<Result<Vec<_>>>()?;

    let mut loss = 0.0;
    for round in 0..rounds {
        let parameters = server.parameters()?;
        let gradients = workers.iter().map(|worker| worker.gradient(&parameters));
        loss = server.step(gradients.collect::<Result<Vec<_>>>()?)?.get()?;
        if round % 20 == 0 {
            println!("round {round:>4}: loss {loss:.4}");
        }
    }

    let parameters = server.parameters()?.get()?;
    let right = test.iter().filter(|flower| parameters.predict(flower) == flower.species).count();
    let accuracy = right as f64 / test.len() as f64;
    println!("{right} of {} flowers that were never seen are named rightly", test.len());
    println!(
        "{}",
        json!({ "rounds": rounds, "workers": count, "loss": loss, "accuracy": accuracy, "test_rows": test.len() })
    );
    Ok(())
}
