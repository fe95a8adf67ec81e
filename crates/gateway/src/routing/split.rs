//! A weighted choice, by chance or pinned.

use slotwise::Rng;

/// What the splits of one request draw from.
#[derive(Debug)]
pub(super) struct Draw<'a> {
    pub(super) seed: u64,
    /// Equal pins take the same side of each split.
    pub(super) pin: Option<&'a str>,
    pub(super) rng: &'a mut Rng,
}

impl Draw<'_> {
    /// One of the sides by weight; `None` if no side has any. Without a pin it uses one number of
    /// the generator.
    ///
    /// A pinned choice depends on the split, the model and the pin. When weights change, only as
    /// many pins change sides as the boundaries between sides move over.
    pub(super) fn choose(
        &mut self,
        split: &str,
        model: &str,
        weights: impl Iterator<Item = u32> + Clone,
    ) -> Option<usize> {
        let total: u64 = weights.clone().map(u64::from).sum();
        let number = match self.pin {
            Some(pin) => Rng::new(hash(self.seed, [split, model, pin])).next_u64(),
            None => self.rng.next_u64(),
        };
        side(weights, ((u128::from(number) * u128::from(total)) >> 64) as u64)
    }
}

/// The side that this point of the total weight falls on.
fn side(weights: impl Iterator<Item = u32>, mut point: u64) -> Option<usize> {
    for (at, weight) in weights.enumerate() {
        match point.checked_sub(u64::from(weight)) {
            Some(rest) => point = rest,
            None => return Some(at),
        }
    }
    None
}

/// FNV-1a over the parts and the ends between them. `Rng::new` mixes the result.
pub(crate) fn hash<const N: usize>(seed: u64, parts: [&str; N]) -> u64 {
    let bytes = parts.iter().flat_map(|part| part.bytes().map(u64::from).chain([256]));
    let start = seed ^ 0xcbf2_9ce4_8422_2325;
    bytes.fold(start, |hash, byte| (hash ^ byte).wrapping_mul(0x0000_0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(seed: u64, pin: Option<&str>, rng: &mut Rng, weights: &[u32]) -> Option<usize> {
        Draw { seed, pin, rng }.choose("split", "model", weights.iter().copied())
    }

    #[test]
    fn a_side_gets_its_share_within_binomial_error() {
        let mut rng = Rng::new(1);
        for pinned in [false, true] {
            let mut counts = [0u32; 3];
            for number in 0..100_000 {
                let pin = alloc::format!("session-{number}");
                let side = chosen(3, pinned.then_some(&*pin), &mut rng, &[90, 0, 10]);
                counts[side.expect("a side has weight")] += 1;
            }
            // Five standard deviations of a binomial with p = 0.9 are 474.
            assert!(counts[0].abs_diff(90_000) < 474, "{counts:?}");
            assert_eq!((counts[1], counts[0] + counts[2]), (0, 100_000));
        }
    }

    #[test]
    fn a_pin_keeps_its_side_and_uses_no_chance() {
        let mut rng = Rng::new(1);
        let before = rng.clone();
        let first = chosen(3, Some("a"), &mut rng, &[50, 50]);
        assert!((0..9).all(|_| chosen(3, Some("a"), &mut rng, &[50, 50]) == first));
        assert_eq!(rng, before);
    }

    #[test]
    fn changed_weights_move_only_the_difference() {
        let mut rng = Rng::new(1);
        let moved = (0..10_000).filter(|number| {
            let pin = alloc::format!("{number}");
            let mut side = |weights| chosen(3, Some(&pin), &mut rng, weights);
            let (before, after) = (side(&[90, 10]), side(&[80, 20]));
            assert!(before == after || (before, after) == (Some(0), Some(1)));
            before != after
        });
        assert!((850..1_150).contains(&moved.count()));
    }

    #[test]
    fn no_weight_is_no_side() {
        let mut rng = Rng::new(1);
        assert_eq!(chosen(3, None, &mut rng, &[]), None);
        assert_eq!(chosen(3, Some("a"), &mut rng, &[0, 0]), None);
        let most = chosen(3, None, &mut rng, &[u32::MAX; 4]);
        assert!(most.is_some());
    }
}
