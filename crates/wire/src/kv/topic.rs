//! The topic of a KV event message.

/// The topic of a KV event message: `kv@POD@MODEL` by the reference's convention.
///
/// ```
/// use slotwise_wire::kv::Topic;
///
/// let topic = Topic::parse("kv@10.0.0.7@llama");
/// assert_eq!(topic, Topic { pod: "10.0.0.7", model: "llama" });
/// ```
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
#[expect(clippy::exhaustive_structs, reason = "the two parts of the convention")]
pub struct Topic<'a> {
    /// The pod; the whole topic if it follows another convention.
    pub pod: &'a str,
    /// The model; empty if the topic follows another convention.
    pub model: &'a str,
}

impl<'a> Topic<'a> {
    /// Splits a topic. As in the reference, one that has not exactly two `@` is a pod, and the
    /// first part does not matter.
    pub fn parse(topic: &'a str) -> Self {
        let mut parts = topic.split('@');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(_), Some(pod), Some(model), None) => Self { pod, model },
            _ => Self { pod: topic, model: "" },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_conventions_are_pods() {
        let split = |topic| {
            let Topic { pod, model } = Topic::parse(topic);
            (pod, model)
        };
        assert_eq!(split("kv@default/pod-1@org/model:v1"), ("default/pod-1", "org/model:v1"));
        assert_eq!(split("events@pod@model"), ("pod", "model"));
        assert_eq!(split("kv@@"), ("", ""));
        for topic in ["", "kv", "kv@pod", "kv@pod@model@rank", "pod"] {
            assert_eq!(split(topic), (topic, ""));
        }
    }
}
