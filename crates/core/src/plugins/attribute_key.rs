//! How configurations name attributes of endpoints.

/// Checks the name of an attribute. One with a `/` needs a producer, even an empty one: without it,
/// the name may be `attribute/producer`, an older form that matches no attribute.
pub(super) fn check(attribute: &str, producer: Option<&str>) -> Result<(), &'static str> {
    if producer.is_none() && attribute.contains('/') {
        Err("an attribute with `/` in its name needs producer, which may be empty")
    } else {
        Ok(())
    }
}
