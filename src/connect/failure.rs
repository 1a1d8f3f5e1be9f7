//! Every way in which connecting can fail, with the text for the merchant: what happened, and what to do.
//!
//! Out: plain texts, which repeat nothing of the request. Deliberately absent: the status code of the page (`http/response.rs`).

/// Why a source was not connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConnectFailure {
    /// The `state` is missing, or this service did not make it.
    NotOurs,
    /// The step took longer than [`LIFETIME`](super::flow::LIFETIME).
    Expired,
    /// The cookie does not belong to the `state`: another browser, or the step was taken before.
    OtherBrowser,
    /// The merchant did not give access.
    Denied,
    /// Segment rejected the consent for another reason.
    RejectedBySegment,
    /// Segment does not accept the authorization code, or no longer.
    CodeRejected,
    /// The app is installed on the workspace, and its install is not known here.
    AlreadyInstalled,
    /// Segment gave access to no source, or to none that is not connected already.
    NoSource,
    /// Segment gave access to a source, but does not let its destination be changed.
    NotPermitted,
    /// Segment did not answer, or not as its API does.
    SegmentDown,
    /// The redirect URL of this service is not registered at Segment.
    WrongRedirect,
    /// The client id or secret of this service is wrong.
    WrongClient,
    /// The scope of this service is not the one that is registered at Segment.
    WrongScope,
}

impl ConnectFailure {
    /// The title of the page: what happened.
    pub fn title(self) -> &'static str {
        match self {
            Self::NotOurs => "This link is not complete",
            Self::Expired => "This took longer than ten minutes",
            Self::OtherBrowser => "This page cannot be used again",
            Self::Denied => "Access was not given",
            Self::RejectedBySegment => "Segment rejected",
            Self::CodeRejected => "Segment's permission has expired",
            Self::AlreadyInstalled => "The workspace is connected already",
            Self::NoSource => "No new source was chosen",
            Self::NotPermitted => "Segment did not allow the change",
            Self::SegmentDown => "Segment cannot be reached",
            Self::WrongRedirect | Self::WrongClient | Self::WrongScope => "This service is not set up correctly",
        }
    }

    /// Two paragraphs: the reason, and what to do.
    pub fn paragraphs(self) -> [&'static str; 2] {
        match self {
            Self::NotOurs => [
                "It did not come from this service, or a part of it is missing. Nothing was changed.",
                "Begin again from the first page.",
            ],
            Self::Expired => {
                ["For safety, each step has ten minutes. Nothing was changed.", "Begin again from the first page."]
            }
            Self::OtherBrowser => [
                "It was opened before, or in another browser than the one in which you began.",
                "If you have already seen that your source is connected, there is nothing to do. Otherwise begin again, \
                 in one browser and one tab; to connect a source twice does no harm.",
            ],
            Self::Denied => [
                "You, or somebody else at Segment's page, chose not to give access. Nothing was changed.",
                "Try again if that was a mistake. Only an owner of the workspace can give access: ask one if Segment did \
                 not let you.",
            ],
            Self::RejectedBySegment => [
                "Segment ended the request without saying more. Nothing was changed.",
                "Try again. If it happens again, enter the key by hand: in Segment, add the destination Refersion to \
                 your source.",
            ],
            Self::CodeRejected => [
                "A permission can be used once and for a short time. It was used before, for instance because the page \
                 was reloaded, or it came too late.",
                "Look in Segment whether your source has the destination Refersion. If not, try again; to connect a \
                 source twice does no harm.",
            ],
            Self::AlreadyInstalled => [
                "Segment says that this app is already installed on your workspace, and does not install it a second \
                 time. Nothing was changed.",
                "To connect another source now, add the destination Refersion to it in Segment and enter your key there. \
                 Or let an owner of the workspace remove the app in Segment's workspace settings, and connect again.",
            ],
            Self::NoSource => [
                "Segment gave access to no source that is not connected already. Nothing was changed.",
                "Try again, and choose the source that you want to connect. Or add the destination Refersion to it in \
                 Segment, and enter your key there.",
            ],
            Self::NotPermitted => [
                "Segment gave access to your source, but did not let this app set up the destination Refersion on it.",
                "Try again as an owner of the workspace. If it happens again, add the destination Refersion to your \
                 source in Segment, and enter your key there.",
            ],
            Self::SegmentDown => [
                "Segment did not answer in time, or had a failure of its own. It is possible that the change was made.",
                "Try again in a minute; to connect a source twice does no harm.",
            ],
            Self::WrongRedirect => [
                "Segment does not know the address to which it is to send you back.",
                "Tell whoever runs this service: CONNECT_REDIRECT_URL must be one of the redirect URLs of the app at \
                 Segment, letter by letter.",
            ],
            Self::WrongClient => [
                "Segment does not know this service under the credentials that it has.",
                "Tell whoever runs this service: CONNECT_CLIENT_ID and CONNECT_CLIENT_SECRET must be those of the app at \
                 Segment.",
            ],
            Self::WrongScope => [
                "Segment does not give this service the access that it asked for.",
                "Tell whoever runs this service: CONNECT_SCOPE must be the scope that the app is registered with at \
                 Segment.",
            ],
        }
    }

    /// Whether the page offers another request to Segment with the entered API key. Otherwise it offers to enter the API key again.
    pub fn can_try_again(self) -> bool {
        !matches!(self, Self::NotOurs | Self::Expired | Self::OtherBrowser | Self::AlreadyInstalled)
    }

    /// Whether only the operator of this service can correct it. Such a failure is logged.
    pub fn is_misconfiguration(self) -> bool {
        matches!(self, Self::WrongRedirect | Self::WrongClient | Self::WrongScope)
    }
}
