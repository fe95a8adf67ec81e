//! The texts of prompts and answers, for checks of their content.
//!
//! | file | contents |
//! |---|---|
//! | `texts` | the texts of a payload, and the payload with other texts |
//! | `event_splitter` | a stream's bytes to whole events |
//! | `stream_ending` | the end of a stream that a content filter has cut off |

mod event_splitter;
mod stream_ending;
mod texts;

pub use event_splitter::{EventSplitter, event_data};
pub use stream_ending::StreamEnding;
pub use texts::{Payload, Text, Texts};
