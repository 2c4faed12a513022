//! Softmax regression: the parameters, their gradient, a step.
use crate::iris::{FEATURES, Flower, SPECIES};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// The features, and 1 for the bias.
const INPUTS: usize = FEATURES + 1;
const OUTPUTS: usize = SPECIES.len();
type Weights = [[f64; INPUTS]; OUTPUTS];

/// A weight for each input of each species.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Parameters {
    weights: Weights,
}

/// Sums over some rows.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Gradient {
    weights: Weights,
    pub loss: f64,
    pub rows: u64,
}

impl Parameters {
    /// The gradient of the loss over these flowers, and the loss itself.
    pub fn gradient(&self, flowers: &[Flower]) -> Gradient {
        let mut gradient = Gradient { rows: flowers.len() as u64, ..Gradient::default() };
        for flower in flowers {
            let inputs = inputs(flower);
            let chances = self.chances(&inputs);
            gradient.loss -= chances[flower.species].ln();
            for (species, weights) in gradient.weights.iter_mut().enumerate() {
                let surprise = chances[species] - f64::from(u8::from(species == flower.species));
                for (weight, input) in weights.iter_mut().zip(inputs) {
                    *weight += surprise * input;
                }
            }
        }
        gradient
    }

    /// Goes against the mean of the gradient.
    pub fn step(&mut self, gradient: &Gradient, rate: f64) {
        let rate = rate / gradient.rows as f64;
        for (own, other) in self.weights.iter_mut().flatten().zip(gradient.weights.iter().flatten()) {
            *own -= rate * other;
        }
    }

    /// The species that is the most likely.
    pub fn predict(&self, flower: &Flower) -> usize {
        let chances = self.chances(&inputs(flower));
        let most = chances.iter().enumerate().max_by(|(_, a), (_, b)| a.total_cmp(b));
        most.map_or(0, |(species, _)| species)
    }

    /// How likely each species is.
    fn chances(&self, inputs: &[f64; INPUTS]) -> [f64; OUTPUTS] {
        let scores = self.weights.map(|weights| weights.iter().zip(inputs).map(|(w, x)| w * x).sum::<f64>());
        // Subtracting the highest keeps the exponentials small.
        let highest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let powers = scores.map(|score| (score - highest).exp());
        let sum: f64 = powers.iter().sum();
        powers.map(|power| power / sum)
    }
}

impl AddAssign<&Gradient> for Gradient {
    fn add_assign(&mut self, other: &Gradient) {
        for (own, other) in self.weights.iter_mut().flatten().zip(other.weights.iter().flatten()) {
            *own += other;
        }
        self.loss += other.loss;
        self.rows += other.rows;
    }
}

fn inputs(flower: &Flower) -> [f64; INPUTS] {
    let mut inputs = [1.0; INPUTS];
    inputs[..FEATURES].copy_from_slice(&flower.features);
    inputs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::iris;

    #[test]
    fn descent_finds_parameters_that_name_unseen_flowers() {
        let (training, test) = iris::split(iris::flowers().unwrap());
        let mut parameters = Parameters::default();
        let first = parameters.gradient(&training).loss;
        for _ in 0..200 {
            let gradient = parameters.gradient(&training);
            parameters.step(&gradient, 0.5);
        }
        let last = parameters.gradient(&training).loss;
        assert!(last < first / 5.0, "{first} to {last}");
        let right = test.iter().filter(|flower| parameters.predict(flower) == flower.species).count();
        assert!(right >= 28, "{right} of {}", test.len());
    }

    #[test]
    fn the_gradient_is_that_of_the_loss() {
        let flowers = iris::flowers().unwrap();
        let mut parameters = Parameters::default();
        parameters.weights[1][2] = 0.3;
        let gradient = parameters.gradient(&flowers);
        const STEP: f64 = 1e-6;
        for (species, input) in [(0, 0), (1, 2), (2, 4)] {
            let mut moved = parameters.clone();
            moved.weights[species][input] += STEP;
            let slope = (moved.gradient(&flowers).loss - gradient.loss) / STEP;
            assert!((slope - gradient.weights[species][input]).abs() < 1e-2, "{species} {input}");
        }
    }
}
