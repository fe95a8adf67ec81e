//! The wanted containers of an answer, and the slots of their values.

/// A container.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Place {
    /// An unwanted container.
    Ignored,
    /// The top level of a payload.
    Root,
    /// Several payloads: SGLang's answer to several prompts.
    Batch,
    Choices,
    Choice,
    /// `delta` or `message` of a choice.
    Delta,
    /// An array that is content if it is not empty.
    Filled,
    /// An object that is content.
    Call,
    TokenIds,
    Usage,
    /// The usage at the start of a stream, before the answer is counted.
    StartUsage,
    CachedDetails,
    /// SGLang's `meta_info`.
    MetaInfo,
    /// SGLang's finish reason with details.
    Finish,
    Error,
    /// Anthropic's `delta`.
    EventDelta,
    /// Anthropic's `message`.
    StartMessage,
    /// The `response` of OpenAI's responses.
    Response,
    Incomplete,
    /// llama.cpp's `timings`.
    Timings,
}

/// The meaning of a value. A value of an unexpected type is ignored.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Slot {
    Ignored,
    Root,
    /// One of several payloads.
    Answer,
    Choices,
    Choice,
    ChoiceIndex,
    Delta,
    /// A string or an array that is content if it is not empty.
    Content,
    Call,
    TokenIds,
    FinishReason,
    /// The HTTP status of an aborted request.
    FinishStatus,
    Usage,
    StartUsage,
    PromptTokens,
    InputTokens,
    CompletionTokens,
    CachedTokens,
    CacheRead,
    CacheCreated,
    CachedDetails,
    MetaInfo,
    Error,
    ErrorCode,
    ErrorType,
    EventDelta,
    /// The text of an error.
    Message,
    /// Whether llama.cpp's own answer ends here.
    Stop,
    Timings,
    /// The `type` of an event, a body or an error.
    Type,
    /// The `object` of a payload.
    Object,
    /// The `code` of a payload that is an error.
    Code,
    Status,
    StartMessage,
    Response,
    Incomplete,
    Model,
    /// The id of an answer, in the object that describes it.
    Id,
    /// The id of a payload, which may be an answer.
    RootId,
}

/// How a string is used.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum TextUse {
    Skip,
    Key,
    Word,
    Content,
    Message,
    Model,
}

impl Place {
    pub(super) const fn is_object(self) -> bool {
        !matches!(self, Self::Batch | Self::Choices | Self::Filled | Self::TokenIds)
    }

    /// The slot of an array's items.
    pub(super) const fn item(self) -> Slot {
        match self {
            Self::Batch => Slot::Answer,
            Self::Choices => Slot::Choice,
            _ => Slot::Ignored,
        }
    }
}

impl Slot {
    pub(super) const fn object(self) -> Place {
        match self {
            Self::Root | Self::Answer => Place::Root,
            Self::Choice => Place::Choice,
            Self::Delta => Place::Delta,
            Self::Call => Place::Call,
            Self::FinishReason => Place::Finish,
            Self::Usage => Place::Usage,
            Self::StartUsage => Place::StartUsage,
            Self::CachedDetails => Place::CachedDetails,
            Self::MetaInfo => Place::MetaInfo,
            Self::Error => Place::Error,
            Self::EventDelta => Place::EventDelta,
            Self::StartMessage => Place::StartMessage,
            Self::Response => Place::Response,
            Self::Incomplete => Place::Incomplete,
            Self::Timings => Place::Timings,
            _ => Place::Ignored,
        }
    }

    pub(super) const fn array(self) -> Place {
        match self {
            Self::Root => Place::Batch,
            Self::Choices => Place::Choices,
            Self::Content => Place::Filled,
            Self::TokenIds => Place::TokenIds,
            _ => Place::Ignored,
        }
    }

    pub(super) const fn text(self) -> TextUse {
        match self {
            Self::Content | Self::EventDelta => TextUse::Content,
            Self::Error | Self::Message | Self::StartMessage | Self::Id | Self::RootId => {
                TextUse::Message
            }
            Self::FinishReason
            | Self::ErrorCode
            | Self::ErrorType
            | Self::Type
            | Self::Object
            | Self::Code
            | Self::Status => TextUse::Word,
            Self::Model => TextUse::Model,
            _ => TextUse::Skip,
        }
    }

    /// Whether numbers and literals are wanted.
    pub(super) const fn scalar(self) -> bool {
        matches!(
            self,
            Self::ChoiceIndex
                | Self::Stop
                | Self::FinishStatus
                | Self::PromptTokens
                | Self::InputTokens
                | Self::CompletionTokens
                | Self::CachedTokens
                | Self::CacheRead
                | Self::CacheCreated
                | Self::ErrorCode
                | Self::Code
        )
    }
}
