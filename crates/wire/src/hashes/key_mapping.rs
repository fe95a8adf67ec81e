//! How the reference maps the blocks of an engine to blocks of another size.

use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Maps the keys of an engine's blocks to the request keys of the same tokens.
///
/// The ratio of the lengths decides: equal lengths map one to one, more engine keys map several to
/// one, and fewer map one to several, in order. A ratio that is not whole spreads them evenly. The
/// last request key of an engine key is the parent of the blocks after it. Computes in **O(n log
/// n)** of the keys; without keys on one side, nothing is mapped.
///
/// ```
/// use slotwise_wire::hashes::map_engine_keys;
///
/// let several_to_one = map_engine_keys(&[1, 2, 3, 4], &[100, 200]);
/// assert_eq!(several_to_one[&2], [100]);
/// let one_to_several = map_engine_keys(&[1, 2], &[100, 200, 300, 400]);
/// assert_eq!(one_to_several[&2], [300, 400]);
/// ```
pub fn map_engine_keys(engine: &[u64], request: &[u64]) -> BTreeMap<u64, Vec<u64>> {
    let mut mapping: BTreeMap<u64, Vec<u64>> = BTreeMap::new();
    let longer = engine.len().max(request.len());
    if engine.is_empty() || request.is_empty() {
        return mapping;
    }
    for at in 0..longer {
        let engine = engine[at * engine.len() / longer];
        mapping.entry(engine).or_default().push(request[at * request.len() / longer]);
    }
    mapping
}

/// Aligns the extra keys of an engine's blocks with `blocks` blocks of another size.
///
/// A block of the engine that spans several blocks gives its keys to each. Several blocks of the
/// engine in one block give their keys in order. Computes in **O(blocks + keys)**.
///
/// ```
/// use slotwise_wire::hashes::align_extra_keys;
///
/// let engine = vec![vec!["image"], vec![]];
/// assert_eq!(align_extra_keys(&engine, 4), [vec!["image"], vec!["image"], vec![], vec![]]);
/// assert_eq!(align_extra_keys(&engine, 1), [vec!["image"]]);
/// ```
pub fn align_extra_keys<T: Clone>(engine: &[Vec<T>], blocks: usize) -> Vec<Vec<T>> {
    if engine.is_empty() || engine.len() == blocks {
        return engine.to_vec();
    }
    if engine.len() < blocks {
        return (0..blocks).map(|at| engine[at * engine.len() / blocks].clone()).collect();
    }
    let mut aligned = alloc::vec![Vec::new(); blocks];
    for (at, keys) in engine.iter().enumerate() {
        if let Some(block) = aligned.get_mut(at * blocks / engine.len()) {
            block.extend_from_slice(keys);
        }
    }
    aligned
}
