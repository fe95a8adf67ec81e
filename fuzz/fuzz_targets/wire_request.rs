//! Bodies of requests: any bytes, read as any API. What can be read can be read again with another
//! model, and says the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use slotwise::Prompt;
use slotwise_wire::request::{
    Api, ModelSplice, PriorityOrder, RequestReader, RequestView, rewrite_model,
};

fuzz_target!(|bytes: &[u8]| {
    let mut readers = [RequestReader::with_limit(1 << 20), RequestReader::with_limit(1 << 20)];
    let [first, second] = &mut readers;
    for api in Api::ALL {
        let view = match first.read(api, bytes) {
            Ok(view) => view,
            Err(error) => {
                assert!(error.offset <= bytes.len());
                continue;
            }
        };
        if let Prompt::Text(text) = view.prompt {
            assert!(text.len() <= 8 * bytes.len());
        }
        let request = view.to_request(PriorityOrder::LowFirst);
        assert_eq!(request.model, view.model.as_deref().unwrap_or_default());
        let splice = ModelSplice::find(bytes, "a \"\\\n\u{1}é model");
        let Some(range) = view.model_range.clone() else {
            assert!(splice.is_err());
            continue;
        };
        let splice = splice.expect("it has a model");
        assert_eq!(
            (&splice.range, bytes.get(range.start), bytes.get(range.end - 1)),
            (&range, Some(&b'"'), Some(&b'"'))
        );
        let rewritten = rewrite_model(bytes, "a \"\\\n\u{1}é model").expect("it has a model");
        let other = second.read(api, &rewritten).expect("valid as before");
        assert_eq!(other.model.as_deref(), Some("a \"\\\n\u{1}é model"));
        assert_eq!(all_but_the_model(&other), all_but_the_model(&view));
    }
});

fn all_but_the_model(view: &RequestView<'_>) -> impl PartialEq + std::fmt::Debug {
    let mut view = view.clone();
    (view.model, view.model_range) = (None, None);
    // It borrows, so what it prints is all there is to compare; a prompt is printed whole.
    format!("{view:?}")
}
