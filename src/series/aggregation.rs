//! What the points of a period come to.

use super::summary::{Aggregate, Summary};
use crate::value::Aggregation;

impl Summary {
    /// What the points come to for a KPI of this aggregation; `None` for the sum or the mean where there is no
    /// sum, and for an aggregation that this version of the crate does not know.
    #[must_use]
    pub fn value(&self, aggregation: &Aggregation) -> Option<f64> {
        match aggregation {
            Aggregation::Last => self.get(Aggregate::Last),
            Aggregation::Sum => self.get(Aggregate::Sum),
            Aggregation::Mean => self.get(Aggregate::Avg),
            Aggregation::Unknown(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_comes_to_its_last_point_its_sum_or_its_mean() {
        let period = Summary::of(&[6.0, 1.0, 2.0]).unwrap();
        let value = |aggregation| period.value(&aggregation);
        assert_eq!(value(Aggregation::Last), Some(2.0));
        assert_eq!(value(Aggregation::Sum), Some(9.0));
        assert_eq!(value(Aggregation::Mean), Some(3.0));
        assert_eq!(value(Aggregation::Unknown("median".into())), None);
    }
}
