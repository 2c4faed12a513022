//! The data: 150 flowers of three species.
use engine::prelude::*;
use serde::{Deserialize, Serialize};

/// Measurements of a flower.
pub const FEATURES: usize = 4;
/// Setosa, versicolor, virginica.
pub const SPECIES: [&str; 3] = ["setosa", "versicolor", "virginica"];

const DATA: &str = include_str!("../data/iris.csv");

/// One flower.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flower {
    /// Length and width of sepal and petal, each as so many standard deviations from the mean.
    pub features: [f64; FEATURES],
    /// The index of its species.
    pub species: usize,
}

/// All flowers, their features brought to mean 0 and standard deviation 1.
///
/// # Errors
/// The line that cannot be read.
pub fn flowers() -> Result<Vec<Flower>> {
    let lines = DATA.lines().skip(1).filter(|line| !line.is_empty());
    let mut flowers = lines.map(read).collect::<Result<Vec<_>>>()?;
    for feature in 0..FEATURES {
        let count = flowers.len() as f64;
        let mean = flowers.iter().map(|flower| flower.features[feature]).sum::<f64>() / count;
        let variance =
            flowers.iter().map(|flower| (flower.features[feature] - mean).powi(2)).sum::<f64>() / count;
        for flower in &mut flowers {
            flower.features[feature] = (flower.features[feature] - mean) / variance.sqrt();
        }
    }
    Ok(flowers)
}

fn read(line: &str) -> Result<Flower> {
    let wrong = || format!("not a flower: {line}");
    let mut cells = line.split(',');
    let mut features = [0.0; FEATURES];
    for feature in &mut features {
        *feature = cells.next().context(wrong())?.parse().context(wrong())?;
    }
    let species = cells.next().context(wrong())?;
    let species = SPECIES.iter().position(|known| *known == species).context(wrong())?;
    Ok(Flower { features, species })
}

/// Four of five for training, every fifth for the test.
pub fn split(flowers: Vec<Flower>) -> (Vec<Flower>, Vec<Flower>) {
    let (mut training, mut test) = (Vec::new(), Vec::new());
    for (index, flower) in flowers.into_iter().enumerate() {
        if index % 5 == 4 { &mut test } else { &mut training }.push(flower);
    }
    (training, test)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_fifty_of_each_species_and_features_are_standardised() {
        let flowers = flowers().unwrap();
        for species in 0..SPECIES.len() {
            assert_eq!(flowers.iter().filter(|flower| flower.species == species).count(), 50);
        }
        for feature in 0..FEATURES {
            let squares: f64 = flowers.iter().map(|flower| flower.features[feature].powi(2)).sum();
            assert!((squares / 150.0 - 1.0).abs() < 1e-9);
        }
        let (training, test) = split(flowers);
        assert_eq!((training.len(), test.len()), (120, 30));
    }
}
